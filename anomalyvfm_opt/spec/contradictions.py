"""Values that are each sound and yet contradict each other.

Each check is a pure function of the fields that it needs, so that it can run while other fields are wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from anomalyvfm_opt.spec.shown import shorten, show_value
from anomalyvfm_opt.spec.space import LARGEST_IMAGE_PX, SHARES_TOLERANCE, FloatRange, IntRange, Shares, Space

if TYPE_CHECKING:
    from anomalyvfm_opt.spec.model import Tiles

LEAST_NOISE_SEEDS = 3
CONTRADICTION = "contradiction"  # type of the error that pydantic raises for a whole spec
FieldPath = tuple[int | str, ...]


class Problem(NamedTuple):
    """What is wrong, and in which part of a spec."""

    path: FieldPath
    message: str

    def __str__(self) -> str:
        return f"{shorten('.'.join(map(str, self.path))) or 'spec'}: {self.message}"


def find_contradictions(read: Callable[[str], Any]) -> list[Problem]:
    """Return all contradictions of a spec.

    Args:
        read: gives a field's value by its dotted path; raises LookupError for a field that is itself wrong, and
            then the checks that need it are passed over.
    """
    problems: list[Problem] = []
    for check in _CHECKS:
        try:
            values = [read(path) for path in check.needs]
        except LookupError:
            continue
        problems += check.find(*values)
    return problems


def _find_repeats(path: str, choices: Any) -> Iterator[Problem]:
    if not isinstance(choices, tuple):  # a range, `all`, or left to its default
        return
    for index, choice in enumerate(choices):
        if choice in choices[:index]:
            yield Problem((*path.split("."), index), f"{show_value(choice)} is listed twice")


def _find_empty_range(path: str, interval: Any) -> Iterator[Problem]:
    if isinstance(interval, FloatRange | IntRange) and interval.low > interval.high:
        yield Problem(tuple(path.split(".")), f"low {interval.low} is above high {interval.high}")


def _find_huge_learning_rate(interval: FloatRange) -> Iterator[Problem]:
    if interval.high >= 1:
        yield Problem(("search", "space", "learning_rate", "high"), f"should be below 1, not {interval.high}")


def _find_bad_shares(mix: Shares | str) -> Iterator[Problem]:
    if isinstance(mix, str):
        return
    if round(abs(mix.total - 1), 9) > SHARES_TOLERANCE:
        parts = " + ".join(map(str, (mix.texture, mix.structural, mix.contextual)))
        yield Problem(
            ("search", "space", "synthesis_mix"), f"shares should sum to 1, and {parts} = {mix.total:.9g}"
        )


def _find_small_budget(references: Sequence[str], trials: int) -> Iterator[Problem]:
    if len(references) > trials:
        yield Problem(
            ("search", "trials"),
            f"{trials} cannot hold the {len(references)} references, which count against the budget",
        )


def _find_missing_baseline(references: Sequence[str], baseline: str | None) -> Iterator[Problem]:
    if baseline is not None and baseline not in references:
        yield Problem(("verdict", "baseline"), f"{baseline} is not among the references; add it there")


def _find_few_noise_seeds(seeds: int) -> Iterator[Problem]:
    if 0 < seeds < LEAST_NOISE_SEEDS:
        yield Problem(
            ("verdict", "noise_seeds"),
            f"{seeds} are too few to say how values spread; use {LEAST_NOISE_SEEDS} or more, or 0 for later",
        )


def _find_large_overlap(tiles: "Tiles | None") -> Iterator[Problem]:
    if tiles and tiles.overlap_px > tiles.size_px // 2:
        yield Problem(
            ("data", "tiles", "overlap_px"),
            f"{tiles.overlap_px} is more than half of size_px {tiles.size_px}; use 0 to {tiles.size_px // 2}",
        )


def _find_uncovered_edge(image_size_px: int, tiles: "Tiles | None") -> Iterator[Problem]:
    """Tiles, and the steps between them, have to end at the image's edge."""
    yield from _compare_edge(("data", "image_size_px"), image_size_px, tiles)


def _find_uncovered_edges(choices: Sequence[int], image_size_px: int, tiles: "Tiles | None") -> Iterator[Problem]:
    """Find uncovered edges at each size that is searched; the size of the other trials has been looked at."""
    for index, choice in enumerate(choices):
        if choice != image_size_px:
            yield from _compare_edge(("search", "space", "image_size_px", index), choice, tiles)


def _compare_edge(path: FieldPath, image_size_px: int, tiles: "Tiles | None") -> Iterator[Problem]:
    if tiles is None or tiles.overlap_px > tiles.size_px // 2:
        return
    size, step = tiles.size_px, tiles.size_px - tiles.overlap_px
    if image_size_px < size:
        is_own = path[0] == "data"
        yield Problem(
            ("data", "tiles", "size_px") if is_own else path,
            f"{size} is larger than image_size_px {image_size_px}, which it divides"
            if is_own
            else f"{image_size_px} is smaller than the tiles, data.tiles.size_px {size}",
        )
        return
    rest = (image_size_px - size) % step
    if rest:
        nearest = (image_size_px - rest, image_size_px - rest + step)
        advice = " or ".join(str(side) for side in nearest if side <= LARGEST_IMAGE_PX)
        yield Problem(
            path,
            f"{image_size_px} is not covered by tiles of {size} px every {step} px; use {advice}",
        )


def _find_searched_size(choices: Sequence[int], lock: str) -> Iterator[Problem]:
    if choices and lock == "all":
        yield Problem(
            ("search", "space", "image_size_px"),
            "cannot be searched with lock: all: the synthetic exam decides there, and which size shows its"
            " anomalies best says little of real defects; leave it out, or use lock: half",
        )


def _find_missing_size(choices: Sequence[int], image_size_px: int) -> Iterator[Problem]:
    if choices and image_size_px not in choices:
        yield Problem(
            ("search", "space", "image_size_px"),
            f"lacks data.image_size_px {image_size_px}, which the references are run at; add it",
        )


@dataclass(frozen=True)
class _Check:
    needs: tuple[str, ...]
    find: Callable[..., Iterator[Problem]]


_LISTS = ("data.categories", "backbone.decoder_blocks", "backbone.patch_blocks", "references")
_AXES = tuple(f"search.space.{name}" for name in Space.model_fields)
_CHECKS = (
    *(_Check((path,), partial(_find_repeats, path)) for path in (*_LISTS, *_AXES)),
    *(_Check((path,), partial(_find_empty_range, path)) for path in _AXES),
    _Check(("search.space.learning_rate",), _find_huge_learning_rate),
    _Check(("search.space.synthesis_mix",), _find_bad_shares),
    _Check(("references", "search.trials"), _find_small_budget),
    _Check(("references", "verdict.baseline"), _find_missing_baseline),
    _Check(("verdict.noise_seeds",), _find_few_noise_seeds),
    _Check(("data.tiles",), _find_large_overlap),
    _Check(("data.image_size_px", "data.tiles"), _find_uncovered_edge),
    _Check(("search.space.image_size_px", "data.image_size_px", "data.tiles"), _find_uncovered_edges),
    _Check(("search.space.image_size_px", "data.lock"), _find_searched_size),
    _Check(("search.space.image_size_px", "data.image_size_px"), _find_missing_size),
)

"""`study plan`: what a spec's studies would cost and could show, before anything is written."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import is_decoded
from anomalyvfm_opt.data.geometry import Geometry, choose_geometry
from anomalyvfm_opt.data.records import BAD, GOOD
from anomalyvfm_opt.data.split import Split, count_scenes
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.plan.amounts import count_anomalies, count_bytes, count_tiles
from anomalyvfm_opt.plan.confirmation import reckon_confirmation
from anomalyvfm_opt.plan.outputs import OutputTotal, count_outputs
from anomalyvfm_opt.plan.probe import Making, Probe, measure
from anomalyvfm_opt.spec.difference import find_differences
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.study.preparation import choose_categories, divide_categories
from anomalyvfm_opt.trial.cost import PartCosts, Range, draw_parameters, expect_seconds
from anomalyvfm_opt.verdict.resolution import Resolutions, resolve_studies

_NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class CategoryPlan:
    """What one study would take.

    Args:
        name: of the study.
        category: of it.
        geometries: of its images, one for each size, that of the references first.
        trials: the budget.
        done: tickets of it that are used already; 0 for a new study.
        seconds: of the trials that are left, on one worker, without its start.
        confirm_seconds: of what follows the search: noise floor, race and confirmation.
        start_seconds: decoding, making synthetic anomalies and computing what frozen blocks make of all images,
            once a host; images that the cache has are free.
        cache_bytes: disk that the study's arrays take.
        outputs: what its search keeps of its frozen blocks beside them.
        is_decoded: whether the cache has its images already.
        locked_scenes: good and bad ones.
    """

    name: str
    category: str
    geometries: tuple[Geometry, ...]
    trials: int
    done: int
    seconds: Range
    confirm_seconds: Range
    start_seconds: float
    cache_bytes: int
    outputs: OutputTotal
    is_decoded: bool
    locked_scenes: tuple[int, int]

    @property
    def search_seconds(self) -> Range:
        """Of the trials that are left, on one worker, with its start."""
        return Range(self.start_seconds, self.start_seconds, self.start_seconds) + self.seconds

    @property
    def total_seconds(self) -> Range:
        """Of the search with its start, and of what follows it, on one worker."""
        return self.search_seconds + self.confirm_seconds

    def describe_images(self) -> str:
        """Return how its images are read, size by size."""
        return " or ".join(geometry.describe() for geometry in self.geometries)


@dataclass(frozen=True)
class CostPlan:
    """The plans of a spec's studies, what they were reckoned from, and what their locked images could show.

    Args:
        studies: a plan each.
        measured_on: category.
        probe: what was measured there.
        resolutions: by the studies' categories.
    """

    studies: tuple[CategoryPlan, ...]
    measured_on: str
    probe: Probe
    resolutions: Resolutions

    @property
    def seconds(self) -> Range:
        """Of all studies together on one worker, with its start."""
        return sum((study.search_seconds for study in self.studies), _NOTHING)

    @property
    def confirm_seconds(self) -> Range:
        """Of noise floor, race and confirmation of all studies, on one worker."""
        return sum((study.confirm_seconds for study in self.studies), _NOTHING)

    @property
    def total_seconds(self) -> Range:
        """Of all studies from their start to the end of their confirmations, on one worker."""
        return self.seconds + self.confirm_seconds

    @property
    def cache_bytes(self) -> int:
        """Disk that the arrays of all studies take."""
        return sum(study.cache_bytes for study in self.studies)

    @property
    def output_bytes(self) -> int:
        """Disk that the outputs of frozen blocks take beside them."""
        return sum(study.outputs.n_bytes for study in self.studies)


class _Terms(TypedDict):
    seeds: int
    min_gain: float
    confidence: float


@dataclass(frozen=True)
class _Subject:
    """A category whose study is planned; its geometries by image size, the study's own first."""

    category: str
    split: Split
    geometries: Mapping[int, Geometry]

    @property
    def geometry(self) -> Geometry:
        """That of the study's own size."""
        return next(iter(self.geometries.values()))


def plan_studies(
    spec: Spec,
    data: Path,
    categories: Sequence[str],
    device: torch.device,
    cache: ArrayStore,
    found: Mapping[str, tuple[Spec, int]],
    weights: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> CostPlan:
    """Measure the first category, and reckon the others from it by the number of their tiles.

    Args:
        spec: what would be searched.
        data: folder of categories.
        categories: a choice among the spec's; empty for all.
        device: to measure on.
        cache: the host's store of arrays, only looked at.
        found: the studies that exist, by name: their specs and used tickets.
        weights: a file with the backbone's weights; None for what the spec says.
        say: takes what there is to say for people, a line each.

    Raises:
        AnomalyVFMOptError: what `study create` would raise.
    """
    root = expand_home(data).resolve()
    splits = divide_categories(spec, root, categories)
    measured_on = next(iter(splits))
    draws = draw_parameters(spec.search.space, spec.data.image_size_px)
    probe = measure(spec, splits[measured_on], device, weights, say)
    subjects = [_Subject(name, split, _choose_geometries(spec, split)) for name, split in splits.items()]
    tiles = [_count_scored(spec, subject) for subject in subjects]
    judged = len(choose_categories(spec, root, []))  # as `study create` counts them, whichever are chosen
    studies = []
    for subject, count in zip(subjects, tiles, strict=True):
        done = _count_done(spec, spec.study_name(subject.category), found, say)
        costs = probe.costs.scale(count / tiles[0])
        seconds = _reckon(spec, subject.category, costs, draws, done) if done < spec.search.trials else None
        confirm_seconds = reckon_confirmation(spec, subject.category, costs, draws)
        outputs = _count_outputs(spec, subject, probe, draws)
        studies.append(_plan(spec, subject, probe, (seconds, confirm_seconds), outputs, done, cache))
    scenes = {study.category: study.locked_scenes for study in studies}
    return CostPlan(tuple(studies), measured_on, probe, resolve_studies(scenes, judged, **_read_terms(spec)))


def _choose_geometries(spec: Spec, split: Split) -> dict[int, Geometry]:
    return {size: choose_geometry(spec.at_size(size).data, split.fit) for size in spec.image_sizes_px}


def _count_done(spec: Spec, name: str, found: Mapping[str, tuple[Spec, int]], say: Callable[[str], None]) -> int:
    """Used tickets of a study that exists; those of another spec under its name are none of ours."""
    if name not in found:
        return 0
    stored, used = found[name]
    differences = find_differences(stored.content(), spec.content(), ("backbone.weights",))  # known by their hash
    if differences:
        say(f"note: {name} exists with another spec ({differences[0].line}); study create will refuse this one")
        return 0
    return used


def _plan(
    spec: Spec,
    subject: _Subject,
    probe: Probe,
    times: tuple[Range | None, Range],
    outputs: OutputTotal,
    done: int,
    cache: ArrayStore,
) -> CategoryPlan:
    """Return the plan of one study; the first of its times is None if nothing of the search is left."""
    seconds, confirm_seconds = times
    split, geometries = subject.split, subject.geometries
    there = {size: is_decoded(cache, split.fit, geometry) for size, geometry in geometries.items()}
    anomalies = count_anomalies(spec, subject.category)
    made = anomalies + spec.scoring.exam_images
    start = sum(_count_start(probe.making[size], split, made, is_there) for size, is_there in there.items())
    start += outputs.images * statistics.fmean(costs.frozen_seconds for costs in probe.outputs.values())
    scenes = (count_scenes(split.locked, GOOD), count_scenes(split.locked, BAD))
    return CategoryPlan(
        name=spec.study_name(subject.category),
        category=subject.category,
        geometries=tuple(geometries.values()),
        trials=spec.search.trials,
        done=done,
        seconds=seconds or _NOTHING,
        confirm_seconds=confirm_seconds,
        start_seconds=start if seconds else 0.0,
        cache_bytes=sum(
            count_bytes(geometry, split, anomalies, spec.scoring.exam_images) for geometry in geometries.values()
        ),
        outputs=outputs,
        is_decoded=all(there.values()),
        locked_scenes=scenes,
    )


def _count_start(making: Making, split: Split, anomalies: int, is_decoded: bool) -> float:
    """Return the seconds to make what the trials of one image size share."""
    images = sum(len(records) for records in split.roles.values())
    return anomalies * making.anomaly_s + (0.0 if is_decoded else images * making.decode_s)


def _reckon(spec: Spec, category: str, costs: PartCosts, draws: Sequence[Parameters], done: int) -> Range:
    """Return the seconds of the trials that are left; references are run first."""
    return expect_seconds(
        costs,
        _list_references(spec, category)[done:],
        draws,
        spec.search.trials - done,
        max(0, _count_random(spec) - done),
        spec.training.steps_per_epoch,
        spec.scoring.every_epochs,
    )


def _list_references(spec: Spec, category: str) -> list[Parameters | None]:
    """Return the parameters of the references that are run, in their order; None for the frozen network."""
    run_as = spec.references_run(category)
    return [spec.reference(name, category) for name, other in run_as.items() if name == other]


def _count_outputs(spec: Spec, subject: _Subject, probe: Probe, draws: Sequence[Parameters]) -> OutputTotal:
    """Return what the whole search leaves of its frozen blocks' outputs, with trials as the draws are."""
    references = _list_references(spec, subject.category)
    trained = [parameters for parameters in references if parameters is not None]
    sampled = max(0, spec.search.trials - len(references))
    trials = [*trained, *itertools.islice(itertools.cycle(draws), sampled)]
    split, scored = subject.split, {}
    for size, geometry in subject.geometries.items():
        tiles = count_tiles(geometry, split.fit) / len(split.fit)
        fitted = min(len(split.fit), spec.scoring.fit_images) * tiles
        exam = spec.scoring.exam_images * tiles
        scored[size] = round(
            fitted + exam + count_tiles(geometry, split.held_out) + count_tiles(geometry, split.search)
        )
    others = max(0, len(split.fit) - spec.scoring.fit_images)
    return count_outputs(spec, probe.outputs, scored, 0 if subject.geometry.is_tiled else others, trials)


def _read_terms(spec: Spec) -> _Terms:
    terms = spec.verdict
    return {"seeds": terms.seeds, "min_gain": terms.min_gain, "confidence": terms.confidence}


def _count_random(spec: Spec) -> int:
    """Return how many trials are random: with the random sampler all of them."""
    return spec.search.trials if spec.search.sampler == "random" else spec.search.startup_trials


def _count_scored(spec: Spec, subject: _Subject) -> int:
    """Tiles that one scoring looks at: of normal images to fit on, of held-out ones, and of the exam."""
    split, geometry = subject.split, subject.geometry
    tiles = count_tiles(geometry, split.fit) / len(split.fit)
    n_fit = min(len(split.fit), spec.scoring.fit_images)
    exam = spec.scoring.exam_images * tiles if spec.data.lock == "all" else count_tiles(geometry, split.search)
    return round(n_fit * tiles + count_tiles(geometry, split.held_out) + exam)

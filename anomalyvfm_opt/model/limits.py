"""What a spec asks of its backbone and the backbone cannot give, by the backbone's outline."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.offline_weights import find_offline, say_without_offline
from anomalyvfm_opt.model.outline import Outline, resolve_indices
from anomalyvfm_opt.model.outlines import find_outline
from anomalyvfm_opt.spec.contradictions import FieldPath, Problem
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.references import FROZEN, HEADS
from anomalyvfm_opt.spec.space import NO_ADAPTER, Space


def find_limits_problems(spec: Spec, folder: Path | None = None) -> list[Problem]:
    """Return what the backbone of a spec cannot give: a block, an input size, a rank.

    The ranks of references are exempt: they are what they are.

    Args:
        spec: to check.
        folder: where the outlines of backbones that had to be built are kept; None keeps none.
    """
    name = spec.backbone.name
    try:
        outline = find_outline(name, spec.data.input_size_px, folder)
    except UsageError as error:
        return [*_find_misplaced_weights(spec), Problem(("backbone", "name"), _say_without_field(error))]
    if outline is None:
        return [Problem(("backbone", "name"), f"timm has no model {name!r}{_suggest_model(name)}")]
    decoder, patches = spec.backbone.decoder_blocks, spec.backbone.patch_blocks
    missing = [
        *_find_missing_blocks(name, outline, "decoder_blocks", decoder),
        *_find_missing_blocks(name, outline, "patch_blocks", patches or ()),
    ]
    uneven = list(_find_uneven_patches(outline, spec))
    problems = [*_find_misplaced_weights(spec), *missing, *uneven]
    if missing:
        return problems
    lists = [resolve_indices(name, outline.block_ends, blocks) for blocks in (decoder, patches or decoder)]
    if not uneven:
        problems += _find_uneven_tiles(outline, [indices for indices, _ in lists], spec)
    n_blocks = max(depth for _, depth in lists)
    return [
        *problems,
        *_find_idle_references(outline, n_blocks, spec),
        *_find_large_ranks(outline, n_blocks, spec),
    ]


def _find_misplaced_weights(spec: Spec) -> Iterator[Problem]:
    name = spec.backbone.name
    if spec.backbone.weights == "offline" and find_offline(name) is None:
        yield Problem(("backbone", "weights"), "; ".join(say_without_offline(name)))


def _find_missing_blocks(name: str, outline: Outline, field: str, indices: Sequence[int]) -> Iterator[Problem]:
    for position, index in enumerate(indices):
        try:
            resolve_indices(name, outline.block_ends, (index,))
        except UsageError as error:
            yield Problem(("backbone", field, position), _say_without_field(error))


def _find_uneven_patches(outline: Outline, spec: Spec) -> Iterator[Problem]:
    """Patches have to cover the input: what is left over at an edge would shift every map."""
    side = outline.patch_px
    if side is None:
        return
    for path, size in _list_inputs(spec):
        if size % side:
            below = size // side * side
            advice = f"{below} or {below + side}" if below else str(side)
            yield Problem(path, f"{size} is not a multiple of the patch size {side}; use {advice}")


def _list_inputs(spec: Spec) -> Iterator[tuple[FieldPath, int]]:
    """List the sides (px) of what the network sees, and the fields that say so; of tiles, the tile's side."""
    if spec.data.tiles:
        yield ("data", "tiles", "size_px"), spec.data.tiles.size_px
        return
    yield ("data", "image_size_px"), spec.data.image_size_px
    for position, size in enumerate(spec.search.space.image_size_px):
        if size != spec.data.image_size_px:
            yield ("search", "space", "image_size_px", position), size


def _find_uneven_tiles(outline: Outline, lists: Sequence[Sequence[int]], spec: Spec) -> Iterator[Problem]:
    """Cells of neighbouring tiles have to fall on each other, or their maps cannot be put together."""
    data = spec.data
    if data.tiles is None or all(size == data.tiles.size_px for size in spec.image_sizes_px):
        return
    size, step = data.tiles.size_px, data.tiles.size_px - data.tiles.overlap_px
    cells = [min(outline.reductions[index] for index in indices) for indices in lists]
    uneven = [cell for cell in cells if size % math.ceil(size / cell) or step % cell]
    if uneven:
        cell = max(uneven)
        yield Problem(
            ("data", "tiles"),
            f"tiles of {size} px every {step} px do not fit this backbone, whose maps have cells of {cell} px;"
            f" make size_px and overlap_px multiples of {cell}",
        )


def _find_idle_references(outline: Outline, n_blocks: int, spec: Spec) -> Iterator[Problem]:
    """Find references that have nothing to adapt: all but two adapt attention in all blocks, in any space."""
    adapted = [name for name in spec.references if name not in (FROZEN, HEADS)]
    if adapted:
        try:
            outline.measure_targets(spec.backbone.name, n_blocks, "attention", "all")
        except UsageError as error:
            yield Problem(
                ("references",), f"{adapted[0]} cannot be run: {error}; leave it out, or use later blocks"
            )


def _find_large_ranks(outline: Outline, n_blocks: int, spec: Spec) -> Iterator[Problem]:
    """Find ranks above a layer's smaller side, which say no more than that side does and cost more."""
    name, space = spec.backbone.name, spec.search.space
    if set(space.adapter) == {NO_ADAPTER}:
        return
    sides: dict[str, int] = {}
    for position, targets in enumerate(space.targets):
        try:
            for adapted_blocks in space.adapted_blocks:
                sides |= outline.measure_targets(name, n_blocks, targets, adapted_blocks)
        except UsageError as error:
            yield Problem(("search", "space", "targets", position), str(error))
    if sides:
        in_order = {layer: sides[layer] for layer in outline.layers if layer in sides}
        yield from _compare_ranks(name, in_order, space)


def _compare_ranks(name: str, sides: Mapping[str, int], space: Space) -> Iterator[Problem]:
    layer, limit = min(sides.items(), key=lambda item: item[1])
    reason = f"larger than the smallest layer that can be adapted, {layer} of {name} with {limit} channels"
    large = [rank for rank in space.rank if rank > limit]
    path = ("search", "space", "rank")
    if large and "rank" not in space.model_fields_set:
        fitting = [rank for rank in space.rank if rank <= limit]
        yield Problem(
            path, f"of its default, {', '.join(map(str, large))} are {reason}; give a list, such as {fitting}"
        )
        return
    for position, rank in enumerate(space.rank):
        if rank > limit:
            yield Problem((*path, position), f"rank {rank} is {reason}; use ranks up to {limit}")


def _suggest_model(name: str) -> str:
    import timm

    known = [*timm.list_models(pretrained=True), *timm.list_models()]
    close = difflib.get_close_matches(name, known, n=1) or timm.list_models(f"*{name.split('.')[0]}*")[:1]
    return f"; did you mean {close[0]!r}?" if close else ""


def _say_without_field(error: UsageError) -> str:
    """Return a message in which the field is not named again, since its path stands before it."""
    return str(error).removeprefix("backbone.name: ").removeprefix("backbone: ")

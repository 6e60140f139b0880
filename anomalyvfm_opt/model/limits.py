"""What a spec asks of its backbone and the backbone cannot give, asked of a network without weights."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.adapter import list_targets, match_targets
from anomalyvfm_opt.model.network import build_network, find_config, resolve_blocks
from anomalyvfm_opt.model.weights import OFFLINE_NAME
from anomalyvfm_opt.spec.contradictions import FieldPath, Problem
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.spec.space import Space


@dataclass(frozen=True)
class _Outline:
    """As much of a Backbone as its targets are chosen by."""

    name: str
    network: Any
    n_blocks: int

    @property
    def is_transformer(self) -> bool:
        return hasattr(self.network, "patch_embed")


def find_limits_problems(spec: Spec) -> list[Problem]:
    """What the backbone of a spec cannot give: a block, an input size, a rank.

    The network is built on torch's meta device: without weights, without memory, in a tenth of a second. The ranks
    of references are exempt: they are what they are.
    """
    name, size = spec.backbone.name, spec.data.input_size_px
    config = find_config(name)
    if config is None:
        return [Problem(("backbone", "name"), f"timm has no model {name!r}{_suggest_model(name)}")]
    problems = list(_find_misplaced_weights(spec))
    try:
        with torch.device("meta"):
            network = build_network(name, {"img_size": size} if config.fixed_input_size else {})
        resolve_blocks(name, network, (-1,))
    except UsageError as error:
        return [*problems, Problem(("backbone", "name"), _say_without_field(error))]
    decoder, patches = spec.backbone.decoder_blocks, spec.backbone.patch_blocks
    missing = [
        *_find_missing_blocks(name, network, "decoder_blocks", decoder),
        *_find_missing_blocks(name, network, "patch_blocks", patches or ()),
    ]
    uneven = list(_find_uneven_patches(network, spec))
    problems += [*missing, *uneven]
    if missing:
        return problems
    lists = [resolve_blocks(name, network, blocks) for blocks in (decoder, patches or decoder)]
    if not uneven:
        problems += _find_uneven_tiles(network, [indices for indices, _ in lists], spec)
    outline = _Outline(name, network, max(depth for _, depth in lists))
    return [
        *problems,
        *_find_idle_references(outline, spec.references),
        *_find_large_ranks(outline, spec.search.space),
    ]


def _find_misplaced_weights(spec: Spec) -> Iterator[Problem]:
    if spec.backbone.weights == "offline" and spec.backbone.name != OFFLINE_NAME:
        yield Problem(
            ("backbone", "weights"),
            f"offline has no weights for {spec.backbone.name!r}, only for {OFFLINE_NAME!r};"
            " use pretrained, or the path of a safetensors file",
        )


def _find_missing_blocks(name: str, network: Any, field: str, indices: Sequence[int]) -> Iterator[Problem]:
    for position, index in enumerate(indices):
        try:
            resolve_blocks(name, network, (index,))
        except UsageError as error:
            yield Problem(("backbone", field, position), _say_without_field(error))


def _find_uneven_patches(network: Any, spec: Spec) -> Iterator[Problem]:
    """Patches have to cover the input: what is left over at an edge would shift every map."""
    if not hasattr(network, "patch_embed"):
        return
    side = network.patch_embed.feat_ratio()
    for path, size in _list_inputs(spec):
        if size % side:
            below = size // side * side
            advice = f"{below} or {below + side}" if below else str(side)
            yield Problem(path, f"{size} is not a multiple of the patch size {side}; use {advice}")


def _list_inputs(spec: Spec) -> Iterator[tuple[FieldPath, int]]:
    """The sides (px) of what the network sees, and the fields that say so; a tile's, whatever the image's size."""
    if spec.data.tiles:
        yield ("data", "tiles", "size_px"), spec.data.tiles.size_px
        return
    yield ("data", "image_size_px"), spec.data.image_size_px
    for position, size in enumerate(spec.search.space.image_size_px):
        if size != spec.data.image_size_px:
            yield ("search", "space", "image_size_px", position), size


def _find_uneven_tiles(network: Any, lists: Sequence[Sequence[int]], spec: Spec) -> Iterator[Problem]:
    """Cells of neighbouring tiles have to fall on each other, or their maps cannot be put together."""
    data = spec.data
    if data.tiles is None or all(size == data.tiles.size_px for size in spec.image_sizes_px):
        return
    size, step = data.tiles.size_px, data.tiles.size_px - data.tiles.overlap_px
    cells = [min(network.feature_info[index]["reduction"] for index in indices) for indices in lists]
    uneven = [cell for cell in cells if size % math.ceil(size / cell) or step % cell]
    if uneven:
        cell = max(uneven)
        yield Problem(
            ("data", "tiles"),
            f"tiles of {size} px every {step} px do not fit this backbone, whose maps have cells of {cell} px;"
            f" make size_px and overlap_px multiples of {cell}",
        )


def _find_idle_references(outline: _Outline, references: Sequence[str]) -> Iterator[Problem]:
    """All references but `frozen` adapt attention in all blocks, whatever the space says."""
    adapted = [name for name in references if name != FROZEN]
    if adapted:
        try:
            _measure_targets(outline, "attention", "all")
        except UsageError as error:
            yield Problem(
                ("references",), f"{adapted[0]} cannot be run: {error}; leave it out, or use later blocks"
            )


def _find_large_ranks(outline: _Outline, space: Space) -> Iterator[Problem]:
    """A rank above a layer's smaller side says no more than that side does, and costs more."""
    sides: dict[str, int] = {}
    for position, targets in enumerate(space.targets):
        try:
            for adapted_blocks in space.adapted_blocks:
                sides |= _measure_targets(outline, targets, adapted_blocks)
        except UsageError as error:
            yield Problem(("search", "space", "targets", position), str(error))
    if sides:
        in_order = {name: sides[name] for name, _ in outline.network.named_modules() if name in sides}
        yield from _compare_ranks(outline.name, in_order, space)


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


def _measure_targets(outline: Any, targets: str, adapted_blocks: int | str) -> dict[str, int]:
    """The smaller side (channels) of each layer that would be adapted, by its name."""
    names = list_targets(outline.network, match_targets(outline, targets, adapted_blocks))
    return {name: min(outline.network.get_submodule(name).weight.shape[:2]) for name in names}


def _suggest_model(name: str) -> str:
    import timm

    known = [*timm.list_models(pretrained=True), *timm.list_models()]
    close = difflib.get_close_matches(name, known, n=1) or timm.list_models(f"*{name.split('.')[0]}*")[:1]
    return f"; did you mean {close[0]!r}?" if close else ""


def _say_without_field(error: UsageError) -> str:
    """A message in which the field is not named again, since its path stands before it."""
    return str(error).removeprefix("backbone.name: ").removeprefix("backbone: ")

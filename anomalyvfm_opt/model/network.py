"""timm's networks: built by name, filled with weights, and asked what they can give."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from inspect import signature
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.outline import resolve_indices
from anomalyvfm_opt.model.seeding import drawn_from
from anomalyvfm_opt.model.weights import (
    fetch_weights,
    find_weights_file,
    read_offline_weights,
    read_shapes,
    read_weights,
)

_FITTED = ("pos_embed", "relative_position", "rel_pos")  # tensors that timm fits to the image size


def create_network(name: str, weights: str, image_size_px: int) -> Any:
    """Return a timm network with its weights; position embeddings in a file are fitted to the image size.

    Raises:
        UsageError: a model or a size that cannot be used, or a file of another model.
        EnvironmentMissingError: the weights are not to be had.
    """
    known = find_config(name)
    if known is None:
        raise UsageError(f"backbone.name: timm has no model {name!r}", _suggest_names(name))
    options: dict[str, Any] = {"img_size": image_size_px} if is_fitted_to_size(name) else {}
    if weights == "random":
        return build_network(name, options)
    with torch.device("meta"):  # without memory: mistakes are to show before gigabytes are fetched
        outline = build_network(name, options)
    resolve_blocks(name, outline, (-1,))
    check_patches(outline, image_size_px)
    if weights == "offline":
        given = read_offline_weights(name, list(outline.state_dict()))
        return _create_filled(name, options, given, f"the offline file of {name}")
    if weights == "pretrained":
        tagged = f"{known.architecture}.{known.tag}" if known.tag else known.architecture
        return _fill_network(name, options, fetch_weights(tagged, known.hf_hub_id))
    file = find_weights_file(Path(weights))
    _check_shapes(name, outline, file)
    return _fill_network(name, options, file)


def is_fitted_to_size(name: str) -> bool:
    """Return whether timm fits tensors to the size of the input, such as a ViT's position embeddings."""
    known = find_config(name)
    return known is not None and bool(known.fixed_input_size)


def differ_by_size_only(one: Any, other: Any) -> bool:
    """Return whether two networks of a model differ in nothing but what timm fits to the image size."""
    own, given = one.state_dict(), other.state_dict()
    return own.keys() == given.keys() and all(
        torch.equal(tensor, given[key])
        if tensor.shape == given[key].shape
        else any(part in key for part in _FITTED)
        for key, tensor in own.items()
    )


def build_network(name: str, options: dict[str, Any]) -> Any:
    """Return a timm network with random weights, the same in each process.

    Raises:
        UsageError: timm cannot build it with these options.
    """
    try:
        return _create(name, options)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(f"timm cannot build {name!r} with {options}: {_first_words(error)}") from None


def _create(name: str, options: dict[str, Any]) -> Any:
    import timm

    with drawn_from(0):
        network = timm.create_model(name, num_classes=0, **options)
    for module in network.modules():
        if getattr(module, "q_bias", None) is not None:
            module.qkv_bias_separate = True  # else timm passes qkv's weight by the layer, and LoRA is never run
    return network


def _fill_network(name: str, options: dict[str, Any], file: Path) -> Any:
    """Return the network with a file's tensors, all of its own among them."""
    given = read_weights(file)
    missing, n_own = _list_missing(name, options, given, file)
    if missing:
        raise UsageError(
            f"backbone.weights: {file} lacks {len(missing)} of the {n_own} tensors of {name},"
            f" first {missing[0]!r}",
            f"its own are named otherwise, such as {min(given)!r}" if len(missing) == n_own else "",
        )
    network = _create_filled(name, options, given, file)
    tensors = network.state_dict().items()
    if damaged := [key for key, t in tensors if t.is_floating_point() and not t.isfinite().all()]:
        raise UsageError(
            f"backbone.weights: {file} is damaged: {damaged[0]!r} holds numbers that are not finite",
            "copy or download it again",
        )
    return network


def _list_missing(
    name: str, options: dict[str, Any], given: dict[str, Tensor], file: Path
) -> tuple[list[str], int]:
    """Return the network's tensors that a file lacks, and how many it has.

    timm alone knows how names and sizes in a file are to be changed, and passes over what the file lacks without a
    word. So a network is filled with NaN for each value: what is a number then is not from the file.
    """
    nothing = torch.tensor(float("nan"))
    blank = {key: nothing.expand(t.shape) if t.is_floating_point() else t for key, t in given.items()}
    own = _create_filled(name, options, blank, file).state_dict()
    own = {key: t for key, t in own.items() if t.is_floating_point()}
    return [key for key, t in own.items() if not t.isnan().any()], len(own)


def _create_filled(name: str, options: dict[str, Any], given: dict[str, Tensor], file: Path | str) -> Any:
    # another number of classes than asked for makes timm drop a classifier and overlook what else is too much
    source = {"state_dict": given, "custom_load": False, "num_classes": 1}
    if find_config(name).classifier is None:
        source["classifier"] = ()
    try:
        with _hushed_timm():
            network = _create(name, {**options, "pretrained": True, "pretrained_cfg_overlay": source})
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # all that timm's conversions raise on tensors of another model
        raise UsageError(f"backbone.weights: {file} does not fit {name}: {_first_words(error)}") from error
    network.pretrained_cfg.pop("state_dict")
    return network


def _check_shapes(name: str, outline: Any, file: Path) -> None:
    """See that equal names have equal shapes; timm itself would resample the patches of another model."""
    given = read_shapes(file)
    for key, tensor in outline.state_dict().items():
        own, other = tuple(tensor.shape), given.get(key)
        if other and own != other and not any(part in key for part in _FITTED):
            raise UsageError(f"backbone.weights: {file} is of another model: {key} is {other}, in {name} {own}")


@contextmanager
def _hushed_timm() -> Iterator[None]:
    """Keep timm from printing and logging what it leaves out of a file."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _first_words(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def find_config(name: str) -> Any:
    """timm's notes on a model, or None if there is no such model or no such weights tag."""
    import timm

    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        return None


def _suggest_names(name: str) -> str:
    import timm

    close = ", ".join(timm.list_models(f"*{name.split('.')[0]}*", pretrained=True)[:3])
    return f"close to it: {close}" if close else ""


def resolve_blocks(name: str, network: Any, blocks: Sequence[int]) -> tuple[list[int], int]:
    """Non-negative feature indices, and how many of `network.blocks` run to reach the last of them.

    Raises:
        UsageError: a model without blocks, or one that lacks the block.
    """
    return resolve_indices(name, list_block_ends(name, network), blocks)


def list_block_ends(name: str, network: Any) -> list[int]:
    """Return how many of `network.blocks` run to reach the feature of each index.

    Raises:
        UsageError: a model without blocks that can be adapted.
    """
    forward = getattr(network, "forward_intermediates", None)
    is_vit = hasattr(network, "patch_embed")
    has_maps = "return_prefix_tokens" in signature(forward).parameters if forward and is_vit else bool(forward)
    if not hasattr(network, "blocks") or not has_maps or not (is_vit or hasattr(network, "stage_ends")):
        raise UsageError(
            f"backbone.name: {name!r} has no blocks that can be adapted",
            "use a ViT (DINOv2, DINOv3, SigLIP 2, ...) or an EfficientNet-like CNN of timm",
        )
    return list(range(1, len(network.blocks) + 1) if is_vit else network.stage_ends)


def check_patches(network: Any, image_size_px: int) -> None:
    """See that patches cover the image: what is left over at an edge would shift every map.

    Raises:
        UsageError: the size is not a multiple of a ViT's patch.
    """
    if not hasattr(network, "patch_embed"):
        return
    side = network.patch_embed.feat_ratio()
    if image_size_px % side:
        below = image_size_px // side * side
        raise UsageError(
            f"the network's input of {image_size_px} px (data.image_size_px, or data.tiles.size_px with tiles)"
            f" is not a multiple of the patch size {side}",
            f"use {below} or {below + side}" if below else f"use {side}",
        )

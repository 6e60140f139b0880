"""The outline of a backbone, asked of a network without weights."""

import torch

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.network import build_network, find_config, list_block_ends
from anomalyvfm_opt.model.outline import Outline
from anomalyvfm_opt.model.targets import list_matches, match_any_target


def measure_outline(name: str, input_px: int) -> Outline | None:
    """Return the outline of a model of timm; None if timm has no such model or no such weights tag.

    The network is built on torch's meta device: without weights, without memory, in a tenth of a second.

    Args:
        name: of the model, with or without a weights tag.
        input_px: side of its input.

    Raises:
        UsageError: timm cannot build it at that size, or it has no blocks or layers that can be adapted.
    """
    config = find_config(name)
    if config is None:
        return None
    with torch.device("meta"):
        network = build_network(name, {"img_size": input_px} if config.fixed_input_size else {})
    ends = list_block_ends(name, network)
    is_transformer = hasattr(network, "patch_embed")
    pattern = match_any_target(is_transformer=is_transformer)
    adaptable = list_matches([module for module, _ in network.named_modules()], pattern)
    layers = {layer: network.get_submodule(layer) for layer in adaptable}
    for layer, module in layers.items():
        if not hasattr(module, "weight"):
            raise UsageError(
                f"backbone {name}: its layer {layer} is several layers in one ({type(module).__name__}), which no"
                " adapter fits",
                "choose another backbone, see docs/backbones.md",
            )
    return Outline(
        block_ends=tuple(ends),
        reductions=tuple(int(network.feature_info[index]["reduction"]) for index in range(len(ends))),
        patch_px=int(network.patch_embed.feat_ratio()) if is_transformer else None,
        layers={layer: min(module.weight.shape[:2]) for layer, module in layers.items()},
    )

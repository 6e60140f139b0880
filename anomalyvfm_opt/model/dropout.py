"""Dropout on an adapter's input: the only part of a network that is ever in train mode."""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn


class SeededDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws from a generator of its own; in eval mode it does nothing.

    torch's own draws from the global generator, so that a trial would depend on what else was drawn meanwhile.

    Args:
        share: of the values that become 0; the others are scaled by 1 / (1 - share).
        generator: on the device of the values.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share = share
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Drop some of the values, which may have any shape."""
        if not self.training:
            return x
        kept = torch.empty_like(x, requires_grad=False).bernoulli_(1 - self.share, generator=self.generator)
        return x * kept.div_(1 - self.share)


def insert_dropout(network: nn.Module, share: float, seed: int, device: torch.device) -> list[nn.Module]:
    """Put seeded dropout in the place of peft's, in all adapted layers of a network.

    Returns:
        The modules to switch between train and eval mode, none without dropout: the dropouts, and peft's layers
        around them, since DoRA's skips its dropout unless the layer itself is in train mode.
    """
    if not share:
        return []
    generator = torch.Generator(device).manual_seed(seed)
    switched: list[nn.Module] = []
    for layer in list_adapted_layers(network):
        dropout = SeededDropout(share, generator)
        _find_dropouts(layer)["default"] = dropout
        switched += [layer, dropout]
    return switched


def _find_dropouts(layer: nn.Module) -> Any:
    """Return the dropouts of one of peft's layers by adapter: `lora_dropout`, and other kinds have theirs."""
    return next(child for name, child in layer.named_children() if name.endswith("_dropout"))


def list_adapted_layers(network: nn.Module) -> list[Any]:
    """Return peft's layers in a network."""
    return [module for module in network.modules() if is_adapted_layer(module)]


def is_adapted_layer(module: nn.Module) -> TypeGuard[Any]:
    """Tell whether a module is peft's, around a layer of the network."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return isinstance(module, BaseTunerLayer)

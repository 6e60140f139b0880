"""The kinds of adapters, one entry each: how peft makes one, how it begins, and what training does for it.

To add a kind, add its name to `spec.space.Adapter` and its entry to `ADAPTER_KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anomalyvfm_opt.model.allocation import (
    AllocatedRanks,
    Allocation,
    FixedRanks,
    begin_orthonormal,
    plan_allocation,
)
from anomalyvfm_opt.model.dropout import is_adapted_layer
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.space import NO_ADAPTER


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """Which adapter goes where.

    Args:
        kind: a name in `ADAPTER_KINDS`.
        rank: of the update; of adalora's the mean over the layers after training.
        alpha: the update is scaled by alpha / rank (rslora: by alpha / sqrt(rank)).
        targets: `attention` or `attention_mlp`.
        adapted_blocks: how many of the used blocks, from the last, or "all".
        dropout: share of the adapter's input that is set to 0 while it is trained, 0-1, 1 excluded.
    """

    kind: str
    rank: int
    alpha: float
    targets: str
    adapted_blocks: int | str
    dropout: float = 0.0

    @property
    def changes_network(self) -> bool:
        """Whether there is an adapter at all: `none` has heads alone, and its other settings mean nothing."""
        return self.kind != NO_ADAPTER

    @classmethod
    def from_parameters(cls, p: Parameters) -> "AdapterSettings":
        """Return the adapter of a trial's parameters."""
        return cls(
            kind=p.adapter,
            rank=p.rank,
            alpha=p.alpha,
            targets=p.targets,
            adapted_blocks=p.adapted_blocks,
            dropout=p.dropout,
        )


@dataclass(frozen=True)
class Sizes:
    """What a configuration may depend on beside the settings.

    Args:
        smallest_side: channels, of all layers that are adapted.
        steps: optimiser steps of the whole run.
    """

    smallest_side: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class AdapterKind:
    """One kind of adapter.

    Args:
        configure: makes peft's configuration of (settings, sizes); the keywords that all kinds share, such as the
            targets, are added to what it is called with.
        has_lone_update: whether peft can give the change of a weight as a matrix alone; its norm is then what the
            linter measures. DoRA also rescales the weight.
        prepare: changes the first values of an adapted network, under the trial's seed.
        allocate: makes what the training loop does for an adapted network beside gradient steps.
    """

    configure: Callable[[AdapterSettings, Sizes, Mapping[str, Any]], Any]
    has_lone_update: bool = True
    prepare: Callable[[nn.Module], None] = lambda _network: None
    allocate: Callable[[Any], Allocation] = lambda _network: FixedRanks()

    @torch.no_grad()
    def measure_updates(self, network: nn.Module) -> dict[str, float]:
        """Return the norm of each adapted layer's update, as part of the norm of its weight.

        Returns:
            Layer -> norm; empty where the update is not the whole change.
        """
        if not self.has_lone_update:
            return {}
        layers = ((name, layer) for name, layer in network.named_modules() if is_adapted_layer(layer))
        return {name: _measure_update(layer) for name, layer in layers}


def _configure_lora(settings: AdapterSettings, _sizes: Sizes, shared: Mapping[str, Any], **switches: bool) -> Any:
    from peft import LoraConfig

    dropout = settings.dropout
    return LoraConfig(**shared, r=settings.rank, lora_alpha=settings.alpha, lora_dropout=dropout, **switches)


def _configure_rslora(settings: AdapterSettings, sizes: Sizes, shared: Mapping[str, Any]) -> Any:
    return _configure_lora(settings, sizes, shared, use_rslora=True)


def _configure_dora(settings: AdapterSettings, sizes: Sizes, shared: Mapping[str, Any]) -> Any:
    return _configure_lora(settings, sizes, shared, use_dora=True)


def _configure_adalora(settings: AdapterSettings, sizes: Sizes, shared: Mapping[str, Any]) -> Any:
    from peft import AdaLoraConfig

    ratio = settings.alpha / settings.rank
    plan = plan_allocation(settings.rank, ratio, sizes.smallest_side, sizes.steps)
    return AdaLoraConfig(**shared, lora_dropout=settings.dropout, **plan)


def _measure_update(layer: Any) -> float:
    weight = layer.get_base_layer().weight
    delta = sum(float(layer.get_delta_weight(adapter).float().norm()) for adapter in layer.active_adapters)
    return delta / max(float(weight.float().norm()), 1e-12)


ADAPTER_KINDS: Mapping[str, AdapterKind] = {
    "lora": AdapterKind(configure=_configure_lora),
    "rslora": AdapterKind(configure=_configure_rslora),
    "dora": AdapterKind(configure=_configure_dora, has_lone_update=False),
    "adalora": AdapterKind(configure=_configure_adalora, prepare=begin_orthonormal, allocate=AllocatedRanks),
}

"""LoRA and its relatives inside the last blocks of a backbone, by peft."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.dropout import SeededDropout, insert_dropout, list_adapted_layers
from anomalyvfm_opt.model.seeding import drawn_from
from anomalyvfm_opt.model.targets import choose_targets, list_matches


@dataclass(frozen=True)
class AdapterSettings:
    """Which adapter goes where.

    Args:
        kind: `lora`, `rslora`, `dora` or `adalora`.
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


def match_targets(backbone: Backbone, targets: str, adapted_blocks: int | str) -> str:
    """Regular expression of the modules to adapt.

    Args:
        backbone: its used blocks are counted from the last one that a feature is read from.
        targets: `attention` or `attention_mlp`.
        adapted_blocks: how many of the used blocks, from the last, or "all".

    Raises:
        UsageError: nothing in those blocks can be adapted, or no MLP where one is to be.
    """
    modules = [name for name, _ in backbone.network.named_modules()]
    return choose_targets(
        backbone.name,
        modules,
        backbone.n_blocks,
        targets,
        adapted_blocks,
        is_transformer=backbone.is_transformer,
    )


def list_targets(network: nn.Module, pattern: str) -> list[str]:
    """Names of the modules that a pattern matches in full."""
    return list_matches([name for name, _ in network.named_modules()], pattern)


class Adapter:
    """An adapter inside a backbone's network.

    Args:
        peft_model: the PeftModel; its `disable_adapter()` gives the frozen network back, exactly.
        settings: which adapter went where.
        steps: optimiser steps that it is made for; only adalora's depends on it.
        allocation: what the training loop does for it beside gradient steps.
        switched: modules that are in train mode while it is trained.
    """

    def __init__(
        self,
        peft_model: Any,
        settings: AdapterSettings,
        steps: int,
        allocation: Allocation,
        switched: list[nn.Module],
    ) -> None:
        self.peft_model = peft_model
        self.settings = settings
        self.steps = steps
        self.allocation = allocation
        self._switched = switched

    def train(self, mode: bool = True) -> None:
        """Dropout on or off, and nothing else of the network."""
        for module in self._switched:
            module.training = mode

    def generators(self) -> list[torch.Generator]:
        """What dropout draws from: one for all layers, none without dropout."""
        return list({module.generator for module in self._switched if isinstance(module, SeededDropout)})

    @contextmanager
    def merged(self) -> Iterator[None]:
        """The update inside the network's own weights for the length of a `with`.

        Then the network costs what it costs frozen. Its weights come back bit for bit: to subtract what was added,
        as peft does, would not give them back.
        """
        layers = [layer.get_base_layer() for layer in list_adapted_layers(self.peft_model)]
        own = [layer.weight.data for layer in layers]
        for layer in layers:
            layer.weight.data = layer.weight.data.clone()
        try:
            self.peft_model.merge_adapter()
            yield
        finally:
            self.peft_model.unmerge_adapter()
            for layer, weight in zip(layers, own, strict=True):
                layer.weight.data = weight


@contextmanager
def adapted(backbone: Backbone, settings: AdapterSettings, seed: int, steps: int = 0) -> Iterator[Adapter]:
    """Put an adapter into the backbone's network for the length of a `with`; afterwards it is as before.

    Its B (adalora: its singular values) starts at zero, so that step 0 equals the frozen network.

    Args:
        backbone: that is adapted.
        settings: which adapter goes where.
        seed: of its first values and of its dropout.
        steps: optimiser steps of the whole run, by which adalora plans; 0 if it is not to be trained.
    """
    from peft import get_peft_model

    with drawn_from(seed):
        peft_model = get_peft_model(backbone.network, _configure(backbone, settings, steps))
        if settings.kind == "adalora":
            begin_orthonormal(peft_model)
    backbone.network.eval()
    allocation = AllocatedRanks(peft_model) if settings.kind == "adalora" else FixedRanks()
    switched = insert_dropout(backbone.network, settings.dropout, seed, backbone.device)
    try:
        yield Adapter(peft_model, settings, steps, allocation, switched)
    finally:
        peft_model.unload()
        backbone.network.eval().requires_grad_(False)


def _configure(backbone: Backbone, settings: AdapterSettings, steps: int) -> Any:
    from peft import AdaLoraConfig, LoraConfig

    pattern = match_targets(backbone, settings.targets, settings.adapted_blocks)
    common = {"target_modules": pattern, "lora_dropout": settings.dropout, "bias": "none"}
    if settings.kind == "adalora":
        layers = [backbone.network.get_submodule(name) for name in list_targets(backbone.network, pattern)]
        side = min(min(layer.weight.shape[:2]) for layer in layers)
        ratio = settings.alpha / settings.rank
        return AdaLoraConfig(**common, **plan_allocation(settings.rank, ratio, side, steps))
    return LoraConfig(
        **common,
        r=settings.rank,
        lora_alpha=settings.alpha,
        use_rslora=settings.kind == "rslora",
        use_dora=settings.kind == "dora",
    )

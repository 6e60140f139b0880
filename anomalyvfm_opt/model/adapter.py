"""LoRA and its relatives inside the last blocks of a backbone, by peft."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from anomalyvfm_opt.model.adapter_kinds import ADAPTER_KINDS, AdapterSettings, Sizes
from anomalyvfm_opt.model.allocation import Allocation, FixedRanks
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.dropout import SeededDropout, insert_dropout, is_adapted_layer, list_adapted_layers
from anomalyvfm_opt.model.seeding import drawn_from
from anomalyvfm_opt.model.targets import choose_targets, list_matches


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


def find_first_block(backbone: Backbone, targets: str, adapted_blocks: int | str) -> int:
    """Return the number of the first block that would be adapted, from 0: as many lie below it.

    Raises:
        UsageError: as `match_targets`.
    """
    return _find_first(list_targets(backbone.network, match_targets(backbone, targets, adapted_blocks)))


def list_targets(network: nn.Module, pattern: str) -> list[str]:
    """Return the names of the modules that a pattern matches in full."""
    return list_matches([name for name, _ in network.named_modules()], pattern)


class Adapter:
    """An adapter inside a backbone's network, or none, where the heads are trained alone.

    Args:
        network: the backbone's, with peft's layers in it.
        peft_model: the PeftModel around it; its `disable_adapter()` gives the frozen network back, exactly. None
            without an adapter.
        settings: which adapter went where.
        steps: optimiser steps that it is made for; only adalora's depends on it.
        allocation: what the training loop does for it beside gradient steps.
        switched: modules that are in train mode while it is trained.
        first_block: the number of the first block that it changes, from 0; that after the last if it changes none.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        peft_model: Any,
        settings: AdapterSettings,
        steps: int,
        allocation: Allocation,
        switched: list[nn.Module],
        first_block: int,
    ) -> None:
        self.first_block = first_block
        self.peft_model = peft_model
        self.settings = settings
        self.steps = steps
        self.allocation = allocation
        self._network = network
        self._switched = switched

    def train(self, mode: bool = True) -> None:
        """Dropout on or off, and nothing else of the network."""
        for module in self._switched:
            module.training = mode

    def measure_updates(self) -> dict[str, float]:
        """Return the norm of each adapted layer's update, as part of the norm of its weight.

        Returns:
            Layer -> norm; empty where the update is not the whole change, as DoRA's.
        """
        return {} if self.peft_model is None else ADAPTER_KINDS[self.settings.kind].measure_updates(self._network)

    def generators(self) -> list[torch.Generator]:
        """Return what dropout draws from: one for all layers, none without dropout."""
        return list({module.generator for module in self._switched if isinstance(module, SeededDropout)})

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Merge the update into the network's own weights for the length of a `with`.

        Then the network costs what it costs frozen. Its weights come back bit for bit: to subtract what was added,
        as peft does, would not give them back.
        """
        if self.peft_model is None:
            yield
            return
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

    if not settings.changes_network:
        yield _leave_alone(backbone, settings, steps)
        return
    kind = ADAPTER_KINDS[settings.kind]
    pattern = match_targets(backbone, settings.targets, settings.adapted_blocks)
    layers = list_targets(backbone.network, pattern)
    try:
        with drawn_from(seed):
            config = _configure(backbone.network, settings, steps, pattern, layers)
            peft_model = get_peft_model(backbone.network, config)
            kind.prepare(peft_model)
        backbone.network.eval()
        allocation = kind.allocate(peft_model)
        switched = insert_dropout(backbone.network, settings.dropout, seed, backbone.device)
        yield Adapter(
            network=backbone.network,
            peft_model=peft_model,
            settings=settings,
            steps=steps,
            allocation=allocation,
            switched=switched,
            first_block=_find_first(layers),
        )
    finally:
        _take_out(backbone.network)
        backbone.network.eval().requires_grad_(False)


def _leave_alone(backbone: Backbone, settings: AdapterSettings, steps: int) -> Adapter:
    """Return what stands for an adapter where there is none."""
    return Adapter(
        network=backbone.network,
        peft_model=None,
        settings=settings,
        steps=steps,
        allocation=FixedRanks(),
        switched=[],
        first_block=backbone.n_blocks,
    )


def _take_out(network: nn.Module) -> None:
    """Put the network's own layers back in the place of peft's, even where only some of them were replaced.

    peft's `unload` is a method of the model that `get_peft_model` returns, which it does not when it fails.
    """
    for name, module in list(network.named_modules()):
        if is_adapted_layer(module):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())
    if hasattr(network, "peft_config"):
        del network.peft_config  # else peft warns of a second adapter at the next trial


def _find_first(layers: list[str]) -> int:
    """Return the first of the blocks that layers such as `blocks.11.attn.qkv` are in."""
    return min(int(name.split(".")[1]) for name in layers)


def _configure(network: Any, settings: AdapterSettings, steps: int, pattern: str, names: list[str]) -> Any:
    layers = [network.get_submodule(name) for name in names]
    sizes = Sizes(min(min(layer.weight.shape[:2]) for layer in layers), steps)
    shared = {"target_modules": pattern, "bias": "none"}
    return ADAPTER_KINDS[settings.kind].configure(settings, sizes, shared)

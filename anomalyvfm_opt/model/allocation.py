"""Ranks that move between layers while an adapter is trained: AdaLoRA (Zhang et al. 2023).

Each update is B diag(E) A with more ranks than it may keep. Between a warm-up and a last part in which nothing is
pruned any more, the singular values E of the least important triplets are set to 0, until the budget is met.

Two things differ from peft, whose A and B of standard deviation 0.02 leave a run of some hundred steps next to
nothing to learn with (docs/decisions/0015): A and B begin as the orthonormal vectors that the penalty asks for,
and E learns faster than they do.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_INITIAL_FACTOR = 1.5  # as in the paper: 12 ranks to begin with for a budget of 8
_WARMUP_SHARE = 0.1  # of the steps; the paper's tasks have 0.09-0.15
_FINAL_SHARE = 0.4  # 0.45-0.6 there, on runs a hundred times as long
_FEWEST_STEPS = 2  # one that importances come from, and one to prune
_ALLOCATIONS = 100  # most of them in a run
_NAME_END = ".lora_E.default"
_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of peft's RankAllocator


class Allocation(Protocol):
    """What the training loop does for an adapter beside gradient steps."""

    def penalty(self) -> Tensor | float:
        """Return what is added to the loss, once an optimiser step."""

    def scale_learning_rate(self, parameter: nn.Parameter) -> float:
        """Return the factor of the adapter's learning rate for one of its parameters."""

    def finish_step(self) -> None:
        """Do what follows each optimiser step, while the gradients are there."""

    def final_ranks(self) -> dict[str, int]:
        """Return the rank of each adapted layer where training chooses it; else empty."""

    def masks(self) -> dict[str, Tensor]:
        """Return which ranks of each layer are in use, bool (initial rank,), where some may not be; else empty."""

    def restore(self, masks: Mapping[str, Tensor]) -> None:
        """Take over masks of an equal adapter."""

    def state(self) -> dict[str, Tensor]:
        """Return what the next steps depend on, beside the parameters and the number of steps that are done."""

    def accepts(self, state: Mapping[str, Tensor]) -> bool:
        """Return whether a state is one of an equal adapter, by its names and shapes."""

    def resume(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Go on from the state of an equal adapter after so many steps."""


class FixedRanks:
    """Every rank stays where it is: LoRA, rsLoRA, DoRA, and no adapter at all."""

    def penalty(self) -> float:
        """Return 0: nothing is added to the loss."""
        return 0.0

    def scale_learning_rate(self, _parameter: nn.Parameter) -> float:
        """Return 1: all parameters learn as fast."""
        return 1.0

    def finish_step(self) -> None:
        """Do nothing: no rank moves."""

    def final_ranks(self) -> dict[str, int]:
        """Return an empty mapping: all layers have the rank that was asked for."""
        return {}

    def masks(self) -> dict[str, Tensor]:
        """Return an empty mapping: all ranks are in use."""
        return {}

    def restore(self, masks: Mapping[str, Tensor]) -> None:
        """Do nothing: there are no masks."""

    def state(self) -> dict[str, Tensor]:
        """Return an empty mapping: the next steps depend on the parameters alone."""
        return {}

    def accepts(self, state: Mapping[str, Tensor]) -> bool:
        """Return whether it is empty, as there is no state."""
        return not state

    def resume(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Do nothing: there is no state."""


class AllocatedRanks:
    """AdaLoRA's allocation, by peft.

    Args:
        peft_model: with an adapter whose configuration comes from `plan_allocation`.
    """

    def __init__(self, peft_model: Any) -> None:
        self._model = peft_model.base_model
        self._config = peft_model.peft_config["default"]
        parameters = dict(self._model.model.named_parameters())
        self._values = {name.removesuffix(_NAME_END): p for name, p in parameters.items() if _NAME_END in name}
        self._right = [p for name, p in parameters.items() if ".lora_A." in name]  # (r, in), of a 1x1 kernel too
        self._left = [p for name, p in parameters.items() if ".lora_B." in name]  # (out, r)
        self._factors = {
            value: math.sqrt(len(left) / 3) for value, left in zip(self._values.values(), self._left, strict=True)
        }
        self._done = 0

    def penalty(self) -> Tensor:
        """Return peft's weight times the mean of ||A A' - I|| and ||B' B - I||: how far they are from orthogonal.

        Eq. 4 of the paper, with Frobenius norms that are not squared, as in peft, which leaves it out where a
        model does not compute its own loss.
        """
        grams = [a @ a.T for a in self._right] + [b.T @ b for b in self._left]
        norms = [torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)) for gram in grams]
        weight: float = self._config.orth_reg_weight
        return weight * torch.stack(norms).mean()

    def scale_learning_rate(self, parameter: nn.Parameter) -> float:
        """Return sqrt(out / 3) for singular values, which learn as much faster than A and B.

        Adam moves each entry of LoRA's B (out, r) by the learning rate, and a row of its A has the norm
        1 / sqrt(3): so far LoRA's first step moves each rank of the update. Where A and B are orthonormal, that
        is the step of E.
        """
        return self._factors.get(parameter, 1.0)

    def finish_step(self) -> None:
        """Weigh the importance of each triplet, and prune when it is time.

        Raises:
            ValueError: more steps than were planned: the budget was met too early, or never.
        """
        self._done += 1
        if self._done > self._config.total_step:
            raise ValueError(f"AdaLoRA is planned for {self._config.total_step} steps, this is step {self._done}")
        if self._config.init_r > self._config.target_r:
            self._model.update_and_allocate(self._done)

    def final_ranks(self) -> dict[str, int]:
        """Return how many singular values each layer has left."""
        return {name: int(mask.sum()) for name, mask in self.masks().items()}

    def masks(self) -> dict[str, Tensor]:
        """Return which singular values of each layer are left, bool (initial rank,)."""
        pattern = self._config.rank_pattern
        if not pattern:
            return {name: torch.ones(len(p), dtype=torch.bool) for name, p in self._values.items()}
        return {name: torch.tensor(pattern[name + _NAME_END]) for name in self._values}

    def restore(self, masks: Mapping[str, Tensor]) -> None:
        """Take over which singular values are left."""
        self._config.rank_pattern = {name + _NAME_END: masks[name].bool().tolist() for name in self._values}

    def state(self) -> dict[str, Tensor]:
        """Return importances, as `<average>.<parameter>`, and the singular values left, as `mask.<layer>`."""
        averages = ((field, getattr(self._model.rankallocator, field)) for field in _AVERAGES)
        importances = {f"{field}.{name}": value for field, values in averages for name, value in values.items()}
        masks = self.masks() if self._config.rank_pattern else {}
        return importances | {f"mask.{name}": mask for name, mask in masks.items()}

    def accepts(self, state: Mapping[str, Tensor]) -> bool:
        """Return whether each importance and each mask is of a parameter or of a layer, and of its shape."""
        shapes = {name: p.shape for name, p in self._model.model.named_parameters()}
        for name, tensor in state.items():
            field, _, of = name.partition(".")
            wanted = self._values[of].shape[:1] if field == "mask" and of in self._values else shapes.get(of)
            if field not in (*_AVERAGES, "mask") or tensor.shape != wanted:
                return False
        masked = [name for name in state if name.startswith("mask.")]
        return len(masked) in (0, len(self._values))

    def resume(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Take over importances, masks and the place in the schedule."""
        self._done = steps
        parameters = dict(self._model.model.named_parameters())
        for field in _AVERAGES:
            stored = {
                name.removeprefix(f"{field}."): t for name, t in state.items() if name.startswith(f"{field}.")
            }
            # with the strides of the parameter, as peft makes them
            values = {name: torch.empty_like(parameters[name].detach()).copy_(t) for name, t in stored.items()}
            setattr(self._model.rankallocator, field, values)
        if masks := {name.removeprefix("mask."): t for name, t in state.items() if name.startswith("mask.")}:
            self.restore(masks)


def begin_orthonormal(peft_model: nn.Module) -> None:
    """Draw A and B of AdaLoRA as orthonormal rows and columns; E is 0, so the network is as before."""
    for name, parameter in peft_model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            nn.init.orthogonal_(parameter.data)


def plan_allocation(rank: int, alpha_ratio: float, smallest_side: int, steps: int) -> dict[str, Any]:
    """peft's configuration of AdaLoRA for so many optimiser steps.

    Fewer steps than an allocation takes, or layers that have no more ranks to choose from, leave `rank` in each
    layer from the start: it is the budget, either way.

    Args:
        rank: that the layers keep on average.
        alpha_ratio: the factor of the update; peft scales by alpha / initial rank, also after pruning.
        smallest_side: channels, of all layers that are adapted.
        steps: optimiser steps of the whole run.
    """
    initial = max(rank, min(math.ceil(_INITIAL_FACTOR * rank), smallest_side)) if steps >= _FEWEST_STEPS else rank
    warmup, final = int(_WARMUP_SHARE * steps), int(_FINAL_SHARE * steps)
    return {
        "target_r": rank,
        "init_r": initial,
        "lora_alpha": alpha_ratio * initial,
        "total_step": max(1, steps),
        "tinit": warmup,
        "tfinal": min(final, max(0, steps - _FEWEST_STEPS)),  # importances are weighed before the last pruning
        "deltaT": max(1, steps // _ALLOCATIONS),
    }

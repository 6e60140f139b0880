"""Checks of a pass through the network: what is in train mode, what the network gets, what batches change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.evaluation.scorer_bank import Scores
from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.words import counted

Images = Mapping[str, np.ndarray]  # scores of m images by scorer, float (m,)

_INPUT_LIMIT = 0.05  # in SDs of the pretraining images; bfloat16 rounds by at most 0.01
_RANGE_LIMIT = 0.1  # of the range that pixels of 0-255 have
_BATCH_LIMIT_FLOAT32 = 0.01  # SDs of a scorer over the exam
_BATCH_LIMIT_BFLOAT16 = 0.5  # all of its rounding moved scores by up to 0.3 SD, see docs/linter.md


@dataclass
class Watch:
    """What was seen of a network while images went through it."""

    stateful: set[str] = field(default_factory=set)  # modules in train mode that behave otherwise there
    first_input: Tensor | None = None  # (b, 3, h, w), of the first batch


@contextmanager
def watch(detector: Detector) -> Iterator[Watch]:
    """Look at the detector whenever images reach its first convolution."""
    seen = Watch()

    def look(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.stateful.update(_list_stateful(detector))
        if seen.first_input is None:
            seen.first_input = inputs[0].detach().float()

    first = _find_first(detector.backbone.network)
    handle = first.register_forward_pre_hook(look) if first is not None else None
    try:
        yield seen
    finally:
        if handle is not None:
            handle.remove()


def check_mode(seen: Watch) -> list[Finding]:
    """`train_mode`: BatchNorm, dropout or drop path was in train mode while images were scored."""
    if not seen.stateful:
        return []
    names = sorted(seen.stateful)
    message = (
        f"{counted(len(names), 'module')} with statistics or dropout in train mode while scoring,"
        f" first {names[0]!r};"
        " 0 are allowed: put the whole detector into eval mode before it scores"
    )
    return [Finding("train_mode", Severity.BROKEN, message)]


def check_input(seen: Watch, tiles: np.ndarray, pretrained: dict[str, Any]) -> list[Finding]:
    """`unnormalised_input`: the network does not get (x / 255 - mean) / SD of its own pretraining.

    Where the network resizes or pads its input first, only the range is looked at.

    Args:
        seen: while the tiles went through; a network without a convolution on 3 channels is not checked.
        tiles: uint8 (b, h, w, 3), at least those of the first batch.
        pretrained: timm's notes on the network, with mean and std.
    """
    if seen.first_input is None:
        return []
    got = seen.first_input.cpu()
    mean, std = (torch.tensor(pretrained[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    expected = (torch.from_numpy(tiles[: len(got)]).permute(0, 3, 1, 2).float() / 255 - mean) / std
    if got.shape == expected.shape:
        difference, limit = float((got - expected).abs().max()), _INPUT_LIMIT
        what = f"differs by up to {difference:.3g} SD from (x / 255 - mean) / SD (limit {limit})"
    else:
        low, high = -mean / std, (1 - mean) / std
        difference = float((torch.maximum(low - got, got - high) / (high - low)).max())
        limit = _RANGE_LIMIT
        what = f"leaves the range of normalised pixels by {difference:.3g} of that range (limit {limit})"
    if difference <= limit:
        return []
    shown = ", ".join(f"{value:.3f}" for value in (*pretrained["mean"], *pretrained["std"]))
    message = (
        f"the input of the first convolution {what}; mean and SD of its pretraining are {shown}:"
        " normalise images as the backbone was trained"
    )
    return [Finding("unnormalised_input", Severity.BROKEN, message)]


def measure_difference(before: Images, after: Images, spreads: Mapping[str, float]) -> tuple[float, str]:
    """Measure how far scores of the same images differ, in SDs of their scorer, and by which scorer most.

    The ensemble, which has no scores of its own, may be missing in `after`.
    """
    differences = {name: float(np.abs(after[name] - before[name]).max()) / spreads[name] for name in after}
    name = max(differences, key=lambda name: differences[name])
    return differences[name], name


def measure_spreads(scores: Scores) -> dict[str, float]:
    """SD of each scorer's scores; of constant ones, what float32 can tell apart."""
    return {
        name: max(float(values.std()), 1e-6 * float(np.abs(values).max()), 1e-12)
        for name, values in scores.image.items()
    }


def batch_limit(device: torch.device) -> float:
    """Return how far scores may differ between batches: more where the network computes in bfloat16."""
    return _BATCH_LIMIT_BFLOAT16 if device.type == "cuda" else _BATCH_LIMIT_FLOAT32


def describe_batches(difference: float, name: str, limit: float) -> Finding:
    """`batch_dependence`: an image's score depends on which others are in its batch."""
    message = (
        f"in other batches images score up to {difference:.3g} SD differently by {name} (limit {limit}): see that"
        " nothing is normalised over a batch; BatchNorm has to be in eval mode"
    )
    return Finding("batch_dependence", Severity.BROKEN, message)


def describe_prefix(difference: float, name: str, limit: float) -> Finding:
    """`prefix_differs`: scores by the outputs of frozen blocks that the host keeps are not those of the pixels."""
    message = (
        f"by the kept outputs of frozen blocks images score up to {difference:.3g} SD differently by {name} (limit"
        f" {limit}) than by a pass of the whole network: remove the folder `prefix` in the worker's cache, and see"
        " that the network below the first adapted block was not changed"
    )
    return Finding("prefix_differs", Severity.BROKEN, message)


def describe_repeat(difference: float, name: str, limit: float) -> Finding:
    """`train_mode`: the same images in the same batches have other scores the second time."""
    message = (
        f"scored twice, the same images differ by up to {difference:.3g} SD by {name} (limit {limit}):"
        " something is drawn at random while scoring, as by dropout that was left on"
    )
    return Finding("train_mode", Severity.BROKEN, message)


def _find_first(network: nn.Module) -> nn.Conv2d | None:
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return next((module for module in convolutions if module.in_channels == 3), None)


def _list_stateful(detector: Detector) -> Iterator[str]:
    network = dict(detector.backbone.network.named_modules())
    own = set(map(id, network.values()))
    heads = {name: module for name, module in detector.named_modules() if id(module) not in own}
    for name, module in {**heads, **network}.items():
        if not module.training:
            continue
        has_statistics = getattr(module, "running_mean", None) is not None
        rates = (getattr(module, rate, None) for rate in ("p", "drop_prob", "share"))
        if has_statistics or any(isinstance(rate, float) and rate > 0 for rate in rates):
            yield name

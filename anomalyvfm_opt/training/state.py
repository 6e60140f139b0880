"""What training consists of between two epochs, so that it can go on elsewhere as if nothing had been."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyvfm_opt.model.detector import Detector
from anomalyvfm_opt.training.checkpoint import Identity, list_trained

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW knows of a parameter
_TRAINED, _ALLOCATION, _GENERATOR = "trained.", "allocation.", "generator."


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """All that the next epochs depend on, beside images and schedule.

    Args:
        identity: of the detector.
        epoch: the last that is done, from 1.
        losses: of each optimiser step so far.
        micro_batch: images that went through the detector at once in the last of them.
        tensors: on the CPU, apart from those that are trained on: `trained.<parameter>`, the optimiser's
            `step.<parameter>`, `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`, AdaLoRA's `allocation.<...>`,
            and `generator.<number>`, the states of what dropout draws from.
    """

    identity: Identity
    epoch: int
    losses: tuple[float, ...]
    micro_batch: int
    tensors: Mapping[str, Tensor]


def capture_state(
    detector: Detector, optimizer: torch.optim.Optimizer, epoch: int, losses: Sequence[float], micro_batch: int
) -> TrainingState:
    """Capture the state after an epoch, the optimiser's by the names of the parameters, not by their order."""
    parameters = list_trained(detector)
    moments = {
        f"{moment}.{name}": optimizer.state[p][moment]
        for name, p in parameters.items()
        if p in optimizer.state
        for moment in _MOMENTS
    }
    tensors: dict[str, Tensor] = {
        **{_TRAINED + name: p.detach() for name, p in parameters.items()},
        **moments,
        **{_ALLOCATION + name: t for name, t in detector.allocation.state().items()},
        **{f"{_GENERATOR}{i}": generator.get_state() for i, generator in enumerate(detector.generators())},
    }
    copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    return TrainingState(
        identity=Identity.of(detector), epoch=epoch, losses=tuple(losses), micro_batch=micro_batch, tensors=copies
    )


def find_misfit(state: TrainingState, detector: Detector) -> str:
    """Why a detector cannot go on from a state; empty if it can."""
    if state.identity != Identity.of(detector):
        return "it is of another detector"
    stored = {name: tuple(t.shape) for name, t in _select(state, _TRAINED).items()}
    own = {name: tuple(p.shape) for name, p in list_trained(detector).items()}
    differing = [name for name in own.keys() | stored.keys() if own.get(name) != stored.get(name)]
    if differing:
        return f"its {min(differing)} has another shape"
    return (
        "" if len(_select(state, _GENERATOR)) == len(detector.generators()) else "it has no state of the dropout"
    )


def restore_state(state: TrainingState, detector: Detector, optimizer: torch.optim.Optimizer) -> None:
    """Put a detector and its fresh optimiser where training was; `find_misfit` must have found nothing.

    A generator of another kind of device cannot be put where this one was: dropout then begins anew, with a seed
    of the epoch. Everything else goes on exactly.
    """
    parameters, trained = list_trained(detector), _select(state, _TRAINED)
    moments = {moment: _select(state, f"{moment}.") for moment in _MOMENTS}
    for name, parameter in parameters.items():
        value = parameter.data.copy_(trained[name])
        if name in moments["step"]:
            averages = {m: torch.empty_like(value).copy_(moments[m][name]) for m in _MOMENTS[1:]}
            # the count stays on the CPU, as AdamW makes it
            optimizer.state[parameter] = {"step": moments["step"][name].clone(), **averages}
    detector.allocation.resume(_select(state, _ALLOCATION), len(state.losses))
    for i, generator in enumerate(detector.generators()):
        drawn = state.tensors[f"{_GENERATOR}{i}"]
        if drawn.shape == generator.get_state().shape:
            generator.set_state(drawn)
        else:
            generator.manual_seed(generator.initial_seed() + state.epoch)


def _select(state: TrainingState, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in state.tensors.items() if name.startswith(prefix)}

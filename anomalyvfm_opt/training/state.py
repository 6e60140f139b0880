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
    own = {name: tuple(p.shape) for name, p in list_trained(detector).items()}
    if differing := _differ(own, _select(state, _TRAINED)):
        return f"its {min(differing)} has another shape"
    known = _select(state, f"{_MOMENTS[0]}.")  # of a parameter that has had no gradient yet there are no moments
    for moment in _MOMENTS:
        wanted = {name: () if moment == "step" else own.get(name) for name in known}
        if differing := _differ(wanted, _select(state, f"{moment}.")):
            return f"the optimiser's {moment} of {min(differing)} has another shape"
    if not known.keys() <= own.keys():
        return "the optimiser has parameters that are not trained"
    if infinite := [n for n, t in state.tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
        return f"its {min(infinite)} is not finite"
    if not detector.allocation.accepts(_select(state, _ALLOCATION)):
        return "its importances of ranks do not fit"
    generators = _select(state, _GENERATOR)
    if generators.keys() != {str(i) for i in range(len(detector.generators()))}:
        return "it has no state of the dropout"
    return (
        "" if all(t.dtype is torch.uint8 for t in generators.values()) else "its state of the dropout is damaged"
    )


def _differ(wanted: Mapping[str, tuple[int, ...] | None], given: Mapping[str, Tensor]) -> list[str]:
    """Return the names of tensors that have another shape than wanted, or that one side lacks."""
    found = {name: tuple(t.shape) for name, t in given.items()}
    return [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]


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

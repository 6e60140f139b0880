"""What a trial is asked to do, and what it answers: the seam between the loop and whatever it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anomalyvfm_opt.evaluation.linter.findings import Finding
from anomalyvfm_opt.evaluation.metrics import Metrics
from anomalyvfm_opt.spec.parameters import Parameters


@dataclass(frozen=True)
class Look:
    """The right to look at the locked images.

    Args:
        scorer: that they are judged by.
        write_down: called right before they are scored, whatever comes of it.
    """

    scorer: str
    write_down: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """One trial to run. `parameters` is None for the frozen detector.

    Without `is_watched` only the last epoch is scored: the same result in two thirds of the time. With a `look`
    the locked images are judged: a trial of a confirmation.
    """

    number: int
    parameters: Parameters | None
    seed: int
    is_watched: bool = True
    look: Look | None = None


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A finished trial: its value, and for each scorer the metrics and the scores of the n scored images.

    `artifacts` are its files by kind, as bytes or as paths. `discard` removes what a retry would have gone on
    from; it is called when the study store has the trial as complete.
    """

    value: float
    metrics: Mapping[str, Metrics]
    image_keys: tuple[str, ...]
    labels: np.ndarray  # int (n,), 1 for anomalous
    scores: Mapping[str, np.ndarray]  # float (n,)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()  # of the linter
    artifacts: Mapping[str, bytes | Path] = field(default_factory=dict)
    discard: Callable[[], None] = lambda: None
    resampled: Mapping[str, np.ndarray] = field(default_factory=dict)  # metric -> float (draws,)


class Progress(Protocol):
    """What a running trial tells the loop."""

    def check(self) -> None:
        """Called often; raises if the trial must stop: InterruptedTrialError or LeaseLostError."""

    def begin_step(self) -> None:
        """Called before each optimiser step; raises as `check` does."""

    def resume(self, epoch: int) -> None:
        """Called once, before any step, by a trial that goes on after this epoch of an earlier run."""

    def finish_epoch(self, epoch: int, loss: float) -> None:
        """Called after each epoch, from 1, with its mean training loss, before anything is scored."""

    def report(self, epoch: int, value: float) -> None:
        """Report the value after an epoch, from 1; epoch 0 is before training."""


RunTrial = Callable[[TrialRequest, Progress], TrialResult]

"""The running trial's line to the loop: whether it may go on, what it reports, and how far it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import optuna

from anomalyvfm_opt.trial.outcome import PrunedTrialError
from anomalyvfm_opt.trial.pulse import Hold
from anomalyvfm_opt.trial.trial_store import TrialStore


@dataclass(frozen=True, kw_only=True)
class Underway:
    """How far a running trial is.

    Args:
        number: of the trial.
        what: it is of: `search`, or which reference, replicate or arm of a confirmation.
        epochs: that it has; 0 for the frozen network.
        epoch: the last one that is over; 0 before the first.
        resumed_from: the epoch of an earlier run that it goes on after; None from the start.
        loss: mean training loss of that epoch; None before the first.
        seconds: since this worker began with it.
    """

    number: int
    what: str
    epochs: int
    epoch: int = 0
    resumed_from: int | None = None
    loss: float | None = None
    seconds: float = 0.0


@dataclass
class LoopProgress:
    """What a trial is handed as its `Progress`.

    Args:
        trial: that runs.
        hold: of this worker on it.
        store: where values are reported.
        may_be_pruned: whether the pruner is asked after each report.
        underway: how far it is.
        watch: told of that, often: it decides what is worth showing.
    """

    trial: optuna.Trial
    hold: Hold
    store: TrialStore
    may_be_pruned: bool
    underway: Underway
    watch: Callable[[Underway], None]
    started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise if the trial must stop."""
        self.hold.check()
        self.underway = replace(self.underway, seconds=time.monotonic() - self.started)
        self.watch(self.underway)

    def begin_step(self) -> None:
        """Do as `check` does."""
        self.check()

    def resume(self, epoch: int) -> None:
        """Note that the trial goes on after an epoch of an earlier run."""
        self.underway = replace(self.underway, epoch=epoch, resumed_from=epoch)
        self.check()

    def finish_epoch(self, epoch: int, loss: float) -> None:
        """Note how far the trial is."""
        self.underway = replace(self.underway, epoch=epoch, loss=loss)
        self.check()

    def report(self, epoch: int, value: float) -> None:
        """Store a value, and end the trial if the pruner says so.

        Raises:
            PrunedTrialError: it is not worth going on.
        """
        self.store.report(self.trial, epoch, value)
        self.underway = replace(
            self.underway, epoch=max(epoch, self.underway.epoch)
        )  # more, after an interruption
        self.check()
        if self.may_be_pruned and self.store.should_prune(self.trial):
            raise PrunedTrialError(epoch, value)

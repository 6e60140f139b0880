"""How a trial ended, and what follows from it: docs/trial.md has the table."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from anomalyvfm_opt.errors import (
    AnomalyVFMOptError,
    BadDataError,
    DeviceLostError,
    DivergedError,
    DoesNotFitError,
    OutsideSpaceError,
)
from anomalyvfm_opt.store.engine import explain_database_error, is_database_fault
from anomalyvfm_opt.store.leases import LeaseLostError


class Policy(Enum):
    """What becomes of a trial."""

    KEEP = "keep"  # it stands as it is
    RETRY = "retry"  # given back: a copy waits, with the same parameters and seed, from its last checkpoint
    RETRY_FEW = "retry_few"  # likewise, but not for ever: the trial may be to blame
    INFEASIBLE = "infeasible"  # pruned, with a constraint from which the sampler learns
    FAIL = "fail"  # failed for good
    NOTHING = "nothing"  # it is no longer ours


class Outcome(StrEnum):
    """The ends of a trial, as stored with it."""

    COMPLETED = "completed"
    PRUNED = "pruned"  # its curve was not worth going on with
    DIVERGED = "diverged"  # its parameters are to blame
    OUT_OF_MEMORY = "out_of_memory"  # it did not fit, even one image at a time
    OUTSIDE_SPACE = "outside_space"  # somebody enqueued it with what its study does not search
    PREEMPTED = "preempted"  # its worker was asked to stop
    ENVIRONMENT = "environment"  # database, weights, disk or GPU are missing where its worker runs
    BAD_DATA = "bad_data"  # images that its worker cannot use
    LOST = "lost"  # its worker died, found by another, or lost its GPU
    HUNG = "hung"  # it made no progress although its worker's heart beat
    BUG = "bug"  # an error of ours
    FENCED = "fenced"  # taken over by another worker; nothing is written

    @property
    def policy(self) -> Policy:
        """What becomes of the trial."""
        return _POLICIES[self]


_POLICIES = {
    Outcome.COMPLETED: Policy.KEEP,
    Outcome.PRUNED: Policy.KEEP,
    Outcome.DIVERGED: Policy.INFEASIBLE,
    Outcome.OUT_OF_MEMORY: Policy.INFEASIBLE,
    Outcome.OUTSIDE_SPACE: Policy.INFEASIBLE,
    Outcome.PREEMPTED: Policy.RETRY,
    Outcome.ENVIRONMENT: Policy.RETRY,
    Outcome.BAD_DATA: Policy.RETRY,
    Outcome.LOST: Policy.RETRY_FEW,
    Outcome.HUNG: Policy.RETRY_FEW,
    Outcome.BUG: Policy.FAIL,
    Outcome.FENCED: Policy.NOTHING,
}


_TO_BLAME: dict[type[Exception], Outcome] = {
    DivergedError: Outcome.DIVERGED,
    DoesNotFitError: Outcome.OUT_OF_MEMORY,
    OutsideSpaceError: Outcome.OUTSIDE_SPACE,
}


class InterruptedTrialError(Exception):
    """The worker was asked to stop; the trial is given back.

    Args:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM or SIGUSR2, 0 after `worker drain`.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"interrupted ({exit_code})" if exit_code else "drained")
        self.exit_code = exit_code


class PrunedTrialError(Exception):
    """The pruner ended a trial whose curve is not worth going on with.

    Args:
        epoch: the last one.
        value: after it.
    """

    def __init__(self, epoch: int, value: float) -> None:
        super().__init__(f"pruned after epoch {epoch} at {value:.4f}")


@dataclass(frozen=True)
class Failure:
    """What an exception means for its trial and for the worker."""

    outcome: Outcome
    message: str
    stop: BaseException | None = None  # what ends the worker, after the trial is put in order


def catch(act: Callable[[], None]) -> Exception | None:
    """Do something, and return the exception that it raised; None if it raised none.

    The one place where every kind of exception is caught: for a trial, whose end is read from the exception's type
    (see `classify`), and for a loop that must live, which logs it and goes on.
    """
    try:
        act()
    except Exception as error:
        return error
    return None


def classify(error: Exception) -> Failure:
    """Read an exception's type as policy.

    An error that a person can act on (bad data, no database, no GPU) never costs a trial: the trial is given
    back and the worker stops with that error. A lost GPU is given back likewise, but counts as a dead worker: the
    trial itself may be what kills GPUs. Only an error of ours fails a trial for good at once.
    """
    from optuna.exceptions import StorageInternalError  # here, because reports name outcomes without Optuna

    if isinstance(error, LeaseLostError):
        return Failure(Outcome.FENCED, "the lease was lost")
    if isinstance(error, InterruptedTrialError):
        return Failure(Outcome.PREEMPTED, str(error), stop=error)
    if isinstance(error, PrunedTrialError):
        return Failure(Outcome.PRUNED, str(error))
    if type(error) in _TO_BLAME:
        return Failure(_TO_BLAME[type(error)], str(error))
    if isinstance(error, AnomalyVFMOptError):
        return Failure(_name_hindrance(error), str(error).splitlines()[0], stop=error)
    if isinstance(error, StorageInternalError) or is_database_fault(error):
        stop = explain_database_error(error)
        return Failure(Outcome.ENVIRONMENT, stop.message, stop=stop)
    return Failure(Outcome.BUG, "".join(traceback.format_exception(error)))


def _name_hindrance(error: AnomalyVFMOptError) -> Outcome:
    if isinstance(error, DeviceLostError):
        return Outcome.LOST
    return Outcome.BAD_DATA if isinstance(error, BadDataError) else Outcome.ENVIRONMENT

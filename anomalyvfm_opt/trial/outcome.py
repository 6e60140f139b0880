"""How a trial ended, and what follows from it."""

import traceback
from dataclasses import dataclass
from enum import StrEnum

from optuna.exceptions import StorageInternalError

from anomalyvfm_opt.errors import AnomalyVFMOptError, DeviceLostError, DivergedError, DoesNotFitError
from anomalyvfm_opt.store.engine import explain_database_error, is_database_fault
from anomalyvfm_opt.trial.lease import LeaseLostError


class Outcome(StrEnum):
    """The ends of a trial, as stored with it."""

    COMPLETED = "completed"
    DIVERGED = "diverged"  # its parameters are to blame: pruned and marked infeasible, so that the sampler learns
    OUT_OF_MEMORY = "out_of_memory"  # likewise
    PREEMPTED = "preempted"  # its worker was asked to stop, or stopped for a reason of its own: given back
    LOST = "lost"  # its worker died, found by a later one, or lost its GPU: given back, but not for ever
    BUG = "bug"  # an error of ours: failed for good
    FENCED = "fenced"  # taken over by another worker; nothing is written


class InterruptedTrialError(Exception):
    """The worker was asked to stop; the trial is given back.

    Args:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"interrupted ({exit_code})")
        self.exit_code = exit_code


@dataclass(frozen=True)
class Failure:
    """What an exception means for its trial and for the worker."""

    outcome: Outcome
    message: str
    stop: BaseException | None = None  # what ends the worker, after the trial is put in order


def classify(error: Exception) -> Failure:
    """Read an exception's type as policy.

    An error that a person can act on (bad data, no database, no GPU) never costs a trial: the trial is given
    back and the worker stops with that error. A lost GPU is given back likewise, but counts as a dead worker: the
    trial itself may be what kills GPUs. Only an error of ours fails a trial for good at once.
    """
    if isinstance(error, LeaseLostError):
        return Failure(Outcome.FENCED, "the lease was lost")
    if isinstance(error, InterruptedTrialError):
        return Failure(Outcome.PREEMPTED, str(error), stop=error)
    if isinstance(error, DivergedError):
        return Failure(Outcome.DIVERGED, str(error))
    if isinstance(error, DoesNotFitError):
        return Failure(Outcome.OUT_OF_MEMORY, str(error))
    if isinstance(error, DeviceLostError):
        return Failure(Outcome.LOST, str(error).splitlines()[0], stop=error)
    if isinstance(error, AnomalyVFMOptError):
        return Failure(Outcome.PREEMPTED, str(error).splitlines()[0], stop=error)
    if isinstance(error, StorageInternalError) or is_database_fault(error):
        stop = explain_database_error(error)
        return Failure(Outcome.PREEMPTED, stop.message, stop=stop)
    return Failure(Outcome.BUG, "".join(traceback.format_exception(error)))

"""Give trials back: on purpose, or on behalf of a worker that died.

A trial that is given back ends as FAIL with an outcome that is not final, and a copy of it waits to be asked for:
same parameters, same training seed. Only fixed parameters and our own attributes are copied; Optuna's system
attributes (constraints, pruner rungs, artifacts) belong to the dead run.

All of it is one transaction (store/endings.py), and the trial's row is its lock. So any number of processes may
reap at once, and one that is stopped in the middle holds up that one trial only.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from anomalyvfm_opt.store.batch import find_direct
from anomalyvfm_opt.store.endings import Ending, end_trial
from anomalyvfm_opt.store.leases import sweep_leases
from anomalyvfm_opt.store.optuna_private import read_study_id, read_trial_id
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.waiting import Waiting
from anomalyvfm_opt.trial.outcome import Outcome, Policy

MAX_LOSSES = 3  # a trial that took this many workers down with it is not tried again


def reap(study: optuna.Study, engine: Engine, worker: str) -> list[int]:
    """Give back the running trials whose worker is gone.

    A trial is an orphan if its lease has expired, or if it has none and no worker of this study stands
    between its ticket and its trial.

    Returns:
        The numbers of the trials that were found dead, and that nobody else gave back.
    """
    orphans = sweep_leases(engine, read_study_id(study))
    if not orphans:
        return []
    dead = map(find_direct(study).get_trial, sorted(orphans))
    found = (Outcome.LOST, "its worker died", worker)
    return [trial.number for trial in dead if give_back(engine, trial, *found, waits=False)]


def list_running(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that run."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def take_back(engine: Engine, running: Sequence[FrozenTrial], by: str) -> None:
    """Give running trials back for a person; their workers notice with the next heartbeat, and drop them.

    Args:
        engine: of the study store.
        running: the trials.
        by: what the person called.
    """
    for trial in running:
        give_back(engine, trial, Outcome.PREEMPTED, "taken back by a person", by)


def give_back(
    engine: Engine, trial: FrozenTrial, outcome: Outcome, message: str, worker: str, *, waits: bool = True
) -> bool:
    """End a trial that did not finish and let a copy of it wait, unless it has taken too many workers down.

    Returns:
        False if it has come to an end otherwise, or if it was not waited for (see `end_trial`).
    """
    record = TrialRecord.from_attributes(trial.user_attrs)
    times_lost = (record.times_lost or 0) + (outcome.policy is Policy.RETRY_FEW)
    retry = None
    if times_lost < MAX_LOSSES:
        retry = Waiting(_fixed_parameters(trial), record.start_again(trial.number, times_lost))
    ending = Ending(state=TrialState.FAIL, outcome=str(outcome), message=message, worker=worker)
    return end_trial(engine, read_trial_id(trial), ending, retry, waits=waits)


def _fixed_parameters(trial: FrozenTrial) -> dict[str, object]:
    """Return what was enqueued and what was suggested since: a part, if the trial died in between."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}

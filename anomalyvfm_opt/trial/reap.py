"""Give trials back: on purpose, or on behalf of a worker that died.

A trial that is given back ends as FAIL with an outcome that is not final, and a copy of it waits to be asked for:
same parameters, same training seed. Only fixed parameters and our own attributes are copied; Optuna's system
attributes (constraints, pruner rungs, artifacts) belong to the dead run.

All of it is one transaction (store/endings.py), and the trial's row is its lock. So any number of processes may
reap at once, and one that is stopped in the middle holds up that one trial only.
"""

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, text

from anomalyvfm_opt.store.endings import Ending, end_trial
from anomalyvfm_opt.store.engine import autocommit
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.waiting import Waiting
from anomalyvfm_opt.trial.outcome import Outcome, Policy

MAX_LOSSES = 3  # a trial that took this many workers down with it is not tried again

_ORPHANS = text("""
    SELECT t.trial_id FROM trials t
      LEFT JOIN anomalyvfm_opt.lease l ON l.trial_id = t.trial_id
      LEFT JOIN anomalyvfm_opt.trial_outcome o ON o.trial_id = t.trial_id
     WHERE t.study_id = :study_id AND (t.state = 'RUNNING' OR (t.state = 'FAIL' AND o.trial_id IS NULL))
       AND (l.expires_at < now()
            OR (l.lease_id IS NULL AND NOT EXISTS (
                SELECT 1 FROM anomalyvfm_opt.lease open
                 WHERE open.study_id = :study_id AND open.trial_id IS NULL AND open.expires_at > now())))
""")
# of no trial, or of one that came to its end before its lease was let go
_DROP_EXPIRED = text("""
    DELETE FROM anomalyvfm_opt.lease l
     WHERE l.study_id = :study_id AND l.expires_at < now()
       AND (l.trial_id IS NULL
            OR EXISTS (SELECT FROM trials t WHERE t.trial_id = l.trial_id AND t.state IN ('COMPLETE', 'PRUNED'))
            OR EXISTS (SELECT FROM anomalyvfm_opt.trial_outcome o WHERE o.trial_id = l.trial_id))
""")


def reap(study: optuna.Study, engine: Engine, worker: str) -> list[int]:
    """Give back the running trials whose worker is gone.

    A trial is an orphan if its lease has expired, or if it has none and no worker of this study stands
    between its ticket and its trial.

    Returns:
        The numbers of the trials that were found dead, and that nobody else gave back.
    """
    with autocommit(engine) as connection:
        connection.execute(_DROP_EXPIRED, {"study_id": study._study_id})
        orphans = set(connection.scalars(_ORPHANS, {"study_id": study._study_id}))
    if not orphans:
        return []
    dead = [trial for trial in study.get_trials(deepcopy=False) if trial._trial_id in orphans]
    found = (Outcome.LOST, "its worker died", worker)
    return [trial.number for trial in dead if give_back(engine, trial, *found, waits=False)]


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
    return end_trial(engine, trial._trial_id, ending, retry, waits=waits)


def _fixed_parameters(trial: FrozenTrial) -> dict[str, object]:
    """What was enqueued, and what was suggested since; a trial that died in between has only a part of it."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}

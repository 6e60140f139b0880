"""Give trials back: on purpose, or on behalf of a worker that died.

A trial that is given back ends as FAIL with an outcome that is not final, and a copy of it waits to be asked for:
same parameters, same training seed. Only fixed parameters and our own attributes are copied; Optuna's system
attributes (constraints, pruner rungs, artifacts) belong to the dead run.

The steps are FAIL, copy, outcome, lease. FAIL comes first because it is the fence: Optuna refuses it for a trial
that its own worker has finished meanwhile. A crash after it leaves a FAIL without an outcome, which the next
reaper takes up where it was left.
"""

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, text
from sqlalchemy.dialects.postgresql import Insert, insert

from anomalyvfm_opt.store import tables
from anomalyvfm_opt.trial.outcome import Outcome, Policy

MAX_LOSSES = 3  # a trial that took this many workers down with it is not tried again
_KEPT_ATTRIBUTES = ("reference",)

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
_DROP_OWN_LEASE = text("DELETE FROM anomalyvfm_opt.lease WHERE lease_id = :lease_id")
_DROP_LEASE = text("DELETE FROM anomalyvfm_opt.lease WHERE trial_id = :trial_id")
_DROP_EXPIRED = text("""
    DELETE FROM anomalyvfm_opt.lease l
     WHERE l.study_id = :study_id AND l.expires_at < now()
       AND (l.trial_id IS NULL
            OR EXISTS (SELECT 1 FROM trials t WHERE t.trial_id = l.trial_id AND t.state IN ('COMPLETE', 'PRUNED')))
""")
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtext('reap'), :study_id)")


def reap(study: optuna.Study, engine: Engine, worker: str) -> list[int]:
    """Give back the running trials whose worker is gone.

    A trial is an orphan if its lease has expired, or if it has none and no worker of this study stands
    between its ticket and its trial. One process reaps at a time; the others go on.

    Returns:
        The numbers of the trials that were found dead.
    """
    with engine.begin() as connection:
        if not connection.scalar(_TRY_LOCK, {"study_id": study._study_id}):
            return []
        connection.execute(_DROP_EXPIRED, {"study_id": study._study_id})
        orphans = set(connection.scalars(_ORPHANS, {"study_id": study._study_id}))
        if not orphans:
            return []
        dead = [trial for trial in study.get_trials(deepcopy=False) if trial._trial_id in orphans]
        for trial in dead:
            give_back(study, engine, trial, Outcome.LOST, "its worker died", worker)
    return [trial.number for trial in dead]


def give_back(
    study: optuna.Study, engine: Engine, trial: FrozenTrial, outcome: Outcome, message: str, worker: str
) -> None:
    """End a trial that did not finish and let a copy of it wait, unless it has taken too many workers down.

    Only the reaper may call this for a trial that is FAIL already: it holds the lock that keeps others away.
    """
    if trial.state is not TrialState.FAIL and not _end(study, trial._trial_id, TrialState.FAIL):
        return
    times_lost = int(trial.user_attrs.get("times_lost", 0)) + (outcome.policy is Policy.RETRY_FEW)
    is_final = times_lost >= MAX_LOSSES
    if not is_final and not _has_copy(study, trial):
        kept = {name: trial.user_attrs[name] for name in _KEPT_ATTRIBUTES if name in trial.user_attrs}
        first = trial.user_attrs.get("first_number", trial.number)
        attributes = {**kept, "retry_of": trial.number, "first_number": first, "times_lost": times_lost}
        study.enqueue_trial(_fixed_parameters(trial), user_attrs=attributes)
    _write_outcome(engine, trial._trial_id, outcome, message, worker, is_final=is_final)


def finish(
    study: optuna.Study,
    engine: Engine,
    trial_id: int,
    state: TrialState,
    outcome: Outcome,
    message: str,
    worker: str,
) -> None:
    """End a trial for good as PRUNED or FAIL."""
    if _end(study, trial_id, state):
        _write_outcome(engine, trial_id, outcome, message, worker, is_final=True)


def close(engine: Engine, trial_id: int, lease_id: int, outcome: Outcome, worker: str) -> None:
    """Write down who ended a trial that is in its final state, and let its lease go.

    A crash before it loses nothing: the state counts, and the lease expires.
    """
    with engine.begin() as connection:
        connection.execute(_insert_outcome(trial_id, outcome, "", worker, is_final=True))
        connection.execute(_DROP_OWN_LEASE, {"lease_id": lease_id})


def _end(study: optuna.Study, trial_id: int, state: TrialState) -> bool:
    """Set the state; False if the trial was finished otherwise, and is no longer ours to end."""
    try:
        return study._storage.set_trial_state_values(trial_id, state)
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def _write_outcome(
    engine: Engine, trial_id: int, outcome: Outcome, message: str, worker: str, *, is_final: bool
) -> None:
    with engine.begin() as connection:
        connection.execute(_insert_outcome(trial_id, outcome, message, worker, is_final=is_final))
        connection.execute(_DROP_LEASE, {"trial_id": trial_id})


def _insert_outcome(trial_id: int, outcome: Outcome, message: str, worker: str, *, is_final: bool) -> Insert:
    row = insert(tables.trial_outcome).values(
        trial_id=trial_id,
        outcome=str(outcome),
        is_final=is_final,
        message=message.replace("\x00", "")[-4000:],
        worker=worker,
    )
    return row.on_conflict_do_nothing()


def _has_copy(study: optuna.Study, trial: FrozenTrial) -> bool:
    return any(t.user_attrs.get("retry_of") == trial.number for t in study.get_trials(deepcopy=False))


def _fixed_parameters(trial: FrozenTrial) -> dict[str, object]:
    """What was enqueued, and what was suggested since; a trial that died in between has only a part of it."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}

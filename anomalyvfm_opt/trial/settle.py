"""The end of a trial: told, given back, pruned or failed, as its outcome's policy says."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from anomalyvfm_opt.errors import AnomalyVFMOptError
from anomalyvfm_opt.evaluation.linter.findings import Finding, is_unsound
from anomalyvfm_opt.store.artifacts import ArtifactFolder, put_all
from anomalyvfm_opt.store.batch import set_attributes
from anomalyvfm_opt.store.endings import Ending, close_trial, end_trial
from anomalyvfm_opt.store.leases import Lease
from anomalyvfm_opt.store.optuna_private import find_storage, read_trial_id
from anomalyvfm_opt.store.outcomes import list_last_outcomes
from anomalyvfm_opt.store.scores import delete_scores, write_scores
from anomalyvfm_opt.store.sealed import SEALED, unseal
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import set_state
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.trial.outcome import Failure, Outcome, Policy, classify
from anomalyvfm_opt.trial.patience import wait_out
from anomalyvfm_opt.trial.pulse import Times
from anomalyvfm_opt.trial.reap import give_back
from anomalyvfm_opt.trial.result import TrialResult

_log = logging.getLogger(__name__)
_BUGS_IN_A_ROW = 3


@dataclass(frozen=True)
class Ended:
    """How one trial ended, for whoever watches."""

    number: int
    outcome: Outcome
    value: float | None
    message: str = ""
    findings: Sequence[Finding] = ()


class Settler:
    """Ends trials of one study for one worker.

    Args:
        study: the Optuna study.
        engine: on the same database.
        record: what the store knows of the study.
        artifacts: where trials' files go.
        worker: this worker's name.
        on_end: told of each trial's end.
    """

    def __init__(
        self,
        study: optuna.Study,
        engine: Engine,
        record: StudyRecord,
        artifacts: ArtifactFolder,
        worker: str,
        on_end: Callable[[Ended], None],
    ) -> None:
        self._study = study
        self._engine = engine
        self._record = record
        self._artifacts = artifacts
        self._worker = worker
        self._on_end = on_end

    def tell(self, trial: optuna.Trial, result: TrialResult) -> None:
        """Store a result: files, attributes, scores, then the state.

        It is idempotent: safe to repeat after a lost reply.

        Raises:
            UpdateFinishedTrialError: the trial was taken over meanwhile.
        """
        files = put_all(self._artifacts, result.artifacts)
        try:
            record = TrialRecord.of_result(result.attributes, tuple(result.findings))
            set_attributes(trial, record.to_attributes())  # refused if it was taken over
            if is_unsound(result.findings):
                trial.set_constraint("unsound", 1.0)  # complete, but nothing is to be built on its value
            labelled = (result.image_keys, result.labels, result.scores)
            write_scores(self._engine, read_trial_id(trial), result.metrics, *labelled, files, result.resampled)
            self._study.tell(trial, SEALED if self._record.kind == "confirm" else result.value)
        except UpdateFinishedTrialError:
            if self._read_state(trial) is not TrialState.COMPLETE:
                raise
            # by an earlier try of ours whose answer was lost: nobody else completes this trial
        close_trial(self._engine, read_trial_id(trial), str(Outcome.COMPLETED), self._worker)
        self._unseal()
        result.discard()
        ended = Ended(number=trial.number, outcome=Outcome.COMPLETED, value=result.value, findings=result.findings)
        self._on_end(ended)

    def settle(self, trial: optuna.Trial, lease: Lease, error: Exception, times: Times) -> None:
        """Put a trial that did not complete in order, and pass on what must end the worker.

        Args:
            trial: that did not complete.
            lease: of the trial.
            error: that ended it.
            times: a worker that is to end waits less long for a database that is away than one that goes on.

        Raises:
            BaseException: what must end the worker.
        """
        if isinstance(error, UpdateFinishedTrialError):
            failure = Failure(Outcome.FENCED, "taken over before it was told")
        else:
            failure = classify(error)
        patient = wait_out(self, times.outage_s if failure.stop is None else times.drain_s, lambda: None)
        try:
            failure = patient.end(trial, lease, failure)
        except (SQLAlchemyError, StorageInternalError, AnomalyVFMOptError) as away:
            _log.warning("trial %s could not be settled, a later worker finds it: %s", trial.number, away)
        except KeyError:
            failure = _as_deleted(failure)
        self._on_end(Ended(number=trial.number, outcome=failure.outcome, value=None, message=failure.message))
        if failure.stop is error:
            raise error
        if failure.stop is not None:
            raise failure.stop from error
        if failure.outcome is Outcome.BUG:
            patient.stop_on_bugs(error)

    def give_up(self, trial: optuna.Trial, outcome: Outcome, message: str) -> bool:
        """Give back a trial that no longer answers; False if it has its result, and answers after all.

        Where the database is away, the trial is left to a later reaper. One that was taken over, or whose study is
        deleted, still holds its worker, which must end.
        """
        try:
            state = self._read_state(trial)
            if state in (TrialState.COMPLETE, TrialState.PRUNED):
                return False
            if state is TrialState.RUNNING:
                self._give_back(trial, outcome, message)
        except KeyError:  # the study was deleted
            pass
        except (SQLAlchemyError, StorageInternalError) as error:
            _log.warning("trial %s could not be given back: %s", trial.number, str(error).splitlines()[0])
        self._on_end(Ended(number=trial.number, outcome=outcome, value=None, message=message))
        return True

    def end(self, trial: optuna.Trial, lease: Lease, failure: Failure) -> Failure:
        """Do what the outcome's policy says, and return how the trial ended after all. It is idempotent."""
        if failure.outcome is not Outcome.FENCED and not lease.is_held(self._engine):
            failure = replace(failure, outcome=Outcome.FENCED)  # taken over while we were away
        outcome = failure.outcome
        match outcome.policy:
            case Policy.NOTHING:
                state = self._read_state(trial)
                if state is None:
                    return _as_deleted(failure)
                if state is not TrialState.COMPLETE:  # as it is if its lease expired after it
                    delete_scores(self._engine, read_trial_id(trial))  # written just before the lease was lost
                lease.release(self._engine)
            case Policy.RETRY | Policy.RETRY_FEW:
                self._give_back(trial, outcome, failure.message)
            case Policy.INFEASIBLE:
                trial.set_constraint(str(outcome), 1.0)
                self._finish(trial, TrialState.PRUNED, failure)
            case Policy.KEEP:
                self._finish(trial, TrialState.PRUNED, failure)
            case Policy.FAIL:
                self._finish(trial, TrialState.FAIL, failure)
        return failure

    def _finish(self, trial: optuna.Trial, state: TrialState, failure: Failure) -> None:
        ending = Ending(state=state, outcome=str(failure.outcome), message=failure.message, worker=self._worker)
        end_trial(self._engine, read_trial_id(trial), ending)
        self._unseal()

    def _unseal(self) -> None:
        """After the last trial of a confirmation, whatever it came to, its values can be seen."""
        if self._record.kind == "confirm":
            unseal(self._engine, self._record.study_id)

    def _give_back(self, trial: optuna.Trial, outcome: Outcome, message: str) -> None:
        frozen = find_storage(self._study).get_trial(read_trial_id(trial))
        give_back(self._engine, frozen, outcome, message, self._worker)

    def _read_state(self, trial: optuna.Trial) -> TrialState | None:
        """Return the state that is stored of a trial; None if the study was deleted."""
        try:
            return find_storage(self._study).get_trial(read_trial_id(trial)).state
        except KeyError:
            return None

    def stop_on_bugs(self, error: Exception) -> None:
        """Stop the study when its last trials all failed by an error of ours, whoever ran them.

        Raises:
            AnomalyVFMOptError: it is stopped.
        """
        last = list_last_outcomes(self._engine, self._record.study_id, _BUGS_IN_A_ROW)
        if last != [Outcome.BUG] * _BUGS_IN_A_ROW:
            return
        reason = f"{_BUGS_IN_A_ROW} trials failed one after the other, last: {error!r}"
        set_state(self._engine, self._record.study_id, "stopped", reason)
        raise AnomalyVFMOptError(
            f"{self._record.name} is stopped: {reason}",
            "this is a bug; the tracebacks stand in `anomalyvfm-opt study show --json` of that study;"
            f" once it is mended: anomalyvfm-opt study resume {self._record.name}",
        ) from error


def _as_deleted(failure: Failure) -> Failure:
    """Return what a failure is of a trial whose study was deleted; what ends the worker still does."""
    return replace(failure, outcome=Outcome.FENCED, message="its study was deleted")

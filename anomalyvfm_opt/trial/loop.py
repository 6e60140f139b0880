"""The trial loop: reap -> ticket -> ask -> run -> tell.

It is handed what it runs. The study stays a native Optuna study: any Optuna tool may look at it meanwhile.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy import Engine

from anomalyvfm_opt.errors import AnomalyVFMOptError
from anomalyvfm_opt.evaluation.linter.findings import Finding, is_unsound
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.batch import set_attributes, suggest_all
from anomalyvfm_opt.store.scores import delete_scores, write_scores
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.trial.budget import count_usage, take_ticket
from anomalyvfm_opt.trial.lease import Heartbeat, Lease, LeaseLostError
from anomalyvfm_opt.trial.outcome import Outcome, classify
from anomalyvfm_opt.trial.reap import finish, give_back, reap
from anomalyvfm_opt.trial.result import RunTrial, TrialRequest, TrialResult
from anomalyvfm_opt.trial.space import derive_seed, is_inside, list_distributions

_log = logging.getLogger(__name__)
_BUGS_IN_A_ROW = 3


class Turn(Enum):
    """What one turn of the loop came to."""

    RAN = "ran"
    WAIT = "wait"  # the rest of the budget is out with other workers, who may give it back
    DONE = "done"  # the budget is used up


@dataclass(frozen=True)
class Ended:
    """How one trial ended, for whoever watches."""

    number: int
    outcome: Outcome
    value: float | None
    message: str = ""
    findings: Sequence[Finding] = ()


@dataclass
class _Progress:
    """The running trial's line to the loop."""

    trial: optuna.Trial
    heartbeat: Heartbeat
    check_signals: Callable[[], None]

    def check(self) -> None:
        self.check_signals()
        if self.heartbeat.is_lost:
            raise LeaseLostError

    def report(self, epoch: int, value: float) -> None:
        self.trial.report(value, step=epoch)
        self.check()


class TrialLoop:
    """Runs trials of one study for one worker.

    Args:
        study: the Optuna study, with the sampler of this worker.
        engine: on the same database.
        record: what the store knows of the study.
        prepare: gives what a trial does; called once, before this worker takes its first ticket.
        worker: this worker's name, unique.
        check_signals: raises InterruptedTrialError when the worker was asked to stop.
        on_end: told of each trial's end.
        grace_s: how long a lease lives without a heartbeat.
    """

    def __init__(
        self,
        study: optuna.Study,
        engine: Engine,
        record: StudyRecord,
        prepare: Callable[[], RunTrial],
        worker: str,
        check_signals: Callable[[], None],
        on_end: Callable[[Ended], None],
        grace_s: float = 60.0,
    ) -> None:
        self._study = study
        self._engine = engine
        self._record = record
        self._prepare = cache(prepare)
        self._worker = worker
        self._check_signals = check_signals
        self._on_end = on_end
        self._grace_s = grace_s
        self._bugs_in_a_row = 0
        self._distributions: Mapping[str, BaseDistribution] = list_distributions(record.spec.search.space)

    def take_turn(self) -> Turn:
        """Run one trial, if there is one to run.

        1. Reap: trials of dead workers are given back.
        2. Prepare: a worker that cannot run this study finds out before it takes anything.
        3. Ticket: none left means WAIT while others hold some, else DONE.
        4. Ask: all parameters are written before any work, so that a retry is exact.
        5. Run, with a heartbeat on the lease.
        6. Tell. What a worker that lost its lease brings is dropped.

        Raises:
            InterruptedTrialError: asked to stop; the trial was given back.
            AnomalyVFMOptError: something that a person must mend; the trial, if there was one, was given back.
        """
        self._check_signals()
        for number in reap(self._study, self._engine, self._worker):
            _log.warning("trial %s of %s: its worker died; given back", number, self._record.name)
        usage = count_usage(self._engine, self._record.study_id)
        if usage.used >= self._record.budget:
            return Turn.WAIT if usage.held else Turn.DONE
        self._prepare()
        lease = take_ticket(self._engine, self._record.study_id, self._worker, self._grace_s)
        if lease is None:
            return Turn.WAIT
        try:
            with ExitStack() as undo:
                undo.callback(lease.release, self._engine)
                trial = self._study.ask()
                lease.attach(self._engine, trial._trial_id)
                undo.pop_all()
        except LeaseLostError:
            return Turn.RAN  # whoever reaps finds the trial
        self._run_trial(trial, lease)
        return Turn.RAN

    def _suggest(self, trial: optuna.Trial) -> TrialRequest:
        """Write all parameters before any work, as study.ask(SPACE) does once we know what the trial is."""
        if self._is_sampled(trial):
            suggest_all(trial, self._distributions)
        first_number = trial.user_attrs.get("first_number", trial.number)
        return TrialRequest(
            number=trial.number,
            parameters=self._read_parameters(trial),
            seed=derive_seed("trial", self._record.spec.search.seed, self._record.name, first_number),
        )

    def _is_sampled(self, trial: optuna.Trial) -> bool:
        """A reference outside the space (`frozen` always) is run without sampled parameters."""
        reference = trial.user_attrs.get("reference")
        if reference is None:
            return True
        parameters = self._read_reference(reference)
        return parameters is not None and is_inside(parameters, dict(self._distributions))

    def _read_parameters(self, trial: optuna.Trial) -> Parameters | None:
        reference = trial.user_attrs.get("reference")
        if reference is not None:
            return self._read_reference(reference)
        return Parameters.from_suggested(trial.params)

    def _read_reference(self, name: str) -> Parameters | None:
        return reference_parameters(name, self._record.category, self._record.spec.reference_size_px)

    def _run_trial(self, trial: optuna.Trial, lease: Lease) -> None:
        with Heartbeat(self._engine, lease) as heartbeat:
            progress = _Progress(trial, heartbeat, self._check_signals)
            try:
                request = self._suggest(trial)
                set_attributes(trial, _describe(request))  # now, so that a trial that does not fit shows them
                result = self._prepare()(request, progress)
                if heartbeat.is_lost:
                    raise LeaseLostError
                self._tell(trial, result)
            except optuna.exceptions.UpdateFinishedTrialError:
                delete_scores(self._engine, trial._trial_id)  # written just before the lease was lost
                self._on_end(Ended(trial.number, Outcome.FENCED, None))
                return
            except Exception as error:  # the type is the policy: see outcome.classify
                self._settle(trial, lease, error)
                return
        lease.release(self._engine)
        self._bugs_in_a_row = 0
        self._on_end(Ended(trial.number, Outcome.COMPLETED, result.value, findings=result.findings))

    def _tell(self, trial: optuna.Trial, result: TrialResult) -> None:
        findings = [vars(finding) for finding in result.findings]
        set_attributes(trial, {**result.attributes, "findings": findings})  # refused if the trial was taken over
        if is_unsound(result.findings):
            trial.set_constraint("unsound", 1.0)  # complete, but nothing is to be built on its value
        write_scores(
            self._engine, trial._trial_id, result.metrics, result.image_keys, result.labels, result.scores
        )
        self._study.tell(trial, result.value)

    def _settle(self, trial: optuna.Trial, lease: Lease, error: Exception) -> None:
        """Put a trial that did not complete in order, and pass on what must end the worker."""
        failure = classify(error)
        if not lease.renew(self._engine):  # taken over while we were away: it is no longer ours to settle
            failure = replace(failure, outcome=Outcome.FENCED)
        self._on_end(Ended(trial.number, failure.outcome, None, failure.message))
        where = (self._study, self._engine)
        if failure.outcome in (Outcome.PREEMPTED, Outcome.LOST):
            frozen = self._study._storage.get_trial(trial._trial_id)
            if frozen.state is TrialState.RUNNING:
                give_back(*where, frozen, failure.outcome, failure.message, self._worker)
        elif failure.outcome in (Outcome.DIVERGED, Outcome.OUT_OF_MEMORY):
            trial.set_constraint(str(failure.outcome), 1.0)
            finish(
                *where,
                trial._trial_id,
                TrialState.PRUNED,
                failure.outcome,
                failure.message,
                self._worker,
            )
        elif failure.outcome is Outcome.BUG:
            finish(*where, trial._trial_id, TrialState.FAIL, failure.outcome, failure.message, self._worker)
        if failure.stop is not None:
            raise failure.stop
        self._stop_on_bugs(failure.outcome, error)

    def _stop_on_bugs(self, outcome: Outcome, error: Exception) -> None:
        self._bugs_in_a_row = self._bugs_in_a_row + 1 if outcome is Outcome.BUG else 0
        if self._bugs_in_a_row >= _BUGS_IN_A_ROW:
            raise AnomalyVFMOptError(
                f"{_BUGS_IN_A_ROW} trials of {self._record.name} failed one after the other, last: {error!r}",
                "this is a bug; the tracebacks stand in `anomalyvfm-opt study show --json` of that study",
            ) from error


def _describe(request: TrialRequest) -> dict[str, Any]:
    """What Optuna's own parameters do not show: alpha and the three shares beside what they come from."""
    if request.parameters is None:
        return {"training_seed": request.seed}
    p = request.parameters
    return {
        "training_seed": request.seed,
        "alpha": p.alpha,
        "texture": p.texture,
        "structural": p.structural,
        "contextual": p.contextual,
        "parameters": vars(p),
    }

"""The trial loop: reap -> ticket -> ask -> run -> tell.

It is handed what it runs. The study stays a native Optuna study: any Optuna tool may look at it meanwhile.
docs/trial.md draws the states of a trial.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from typing import Any, NoReturn

import optuna
from optuna.distributions import BaseDistribution
from sqlalchemy import Engine

from anomalyvfm_opt.errors import EXIT_ENVIRONMENT
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.batch import reload, set_attributes, suggest_all
from anomalyvfm_opt.store.looks import write_look
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.trial.budget import count_usage, take_ticket
from anomalyvfm_opt.trial.lease import Lease, LeaseLostError
from anomalyvfm_opt.trial.outcome import Outcome, PrunedTrialError
from anomalyvfm_opt.trial.patience import Patience
from anomalyvfm_opt.trial.pulse import Hold, Pulse
from anomalyvfm_opt.trial.reap import reap
from anomalyvfm_opt.trial.result import Look, RunTrial, TrialRequest
from anomalyvfm_opt.trial.seeds import derive_seed
from anomalyvfm_opt.trial.settle import Ended, Settler
from anomalyvfm_opt.trial.space import is_inside, list_distributions

_log = logging.getLogger(__name__)


class Turn(Enum):
    """What one turn of the loop came to."""

    RAN = "ran"
    WAIT = "wait"  # the rest of the budget is out with other workers, who may give it back
    PAUSED = "paused"  # until `study resume`
    DONE = "done"  # the budget is used up, or the study was stopped


@dataclass(frozen=True)
class Crew:
    """What the loops of one worker share.

    Args:
        pulse: of this worker.
        on_end: told of each trial's end.
        artifacts: where trials' files go.
        leave: ends the process at once with an exit code, when a trial no longer answers.
    """

    pulse: Pulse
    on_end: Callable[[Ended], None]
    artifacts: ArtifactFolder
    leave: Callable[[int], NoReturn]


@dataclass
class _Progress:
    """The running trial's line to the loop."""

    trial: optuna.Trial
    hold: Hold
    patience: Patience
    may_be_pruned: bool

    def check(self) -> None:
        self.hold.check()

    def report(self, epoch: int, value: float) -> None:
        self.patience.run(lambda: self.trial.report(value, step=epoch))
        self.check()
        if self.may_be_pruned and self.patience.run(self.trial.should_prune):
            raise PrunedTrialError(epoch, value)


class TrialLoop:
    """Runs trials of one study for one worker.

    Args:
        study: the Optuna study, with the sampler and the pruner of this worker.
        engine: on the same database.
        record: what the store knows of the study.
        prepare: gives what a trial does; called once, before this worker takes its first ticket.
        crew: what this worker's loops share.
    """

    def __init__(
        self,
        study: optuna.Study,
        engine: Engine,
        record: StudyRecord,
        prepare: Callable[[], RunTrial],
        crew: Crew,
    ) -> None:
        self._study = study
        self._engine = engine
        self._record = record
        self._prepare = cache(prepare)
        self._crew = crew
        self._pulse = crew.pulse
        self._settler = Settler(study, engine, record, crew.artifacts, crew.pulse.worker, crew.on_end)
        self._distributions: Mapping[str, BaseDistribution] = list_distributions(record.spec.search.space)

    def prepare(self) -> None:
        """Get ready for trials now, which `take_turn` does when there is one to take.

        Raises:
            AnomalyVFMOptError: this worker cannot run the study.
        """
        self._prepare()

    def take_turn(self) -> Turn:
        """Run one trial, if there is one to run.

        1. Reap: trials of dead workers are given back.
        2. Prepare: a worker that cannot run this study finds out before it takes anything.
        3. Ticket: none left means WAIT while others hold some, else DONE.
        4. Ask: all parameters are written before any work, so that a retry is exact.
        5. Run, with a heartbeat on the lease.
        6. Tell. What a worker that lost its lease brings is dropped.

        A database that is away is waited for, at each step.

        Raises:
            InterruptedTrialError: asked to stop; the trial was given back.
            AnomalyVFMOptError: something that a person must mend; the trial, if there was one, was given back.
        """
        stop, times = self._pulse.stop, self._pulse.times
        stop.check_between_trials()
        found = Patience(times.outage_s, stop.check_between_trials).run(self._find_trial)
        if isinstance(found, Turn):
            return found
        self._run_trial(*found)
        return Turn.RAN

    def _find_trial(self) -> Turn | tuple[optuna.Trial, Lease]:
        """Steps 1-4 up to the trial's number. If it fails half-way, what it took is found by a later reaper."""
        for number in reap(self._study, self._engine, self._pulse.worker):
            _log.warning("trial %s of %s: its worker died; given back", number, self._record.name)
        state = read_state(self._engine, self._record.study_id)
        usage = count_usage(self._engine, self._record.study_id)
        if state.name == "stopped" or usage.is_used_up:
            return Turn.WAIT if usage.held and state.name != "stopped" else Turn.DONE
        if state.name == "paused":
            return Turn.PAUSED
        self._prepare()
        self._pulse.stop.check_between_trials()  # it may have taken minutes
        lease = take_ticket(self._engine, self._record.study_id, self._pulse.worker, self._pulse.times.grace_s)
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
        return trial, lease

    def _run_trial(self, trial: optuna.Trial, lease: Lease) -> None:
        with self._pulse.hold(lease, partial(self._abandon, trial)) as hold:
            patience = Patience(self._pulse.times.outage_s, hold.check)
            untiring = Patience(self._pulse.times.outage_s, hold.touch)
            has_pruner = self._record.spec.search.pruner != "none"  # else Optuna's default would be asked
            may_be_pruned = has_pruner and self._record.kind == "search" and "reference" not in trial.user_attrs
            progress = _Progress(trial, hold, patience, may_be_pruned)
            try:
                request = patience.run(lambda: self._suggest(trial, patience), partial(reload, trial))
                result = self._prepare()(request, progress)
                if hold.is_lost:
                    raise LeaseLostError
                # a signal no longer costs a trial that has its result
                untiring.run(lambda: self._settler.tell(trial, result))
            except Exception as error:  # the type is the policy: see outcome.classify
                self._settler.settle(trial, lease, error, self._pulse.times)

    def _abandon(self, trial: optuna.Trial, outcome: Outcome, message: str) -> None:
        """Give back a trial that no longer answers, and end the process, which cannot be had back from it.

        Called from the pulse's thread.
        """
        if self._settler.give_up(trial, outcome, message):
            stop = self._pulse.stop
            self._crew.leave(EXIT_ENVIRONMENT if outcome is Outcome.HUNG else stop.exit_code)

    def _suggest(self, trial: optuna.Trial, patience: Patience) -> TrialRequest:
        """Write all parameters before any work, as study.ask(SPACE) does once we know what the trial is."""
        if self._record.kind != "search":
            return self._take_planned(trial, patience)
        if self._is_sampled(trial):
            suggest_all(trial, self._distributions)
        first_number = trial.user_attrs.get("first_number", trial.number)
        request = TrialRequest(
            number=trial.number,
            parameters=self._read_parameters(trial),
            seed=derive_seed("trial", self._record.spec.search.seed, self._record.name, first_number),
        )
        set_attributes(trial, _describe(request))  # now, so that a trial that does not fit shows them as well
        return request

    def _take_planned(self, trial: optuna.Trial, patience: Patience) -> TrialRequest:
        """A sibling's trial: nothing is left to choose. Optuna's tools get to see what they can hold."""
        planned = Planned.from_attributes(trial.user_attrs)
        if planned is None or (planned.scorer is not None) != (self._record.kind == "confirm"):
            raise RuntimeError(f"a trial that was not planned for it is in {self._record.name}")
        if planned.parameters is not None and is_inside(planned.parameters, dict(self._distributions)):
            suggest_all(trial, self._distributions)
        look = None
        if planned.scorer is not None:
            where = (self._engine, self._record.study_id, self._record.name)
            write = partial(write_look, *where, planned.key, trial.number, self._pulse.worker)
            look = Look(planned.scorer, partial(patience.run, write))
        request = TrialRequest(trial.number, planned.parameters, planned.seed, is_watched=False, look=look)
        set_attributes(trial, _describe(request))
        return request

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
        "parameters": p.to_json(),
    }

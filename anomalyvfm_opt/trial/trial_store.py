"""What the loop of one study does with the study store, from the ticket to the last report of a trial."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import Enum
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from sqlalchemy import Engine

from anomalyvfm_opt.errors import OutsideSpaceError
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.batch import reload, set_attributes, suggest_all
from anomalyvfm_opt.store.budget import count_usage, take_ticket
from anomalyvfm_opt.store.leases import Lease, LeaseLostError
from anomalyvfm_opt.store.looks import write_look
from anomalyvfm_opt.store.optuna_private import read_fixed, read_trial_id
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.sealed import unseal
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.trial.reap import reap
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.trial.seeds import derive_seed
from anomalyvfm_opt.trial.space import find_outside, is_inside, list_distributions, to_own_types

_log = logging.getLogger(__name__)


class Turn(Enum):
    """What one turn of the loop came to."""

    RAN = "ran"
    WAIT = "wait"  # the rest of the budget is out with other workers, who may give it back
    PAUSED = "paused"  # until `study resume`
    DONE = "done"  # the budget is used up, or the study was stopped


class TrialStore:
    """The operations of one study's loop, each of them idempotent: safe to repeat after a lost reply.

    Two leave a trace of a lost reply, and it errs on the safe side: `write_look` counts one more look, and what
    `find_trial` had asked for is found by a reaper.

    Args:
        study: the Optuna study, with the sampler and the pruner of this worker.
        engine: on the same database.
        record: what the store knows of the study.
        worker: this worker's name.
        grace_s: how long a lease lives without a heartbeat.
    """

    def __init__(
        self, study: optuna.Study, engine: Engine, record: StudyRecord, worker: str, grace_s: float
    ) -> None:
        self._study = study
        self._engine = engine
        self._record = record
        self._worker = worker
        self._grace_s = grace_s
        self._distributions: Mapping[str, BaseDistribution] = list_distributions(record.spec.search.space)
        self._described: int | None = None  # the trial that `describe` was last called for

    def find_trial(self, get_ready: Callable[[], None]) -> Turn | tuple[optuna.Trial, Lease]:
        """Reap, take a ticket and ask for a trial, as far as there is one to run.

        If it fails half-way, what it took is found by a later reaper.

        Args:
            get_ready: called before a ticket is taken; what it raises is passed on.
        """
        for number in reap(self._study, self._engine, self._worker):
            _log.warning("trial %s of %s: its worker died; given back", number, self._record.name)
        state = read_state(self._engine, self._record.study_id)
        usage = count_usage(self._engine, self._record.study_id)
        if self._record.kind == "confirm" and usage.is_used_up and not usage.held:
            unseal(self._engine, self._record.study_id)  # the worker that ended the last trial may have died then
        if state.name == "stopped" or usage.is_used_up:
            return Turn.WAIT if usage.held and state.name != "stopped" else Turn.DONE
        if state.name == "paused":
            return Turn.PAUSED
        get_ready()
        lease = take_ticket(self._engine, self._record.study_id, self._worker, self._grace_s)
        if lease is None:
            return Turn.WAIT
        try:
            with ExitStack() as undo:
                undo.callback(lease.release, self._engine)
                trial = self._study.ask()
                lease.attach(self._engine, read_trial_id(trial))
                undo.pop_all()
        except LeaseLostError:
            return Turn.RAN  # whoever reaps finds the trial
        return trial, lease

    def describe(self, trial: optuna.Trial) -> TrialRequest:
        """Write all parameters before any work, as study.ask(SPACE) does once we know what the trial is.

        Raises:
            OutsideSpaceError: somebody enqueued it with what the study does not search, or into a sibling study.
        """
        if self._described == read_trial_id(trial):
            reload(trial)  # an earlier try may have written although it failed
        self._described = read_trial_id(trial)
        request = self._take_planned(trial) if self._record.kind != "search" else self._suggest(trial)
        set_attributes(trial, _describe(request))  # now, so that a trial that does not fit shows them as well
        return request

    def report(self, trial: optuna.Trial, epoch: int, value: float) -> None:
        """Store the value of a trial after an epoch."""
        trial.report(value, step=epoch)

    def should_prune(self, trial: optuna.Trial) -> bool:
        """Return whether the pruner would end the trial after its last report."""
        return trial.should_prune()

    def write_look(self, trial: optuna.Trial, planned: Planned) -> None:
        """Write down that a trial is about to look at the locked images; another try is another look."""
        write_look(self._engine, self._record.study_id, self._record.name, planned.key, trial.number, self._worker)

    def _suggest(self, trial: optuna.Trial) -> TrialRequest:
        if outside := find_outside(read_fixed(trial), self._distributions):
            raise OutsideSpaceError(f"it was enqueued with {'; '.join(outside)}")
        if _read_record(trial).planned is not None:
            raise OutsideSpaceError("it was enqueued with a plan, which trials of sibling studies alone have")
        if self._is_sampled(trial):
            suggest_all(trial, self._distributions)
        first_number = _read_record(trial).find_first_number(trial.number)
        return TrialRequest(
            number=trial.number,
            parameters=self._read_parameters(trial),
            seed=derive_seed("trial", self._record.spec.search.seed, self._record.name, first_number),
        )

    def _take_planned(self, trial: optuna.Trial) -> TrialRequest:
        """Take a sibling's trial as it was planned. Optuna's tools get to see what they can hold."""
        planned = _read_record(trial).read_planned(self._record.spec.data.image_size_px)
        if planned is None or (planned.scorer is not None) != (self._record.kind == "confirm"):
            raise OutsideSpaceError(f"it was enqueued by hand, and {self._record.name} has planned trials alone")
        if planned.parameters is not None and is_inside(planned.parameters, dict(self._distributions)):
            suggest_all(trial, self._distributions)
        return TrialRequest(
            number=trial.number, parameters=planned.parameters, seed=planned.seed, is_watched=False
        )

    def _is_sampled(self, trial: optuna.Trial) -> bool:
        """Return whether a sampler chooses; a reference outside the space (`frozen` always) is run without."""
        reference = _read_record(trial).reference
        if reference is None:
            return True
        parameters = self._read_reference(reference)
        return parameters is not None and is_inside(parameters, dict(self._distributions))

    def _read_parameters(self, trial: optuna.Trial) -> Parameters | None:
        reference = _read_record(trial).reference
        if reference is not None:
            return self._read_reference(reference)
        suggested = to_own_types(trial.params, self._distributions)
        return Parameters.from_suggested(suggested, self._record.spec.data.image_size_px)

    def _read_reference(self, name: str) -> Parameters | None:
        try:
            return self._record.spec.reference(name, self._record.category)
        except KeyError:
            raise OutsideSpaceError(f"it was enqueued as the reference {name!r}, which there is not") from None


def _read_record(trial: optuna.Trial) -> TrialRecord:
    return TrialRecord.from_attributes(trial.user_attrs)


def _describe(request: TrialRequest) -> dict[str, Any]:
    """Return the attributes that a trial begins with."""
    return TrialRecord.of_request(request.seed, request.parameters).to_attributes()

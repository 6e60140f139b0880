"""The trial loop: reap -> ticket -> ask -> run -> tell.

It is handed what it runs. The study stays a native Optuna study: any Optuna tool may look at it meanwhile.
docs/trial.md draws the states of a trial.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import NoReturn

import optuna
from sqlalchemy import Engine

from anomalyvfm_opt.errors import EXIT_ENVIRONMENT
from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.leases import Lease, LeaseLostError
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.trial.outcome import Outcome, catch
from anomalyvfm_opt.trial.patience import wait_out
from anomalyvfm_opt.trial.progress import LoopProgress, Underway
from anomalyvfm_opt.trial.pulse import Hold, Pulse
from anomalyvfm_opt.trial.result import Look, RunTrial
from anomalyvfm_opt.trial.settle import Ended, Settler
from anomalyvfm_opt.trial.trial_store import TrialStore, Turn


@dataclass(frozen=True)
class WorkerContext:
    """What the loops of one worker share.

    Args:
        pulse: of this worker.
        on_end: told of each trial's end.
        artifacts: where trials' files go.
        leave: ends the process at once with an exit code, when a trial takes no step any more; told why, too.
        watch: told how far the running trial is, whenever it moves.
    """

    pulse: Pulse
    on_end: Callable[[Ended], None]
    artifacts: ArtifactFolder
    leave: Callable[[int, str], NoReturn]
    watch: Callable[[Underway], None] = lambda _underway: None


class TrialLoop:
    """Runs trials of one study for one worker.

    Args:
        study: the Optuna study, with the sampler and the pruner of this worker.
        engine: on the same database.
        record: what the store knows of the study.
        prepare: gives what a trial does; called once, before this worker takes its first ticket.
        context: what this worker's loops share.
    """

    def __init__(
        self,
        study: optuna.Study,
        engine: Engine,
        record: StudyRecord,
        prepare: Callable[[], RunTrial],
        context: WorkerContext,
    ) -> None:
        self._record = record
        self._prepare = cache(prepare)
        self._context = context
        self._pulse = context.pulse
        worker, grace_s = context.pulse.worker, context.pulse.times.grace_s
        self._store = TrialStore(study, engine, record, worker, grace_s)
        self._settler = Settler(study, engine, record, context.artifacts, worker, context.on_end)

    @property
    def study_name(self) -> str:
        """Of the study that it runs trials of."""
        return self._record.name

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
        found = wait_out(self._store, times.outage_s, stop.check_between_trials).find_trial(self._get_ready)
        if isinstance(found, Turn):
            return found
        self._run_trial(*found)
        return Turn.RAN

    def _get_ready(self) -> None:
        self._prepare()
        self._pulse.stop.check_between_trials()  # it may have taken minutes

    def _run_trial(self, trial: optuna.Trial, lease: Lease) -> None:
        with self._pulse.hold(lease, partial(self._abandon, trial)) as hold:
            error = catch(partial(self._run_and_tell, trial, hold))
            if error is not None:
                self._settler.settle(trial, lease, error, self._pulse.times)

    def _run_and_tell(self, trial: optuna.Trial, hold: Hold) -> None:
        outage_s = self._pulse.times.outage_s
        store = wait_out(self._store, outage_s, hold.check)
        has_pruner = self._record.spec.search.pruner != "none"  # else Optuna's default would be asked
        record = TrialRecord.from_attributes(trial.user_attrs)
        may_be_pruned = has_pruner and self._record.kind == "search" and record.reference is None
        request = store.describe(trial)
        planned = record.read_planned(self._record.spec.data.image_size_px)
        if planned is not None and planned.scorer is not None:
            look = Look(planned.scorer, partial(store.write_look, trial, planned))
            request = replace(request, look=look)
        underway = Underway(
            number=trial.number,
            what=_name_kind(self._record, record.reference, None if planned is None else planned.arm),
            epochs=0 if request.parameters is None else request.parameters.epochs,
        )
        progress = LoopProgress(trial, hold, store, may_be_pruned, underway, self._context.watch)
        progress.check()
        result = self._prepare()(request, progress)
        if hold.is_lost:
            raise LeaseLostError
        # a signal no longer costs a trial that has its result
        wait_out(self._settler, outage_s, hold.touch).tell(trial, result)

    def _abandon(self, trial: optuna.Trial, outcome: Outcome, message: str) -> None:
        """Give back a trial that no longer answers, and end the process, which cannot be had back from it.

        Called from the pulse's thread.
        """
        if self._settler.give_up(trial, outcome, message):
            stop = self._pulse.stop
            self._context.leave(EXIT_ENVIRONMENT if outcome is Outcome.HUNG else stop.exit_code, message)


def _name_kind(study: StudyRecord, reference: str | None, arm: str | None) -> str:
    """Return what a trial is of: `reference v1.1`, `search`, `replicate v1.1` or `confirm finalist`."""
    if study.kind == "search":
        return "search" if reference is None else f"reference {reference}"
    return f"{'replicate' if study.kind == 'replicates' else 'confirm'} {arm}"

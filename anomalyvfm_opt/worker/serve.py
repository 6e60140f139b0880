"""A worker's day: pull trials of several studies in turn until there is nothing to do."""

import logging
import os
import platform
import secrets
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from anomalyvfm_opt import __version__
from anomalyvfm_opt.bench.backbones import Backbones
from anomalyvfm_opt.bench.benches import Benches
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.errors import EXIT_BUG, UsageError
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.model.device import name_device
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.home import artifacts_folder
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.workers import WorkerIdentity, end_worker, register_worker
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder
from anomalyvfm_opt.trial.loop import TrialLoop, WorkerContext
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.patience import wait_out
from anomalyvfm_opt.trial.progress import Underway
from anomalyvfm_opt.trial.pulse import Pulse, StopRequest, Times
from anomalyvfm_opt.trial.settle import Ended
from anomalyvfm_opt.trial.trial_store import Turn
from anomalyvfm_opt.worker.images import find_images
from anomalyvfm_opt.worker.joining import check_joinable
from anomalyvfm_opt.worker.standing import read_standing
from anomalyvfm_opt.worker.telling import Show, describe_end, describe_underway, do_not_show
from anomalyvfm_opt.worker.worker_store import WorkerStore

_log = logging.getLogger(__name__)
_POLL_S = 1.0


@dataclass(frozen=True)
class WorkerOptions:
    """What `worker run` was told."""

    data: Path | None
    weights: Path | None  # a file instead of what the spec says
    arrays: ArrayStore
    max_trials: int | None
    keep_running: bool
    device: torch.device
    times: Times
    name: str  # unique
    is_choosy: bool = False  # told by name what to serve, so one that it cannot serve ends it
    checkpoints: CheckpointFolder = field(
        default_factory=lambda: CheckpointFolder(artifacts_folder() / "checkpoints")
    )
    artifacts: ArtifactFolder = field(default_factory=lambda: ArtifactFolder(artifacts_folder()))


class Worker:
    """Serves studies in turn, one trial each; studies of the same backbone share it.

    Args:
        store: the study store.
        options: what the command was told.
        select: which studies to serve; asked again before each round, so that new ones are served as well.
        stop: what asks it to stop.
        say: takes what it has to say, a line each.
        show: takes how far it is, a line each time.
    """

    def __init__(
        self,
        store: Store,
        options: WorkerOptions,
        select: Callable[[], list[StudyRecord]],
        stop: StopRequest,
        say: Callable[[str], None],
        show: Show = do_not_show,
    ) -> None:
        self._engine = store.engine
        self._options = options
        operations = WorkerStore(store, options.name, select)
        self._store = wait_out(operations, options.times.outage_s, stop.check_between_trials)
        self._stop = stop
        self._say = say
        self._show = show
        self._loops: dict[int, TrialLoop] = {}
        self._paused: set[str] = set()
        self._left_alone: set[str] = set()
        self._backbones = Backbones(options.device, options.weights)
        self._pulse = Pulse(store.engine, options.name, options.times, stop, self._die)
        self.ended: list[Ended] = []

    def run(self) -> None:
        """Pull trials until every study is done, `max_trials` have run, or somebody asks it to stop.

        Raises:
            InterruptedTrialError: asked to stop; the trial was given back.
            AnomalyVFMOptError: something that a person must mend; the trial was given back.
        """
        options = self._options
        identity = WorkerIdentity(options.name, platform.node(), os.getpid(), str(options.device), __version__)
        register_worker(self._engine, identity, options.times.grace_s)
        try:
            with self._pulse:
                self._serve()
        finally:
            error = sys.exception()
            self._sign_off("done" if error is None else (str(error) or repr(error)).splitlines()[0])

    def _serve(self) -> None:
        self._options.checkpoints.sweep()
        while True:
            records = self._in_turn(self._list_studies())
            turns = self._go_round(records)
            if self._is_full():
                return
            if all(turn is Turn.DONE for turn in turns) and not self._options.keep_running:
                self._list_studies()  # a study may be done because it was deleted
                return
            if Turn.RAN not in turns:
                self._stop.check_between_trials()
                time.sleep(_POLL_S)

    def _go_round(self, records: Sequence[StudyRecord]) -> list[Turn]:
        """Take a turn with each study; replicates come when their own search has nothing to run."""
        turns, searched = [], set()
        for record in sorted(records, key=lambda one: one.kind == "replicates"):
            if self._is_full() or (record.kind == "replicates" and record.family in searched):
                continue
            turns.append(self._take_turn_if_there(record))
            if turns[-1] is Turn.RAN and record.kind == "search":
                searched.add(record.name)
        return turns

    def _list_studies(self) -> list[StudyRecord]:
        """Return what is to be served now, and be done with what was deleted since."""
        records = self._store.list_studies()
        for study_id in self._loops.keys() - {record.study_id for record in records}:
            self._forget(study_id, self._loops[study_id].study_name)
        return records

    def _in_turn(self, records: list[StudyRecord]) -> list[StudyRecord]:
        """Begin with another study in each worker, so that a fleet does not serve them one after the other."""
        first = zlib.crc32(self._options.name.encode()) % max(1, len(records))
        return records[first:] + records[:first]

    def _is_full(self) -> bool:
        return self._options.max_trials is not None and len(self.ended) >= self._options.max_trials

    def _take_turn_if_there(self, record: StudyRecord) -> Turn:
        """Take a turn with a study, which somebody may delete at any moment of it."""
        try:
            return self._take_turn(record)
        except (KeyError, IntegrityError):  # what Optuna and our tables say of rows that are gone
            if any(other.study_id == record.study_id for other in self._store.list_studies()):
                raise
        self._forget(record.study_id, record.name)
        return Turn.DONE

    def _forget(self, study_id: int, name: str) -> None:
        """Be done with a study that was deleted meanwhile."""
        self._loops.pop(study_id, None)
        self._say(f"{name} was deleted; this worker is done with it")

    def _take_turn(self, record: StudyRecord) -> Turn:
        if not self._options.is_choosy and not self._may_join(record):
            return Turn.DONE
        if record.study_id not in self._loops:
            self._loops[record.study_id] = self._build_loop(record)
        loop = self._loops[record.study_id]
        if record.kind == "confirm" and not self._may_confirm(record, loop):
            return Turn.DONE
        turn = loop.take_turn()
        if turn is not Turn.PAUSED:
            self._paused.discard(record.name)
        elif record.name not in self._paused:
            self._paused.add(record.name)
            self._say(f"{record.name} is paused; waiting for: anomalyvfm-opt study resume {record.name}")
        return turn

    def _may_join(self, record: StudyRecord) -> bool:
        """Old and new versions serve one store side by side: what is not for this one is left to the others."""
        try:
            check_joinable(record)
        except UsageError as error:
            if record.name not in self._left_alone and not self._store.is_used_up(record):
                self._left_alone.add(record.name)
                self._say(f"{error.message}; {error.hint}")
            return False
        return True

    def _may_confirm(self, record: StudyRecord, loop: TrialLoop) -> bool:
        """Return whether this device may confirm: all arms run on the kind of the first worker that can do it."""
        if self._store.is_used_up(record):
            return True  # nothing to claim; the loop knows what is left to wait for
        mine = name_device(self._options.device)
        claimed = self._store.find_device(record)
        if not claimed:
            loop.prepare()  # one that lacks the images finds out before it claims anything
            claimed = self._store.claim_device(record, mine)
        if claimed != mine and record.name not in self._left_alone:
            self._left_alone.add(record.name)
            self._say(f"{record.name} runs on {claimed}, so this worker on {mine} leaves it alone")
        return claimed == mine

    def _build_loop(self, record: StudyRecord) -> TrialLoop:
        def announce(ended: Ended) -> None:
            self.ended.append(ended)
            self._say(f"{describe_end(record, ended)}{self._describe_standing(record, ended)}")

        def watch(underway: Underway) -> None:
            self._show(describe_underway(record, underway))

        study = self._store.open_study(record)
        context = WorkerContext(self._pulse, announce, self._options.artifacts, self._leave, watch)
        return TrialLoop(study, self._engine, record, lambda: self._build_benches(record).run, context)

    def _describe_standing(self, record: StudyRecord, ended: Ended) -> str:
        """Return where the study stands after a trial that completed; it is no reason to wait for the database."""
        if ended.outcome is not Outcome.COMPLETED:
            return ""
        try:
            return f"; {read_standing(self._engine, record).describe()}"
        except SQLAlchemyError as error:
            _log.warning("how %s stands could not be read: %s", record.name, str(error).splitlines()[0])
            return ""

    def _build_benches(self, record: StudyRecord) -> Benches:
        check_joinable(record)
        root = expand_home(self._options.data or Path(record.data_dir))

        def tell(what: str) -> None:
            self._show(f"{record.name}: {what} ...", is_new=True)

        def build(spec: Spec) -> Workbench:
            tell(f"loading {spec.backbone.name}")
            backbone = self._backbones.open_for(record, spec)
            options = self._options
            arrays, checkpoints = options.arrays, options.checkpoints
            return Workbench(spec, split, record.split_sha256, backbone, arrays, checkpoints, tell)

        with self._stop.heard_at_once():
            tell("comparing the images with those of the study")
            split = find_images(record, self._store.list_images(record), root)
            return Benches(record.spec, build, self._options.device)

    def _leave(self, exit_code: int, message: str) -> NoReturn:
        """End the process although its trial takes no step; called from another thread than the trial's."""
        self._end_at_once(exit_code, f"its trial: {message}", f"its trial: {message}")

    def _die(self) -> NoReturn:
        """End the process because its heartbeat stopped; its trial is found by a later reaper."""
        self._end_at_once(EXIT_BUG, "its heartbeat stopped", "its heartbeat stopped")

    def _end_at_once(self, exit_code: int, why: str, reason: str) -> NoReturn:
        try:
            self._say(f"worker ends with exit {exit_code}: {why}")
            self._sign_off(reason)
        finally:
            os._exit(exit_code)

    def _sign_off(self, reason: str) -> None:
        try:
            end_worker(self._engine, self._options.name, reason)
        except (SQLAlchemyError, StorageInternalError) as error:  # then its silence says it
            _log.warning("could not sign off: %s", str(error).splitlines()[0])


def invent_name() -> str:
    """Return a worker's name that no other has."""
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(3)}"

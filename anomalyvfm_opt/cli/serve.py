"""A worker's day: pull trials of several studies in turn until there is nothing to do."""

import os
import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import torch

from anomalyvfm_opt.cli.backbones import Backbones
from anomalyvfm_opt.cli.benches import Benches
from anomalyvfm_opt.cli.course import open_checkpoints
from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.cli.signals import StopSignals
from anomalyvfm_opt.cli.store import Store
from anomalyvfm_opt.cli.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.layout import ImageRecord, read_category
from anomalyvfm_opt.data.split import Split, content_hashes, mask_hashes
from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError
from anomalyvfm_opt.evaluation.linter.findings import name_checks
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.store.studies import StoredImage, StudyRecord, list_images
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder
from anomalyvfm_opt.trial.loop import Ended, TrialLoop, Turn
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.space import build_sampler

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
    grace_s: float  # how long a lease lives without a heartbeat
    checkpoints: CheckpointFolder = field(default_factory=open_checkpoints)
    name: str = field(default_factory=lambda: f"{platform.node()}-{os.getpid()}-{secrets.token_hex(3)}")


class Worker:
    """Serves studies in turn, one trial each; studies of the same backbone share it.

    Args:
        store: the study store.
        options: what the command was told.
        select: which studies to serve; asked again when there is nothing to do and the worker keeps running.
    """

    def __init__(self, store: Store, options: WorkerOptions, select: Callable[[], list[StudyRecord]]) -> None:
        self._store = store
        self._options = options
        self._select = select
        self._signals = StopSignals()
        self._loops: dict[int, TrialLoop] = {}
        self._backbones = Backbones(options.device, options.weights)
        self.ended: list[Ended] = []

    def run(self) -> None:
        """Pull trials until every study is done, `max_trials` have run, or a signal comes."""
        self._options.checkpoints.sweep()
        while True:
            turns = [self._take_turn(record) for record in self._select() if not self._is_full()]
            if self._is_full():
                return
            if all(turn is Turn.DONE for turn in turns) and not self._options.keep_running:
                return
            if Turn.RAN not in turns:
                self._signals.check()
                time.sleep(_POLL_S)

    def _is_full(self) -> bool:
        return self._options.max_trials is not None and len(self.ended) >= self._options.max_trials

    def _take_turn(self, record: StudyRecord) -> Turn:
        if record.study_id not in self._loops:
            self._loops[record.study_id] = self._build_loop(record)
        return self._loops[record.study_id].take_turn()

    def _build_loop(self, record: StudyRecord) -> TrialLoop:
        study = optuna.load_study(
            study_name=record.name,
            storage=self._store.storage,
            sampler=build_sampler(record.spec.search, record.name, self._options.name),
        )

        def announce(ended: Ended) -> None:
            self.ended.append(ended)
            value = "" if ended.value is None else f" {ended.value:.4f}"
            reason = f": {ended.message.strip().splitlines()[-1]}" if ended.message else ""
            findings = f" ({name_checks(ended.findings)})" if ended.findings else ""
            say(f"{record.name} trial {ended.number} {ended.outcome}{value}{findings}{reason}")

        return TrialLoop(
            study,
            self._store.engine,
            record,
            lambda: self._build_benches(record).run,
            self._options.name,
            self._signals.check,
            announce,
            grace_s=self._options.grace_s,
        )

    def _build_benches(self, record: StudyRecord) -> Benches:
        root = (self._options.data or Path(record.data_dir)).expanduser()
        split = find_images(record, list_images(self._store.engine, record.study_id), root)

        def build(spec: Spec) -> Workbench:
            backbone = self._backbones.open_for(record, spec)
            options = self._options
            return Workbench(spec, split, record.split_sha256, backbone, options.arrays, options.checkpoints)

        return Benches(record.spec, build, self._options.device)


def find_images(record: StudyRecord, stored: dict[str, StoredImage], root: Path) -> Split:
    """The study's division, as stored, on the files of this host.

    Raises:
        EnvironmentMissingError: the folder, or images of it, are not there.
        BadDataError: images or masks differ from those that the study was created with.
    """
    images = read_category(root, record.category)
    found = {r.key: r for r in (*images.train, *images.validation, *images.test)}
    needed = {key: image for key, image in stored.items() if image.role != "locked"}
    missing = sorted(needed.keys() - found.keys())
    if missing:
        raise EnvironmentMissingError(
            f"{root} lacks {len(missing)} of the {len(needed)} images of {record.name}, first {missing[0]}",
            "point --data at the folder that the study was created with, or at a copy",
        )
    hashes = content_hashes([found[key] for key in needed])
    changed = sorted(key for key, image in needed.items() if hashes[key] != image.sha256)
    if changed:
        raise BadDataError(
            f"{len(changed)} images of {record.name} in {root} are not those of the study, first {changed[0]};"
            " this worker does not join",
            "restore them, or create a study under another name",
        )
    if record.masks_sha256 is not None:
        _check_masks(record, needed, found, root)

    def pick(role: str) -> tuple[ImageRecord, ...]:
        return tuple(found[key] for key in sorted(needed) if needed[key].role == role)

    return Split(record.lock, pick("fit"), pick("held_out"), pick("search"), ())


def _check_masks(
    record: StudyRecord, needed: dict[str, StoredImage], found: dict[str, ImageRecord], root: Path
) -> None:
    hashes = mask_hashes([found[key] for key in needed])
    changed = sorted(key for key, image in needed.items() if hashes.get(key) != image.mask_sha256)
    if changed:
        mask = found[changed[0]].mask
        first = f"{changed[0]}, whose mask is {mask}" if mask is not None else f"{changed[0]}, which has none now"
        raise BadDataError(
            f"the masks of {len(changed)} images of {record.name} in {root} are not those of the study,"
            f" first of {first}; this worker does not join",
            "restore them, or create a study under another name",
        )


def count_outcomes(ended: list[Ended]) -> str:
    """A line such as `5 completed, 1 diverged`."""
    counts = {outcome: sum(e.outcome is outcome for e in ended) for outcome in Outcome}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "no trial"

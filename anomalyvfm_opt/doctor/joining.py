"""What a worker on this host would be refused for: its version, images, masks, weights, or a folder."""

import os
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, skip, warn
from anomalyvfm_opt.doctor.database import Database
from anomalyvfm_opt.doctor.subject import Subject, Workload, is_store_empty
from anomalyvfm_opt.errors import AnomalyVFMOptError
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.store.home import ARTIFACTS_VARIABLE, locate_artifacts
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.words import counted

_LIBRARIES = ("torch", "timm", "peft")
_LEFT_ALONE = "give them workers of that version, or restore a backup; --study S looks at one of them"
_SHARE = f"set {ARTIFACTS_VARIABLE} to a folder that all hosts share"


def look_at_studies(subject: Subject, database: Database, name: str | None) -> CheckResult:
    """Say which studies have trials left, and whether this program may work on them.

    Args:
        subject: gets the studies.
        database: the study store.
        name: of a study, or of a spec; None for all, as a worker does.

    Raises:
        UsageError: no such study.
    """
    from anomalyvfm_opt.store.selection import select_families
    from anomalyvfm_opt.store.studies import list_names
    from anomalyvfm_opt.worker.joining import check_joinable

    if is_store_empty(database):
        return skip("no studies yet")
    records = select_families(database.engine, [name] if name else [])
    unread = [] if name else sorted(set(list_names(database.engine)) - {record.name for record in records})
    open_ones = [record for record in records if _has_trials_left(database, record)]
    problems = _collect(open_ones, check_joinable)
    subject.joined = [record for record in open_ones if record.name not in problems]
    if name is None:
        subject.workloads += [Workload.of(each) for each in subject.joined]
    elif problems:
        return _fail(problems)
    if problems:
        return warn(
            f"a worker leaves alone: {'; '.join(error.message for error in problems.values())}", _LEFT_ALONE
        )
    if unread:
        listed = ", ".join(unread)
        fix = "upgrade this program, or leave them to workers of the version that stored them"
        return warn(f"a worker leaves alone what this version cannot read: {listed}", fix)
    if not open_ones:
        return skip("nothing to join: no study has trials left")
    return ok(f"{len(open_ones)} with trials left: {', '.join(record.name for record in open_ones)}")


def look_at_images(subject: Subject, database: Database, data: Path | None) -> CheckResult:
    """Say whether the images and masks here are those of the studies; all that a worker may read are read."""
    from anomalyvfm_opt.store.division import list_images
    from anomalyvfm_opt.worker.images import find_images

    def find(record: StudyRecord) -> None:
        root = expand_home(data or Path(record.data_dir))
        find_images(record, list_images(database.engine, record.study_id), root)

    problems = _collect(subject.joined, find)
    return _fail(problems) if problems else ok(f"those of {_count(subject.joined)}, by the hashes of their files")


def look_at_weights(subject: Subject, file: Path | None) -> CheckResult:
    """Say whether the backbone's weights here are those of the studies.

    Args:
        subject: with the studies.
        file: what workers are told to use instead of what a spec says.
    """
    import torch

    from anomalyvfm_opt.bench.backbones import Backbones

    backbones = Backbones(torch.device("cpu"), file)
    problems = _collect(subject.joined, lambda record: backbones.open_for(record, record.spec))
    return (
        _fail(problems) if problems else ok(f"those of {_count(subject.joined)}, by the hashes of their tensors")
    )


def look_at_fleet(subject: Subject, database: Database, device: str) -> CheckResult:
    """Compare what the trials were computed with and what is here; a confirmation takes one kind of device."""
    from anomalyvfm_opt.model.device import choose_device, name_device
    from anomalyvfm_opt.store.confirmations import find_device

    here = {name: version(name) for name in _LIBRARIES}
    others: set[str] = set()
    for record in subject.joined:
        # torch names its build behind a +, which the installed package's version does not
        there = {
            name: full.partition("+")[0] for name, full in database.probe.read_libraries(record.study_id).items()
        }
        others |= {f"{name} {there[name]}" for name in here if there.get(name, here[name]) != here[name]}
    mine = name_device(choose_device(device))
    confirmations = [record for record in subject.joined if record.kind == "confirm"]
    claimed = {record.name: find_device(database.engine, record.study_id) for record in confirmations}
    if strange := [name for name, kind in claimed.items() if kind not in ("", mine)]:
        return warn(
            f"{', '.join(strange)} runs on {claimed[strange[0]]}: a worker on {mine} leaves it alone",
            "give it a worker on such a device; the others need none",
        )
    ours = ", ".join(f"{name} {number}" for name, number in here.items())
    if others:
        return warn(
            f"{ours} here; trials so far ran with {', '.join(sorted(others))}: last digits may differ",
            "install the same versions on all hosts",
        )
    return ok(f"{ours}, as the trials so far; {mine}")


def look_at_artifacts(database: Database) -> CheckResult:
    """Say whether trials' files can be written, and whether a trial that moves here finds its checkpoint."""
    from anomalyvfm_opt.store.workers import list_workers

    folder = locate_artifacts()
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))  # as far as we may look
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return fail(f"trials' files cannot be written to {folder}", f"make it writable, or {_SHARE}")
    elsewhere = sorted({worker.host for worker in list_workers(database.engine)} - {platform.node()})
    if elsewhere and not os.environ.get(ARTIFACTS_VARIABLE):
        return warn(
            f"{folder} is this host's own, and {', '.join(elsewhere)} has workers: a trial that comes from there"
            " begins anew",
            _SHARE,
        )
    return ok(str(folder))


def _has_trials_left(database: Database, record: StudyRecord) -> bool:
    from anomalyvfm_opt.store.budget import count_usage
    from anomalyvfm_opt.store.study_state import read_state

    is_stopped = read_state(database.engine, record.study_id).name == "stopped"
    return not is_stopped and not count_usage(database.engine, record.study_id).is_used_up


def _collect(
    records: Iterable[StudyRecord], check: Callable[[StudyRecord], object]
) -> dict[str, AnomalyVFMOptError]:
    """Name of a study -> what it is refused for."""
    problems = {}
    for record in records:
        try:
            check(record)
        except AnomalyVFMOptError as error:
            problems[record.name] = error
    return problems


def _fail(problems: dict[str, AnomalyVFMOptError]) -> CheckResult:
    """Fail with the first reason in full: the same may hold for several studies in other words."""
    first, *others = problems.values()
    more = f"; and so for {', '.join(list(problems)[1:])}" if others else ""
    return fail(f"{first.message}{more}", first.hint or "correct that, then repeat")


def _count(records: list[StudyRecord]) -> str:
    return counted(len(records), "study")

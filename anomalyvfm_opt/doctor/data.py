"""The data folder: which categories there are, and how many images; no image is opened."""

from collections.abc import Mapping
from pathlib import Path

from anomalyvfm_opt.data.layout import list_categories, read_category
from anomalyvfm_opt.data.names import find_name
from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, skip
from anomalyvfm_opt.doctor.subject import Subject
from anomalyvfm_opt.errors import AnomalyVFMOptError
from anomalyvfm_opt.files import expand_home
from anomalyvfm_opt.words import counted

_SHOWN = 8


def look_at_data(subject: Subject, data: Path | None) -> CheckResult:
    """Look at the categories that the options name, or else all that are in the folder.

    Raises:
        EnvironmentMissingError: the folder is not there.
        UsageError: it holds no category, or is itself one.
    """
    folders = subject.list_folders(data)
    if not folders:
        return skip("no folder named: give --data DIR, or set ANOMALYVFM_OPT_DATA")
    findings = [_look_at_folder(expand_home(folder), needed) for folder, needed in folders.items()]
    failed = [found for found in findings if found.fix]
    return failed[0] if failed else ok("; ".join(found.detail for found in findings))


def _look_at_folder(folder: Path, needed: set[str]) -> CheckResult:
    known = list_categories(folder)
    if missing := sorted(name for name in needed if find_name(name, known) is None):
        return fail(
            f"{folder} lacks {', '.join(missing)} ({len(missing)} of {counted(len(needed), 'category')})",
            f"name the folder that holds them by --data; there are {', '.join(known[:_SHOWN])}",
        )
    counts: dict[str, int] = {}
    problems: dict[str, str] = {}
    for name in sorted(needed) or known:
        try:
            images = read_category(folder, name)
            counts[name] = len(images.train) + len(images.validation) + len(images.test)
        except AnomalyVFMOptError as error:
            problems[error.message] = error.hint
    look_closer = f"anomalyvfm-opt data check {folder}"
    if problems:
        return fail("; ".join(problems), f"{next(iter(problems.values()))}; for every file: {look_closer}")
    return ok(f"{folder}: {_list_counts(counts)}; for every file: {look_closer}")


def _list_counts(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {images}" for name, images in list(counts.items())[:_SHOWN])
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"{counted(sum(counts.values()), 'image')} in {counted(len(counts), 'category')} ({listed}{more})"

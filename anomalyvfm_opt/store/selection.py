"""Which studies and workers a command means."""

from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from anomalyvfm_opt.data.names import is_same_name
from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.studies import StudyRecord, list_studies, load_study
from anomalyvfm_opt.store.workers import WorkerRow, list_workers
from anomalyvfm_opt.words import counted


def select_studies(engine: Engine, names: Sequence[str]) -> list[StudyRecord]:
    """Return studies that search: `<spec>/<category>`, `<spec>` for all of its categories, or simply all.

    A sibling is meant by its full name only.

    Raises:
        UsageError: a name that fits no study.
    """

    def fits(record: StudyRecord, name: str) -> bool:
        return is_same_name(name, record.name) or (record.kind == "search" and name == record.spec.name)

    return _select(engine, names, fits, lambda record: record.kind == "search")


def select_one(engine: Engine, name: str) -> StudyRecord:
    """Return the one study that is meant: by its full name, or by its spec's where that has one study only.

    Raises:
        UsageError: no study, or several.
    """
    found = select_studies(engine, [name])
    if len(found) > 1:
        names = [record.name for record in found]
        raise UsageError(f"{name!r} means {len(names)} studies", f"name one: {', '.join(names[:8])}")
    return found[0]


def select_families(engine: Engine, names: Sequence[str]) -> list[StudyRecord]:
    """Return the same with the siblings of each study: what workers serve, and what is paused or stopped as one.

    Raises:
        UsageError: a name that fits no study.
    """
    return _select(engine, names, _is_of_family, lambda _record: True)


def select_left(engine: Engine, names: Sequence[str]) -> list[StudyRecord]:
    """Return what is left of these families: a name that fits no study, as after `study delete`, gives none."""
    studies = list_studies(engine)
    return [record for record in studies if not names or any(_is_of_family(record, name) for name in names)]


def select_workers(engine: Engine, names: Sequence[str]) -> list[WorkerRow]:
    """Return workers that live: by name, by the first letters of one name, or all of them by the word `all`.

    Raises:
        UsageError: a name that fits none, or several.
    """
    workers = [worker for worker in list_workers(engine) if not worker.is_silent]
    if list(names) == ["all"]:
        return workers
    chosen = {}
    for name in names:
        matching = [w for w in workers if w.name == name] or [w for w in workers if w.name.startswith(name)]
        if len(matching) != 1:
            known = ", ".join(w.name for w in matching or workers) or "none"
            what = "no worker that lives" if not matching else counted(len(matching), "worker")
            raise UsageError(f"{what}: {name!r}", f"workers: {known}")
        chosen[matching[0].name] = matching[0]
    return list(chosen.values())


def _is_of_family(record: StudyRecord, name: str) -> bool:
    return any(is_same_name(name, known) for known in (record.name, record.family, record.spec.name))


def _select(
    engine: Engine,
    names: Sequence[str],
    fits: Callable[[StudyRecord, str], bool],
    is_default: Callable[[StudyRecord], bool],
) -> list[StudyRecord]:
    studies = list_studies(engine)
    if not names:
        return [record for record in studies if is_default(record)]
    chosen: dict[str, StudyRecord] = {}
    for name in names:
        matching = [record for record in studies if fits(record, name)]
        for record in matching or [load_study(engine, name)]:  # which says what is there instead
            chosen[record.name] = record
    return list(chosen.values())

"""Which studies a command means."""

from collections.abc import Sequence

from sqlalchemy import Engine

from anomalyvfm_opt.store.studies import StudyRecord, list_studies, load_study


def select_studies(engine: Engine, names: Sequence[str]) -> list[StudyRecord]:
    """Studies by name: `<spec>/<category>`, or `<spec>` for all of its categories; all studies if none is named.

    Raises:
        UsageError: a name that fits no study.
    """
    studies = list_studies(engine)
    if not names:
        return studies
    chosen: dict[str, StudyRecord] = {}
    for name in names:
        matching = [record for record in studies if name in (record.name, record.spec.name)]
        for record in matching or [load_study(engine, name)]:  # which says what is there instead
            chosen[record.name] = record
    return list(chosen.values())

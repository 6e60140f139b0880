"""What is to be done when a worker has nothing left to do."""

from collections.abc import Mapping, Sequence

from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.studies import StudyRecord


def name_next_step(studies: Sequence[StudyRecord], usages: Mapping[int, Usage]) -> str:
    """Return the command that comes next; empty where there is no study.

    Args:
        studies: with their siblings, that the worker served.
        usages: by the studies' ids; a study that was deleted meanwhile has none.
    """
    there = [study for study in studies if study.study_id in usages]
    searches = [study for study in there if study.kind == "search"]
    if not searches:
        return ""
    specs = {study.spec.name for study in searches}
    if len(specs) > 1:
        return "anomalyvfm-opt study list"
    name = searches[0].name if len(searches) == 1 else searches[0].spec.name
    are_over = all(_is_over(usages[study.study_id]) for study in there)
    if not are_over:
        return f"anomalyvfm-opt study show {name}"
    confirmed = {study.family for study in there if study.kind == "confirm"}
    is_confirmed = all(study.name in confirmed for study in searches)
    return f"anomalyvfm-opt {'verdict' if is_confirmed else 'confirm'} {name}"


def _is_over(usage: Usage) -> bool:
    return usage.is_used_up and not usage.held

"""Judge what is in the study store, by its name: one study, or all studies of a spec together."""

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.selection import select_studies
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.verdict.judge import CategoryVerdict, judge
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict, judge_spec
from anomalyvfm_opt.verdict.read_case import read_case, read_cases


def judge_stored(store: Store, name: str, number: int | None = None) -> CategoryVerdict | SpecVerdict:
    """Read the case of a study or a spec, and judge it.

    Args:
        store: the study store.
        name: of a study, or of a spec, whose categories are judged together.
        number: the round of confirmation; None for the latest.

    Raises:
        UsageError: no such study, a sibling, or a round that there is not.
    """
    studies = select_studies(store.engine, [name])
    if studies[0].kind != "search":
        raise UsageError(f"{name} is a sibling study", f"ask for what it belongs to: {studies[0].family}")
    if name == studies[0].name:
        return judge(read_case(store, studies[0], number))
    return judge_spec(read_cases(store, studies, number))

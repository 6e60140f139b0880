"""All studies at a glance: one line each, read in a few statements however many studies and trials there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anomalyvfm_opt.report.grid import Grid
from anomalyvfm_opt.store.budget import Usage, count_usages
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.study_state import StudyState, read_states
from anomalyvfm_opt.store.trials import find_best_values
from anomalyvfm_opt.verdict.read_trials import list_runs_of
from anomalyvfm_opt.verdict.replicates import Noise, find_noise


@dataclass(frozen=True)
class Overview:
    """One study as a list of studies shows it.

    Args:
        record: of the study.
        usage: its trials and tickets.
        set_state: by a person, or by too many bugs.
        best: the best value that can be trusted (AUROC); None without one, and of a sibling.
        noise: None until two of the baseline's replicates are done.
    """

    record: StudyRecord
    usage: Usage
    set_state: StudyState
    best: float | None
    noise: Noise | None

    @property
    def state(self) -> str:
        """See `name_state`."""
        return name_state(self.usage, self.set_state)

    def to_json(self) -> dict[str, Any]:
        """Return one element of `study list --json` (schema 1)."""
        return describe_usage(self.record, self.usage, self.set_state)


def list_overviews(store: Store, records: Sequence[StudyRecord]) -> list[Overview]:
    """Return the lines of studies, in their order; one that is deleted meanwhile is left out."""
    usages, states, best = count_usages(store.engine), read_states(store.engine), find_best_values(store.engine)
    replicates = {record.family: record for record in records if record.kind == "replicates"}
    runs = list_runs_of(store, list(replicates.values()))

    def look_at(record: StudyRecord) -> Overview:
        is_search = record.kind == "search"
        beside = replicates.get(record.name)
        return Overview(
            record=record,
            usage=usages[record.study_id],
            set_state=states[record.study_id],
            best=best.get(record.study_id) if is_search else None,
            noise=find_noise(record, runs[beside.study_id]) if is_search and beside is not None else None,
        )

    return [look_at(record) for record in records if record.study_id in usages and record.study_id in states]


def tabulate_overviews(overviews: Sequence[Overview]) -> Grid:
    """Return a table with a row for each study: its state, its trials, its best value and its noise floor."""
    rows = [
        (
            one.record.name,
            one.state,
            f"{one.usage.done}/{one.record.budget}",
            str(one.usage.running),
            f"{one.best:.4f}" if one.best is not None else "-",
            show_noise(one.noise),
        )
        for one in overviews
    ]
    return Grid("", ("study", "state", "done", "running", "best", "noise"), rows, right=(2, 3, 4, 5))


def show_noise(noise: Noise | None) -> str:
    """Return a noise floor as a table shows it: `±0.0132`, `±0.0050 so far` until all seeds are done, or `-`."""
    if noise is None:
        return "-"
    return f"±{noise.floor.least_difference:.4f}" + (" so far" if noise.open_seeds else "")


def name_state(usage: Usage, set_state: StudyState) -> str:
    """Return `finished` once the budget is used up and nothing runs, else `active`, `paused` or `stopped`."""
    is_done = usage.is_used_up and usage.held == 0
    return "finished" if is_done else set_state.name


def describe_usage(record: StudyRecord, usage: Usage, set_state: StudyState) -> dict[str, Any]:
    """Return the fields that every JSON object of a study begins with."""
    return {
        "name": record.name,
        "category": record.category,
        "state": name_state(usage, set_state),
        "budget": {"trials": record.budget, "used": usage.used},
        "trials": {
            "complete": usage.complete,
            "pruned": usage.pruned,
            "failed": usage.failed,
            "running": usage.running,
            "waiting": usage.waiting,
        },
    }

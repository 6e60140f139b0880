"""The planned retrainings of a sibling study, and what came of them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.planned import Key, Planned
from anomalyvfm_opt.store.scores import read_aurocs
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trials import StoredTrial, TrialState, list_trials

_FINAL = text("""
    SELECT t.trial_id, o.outcome FROM anomalyvfm_opt.trial_outcome o JOIN trials t ON t.trial_id = o.trial_id
     WHERE t.study_id = :study_id AND o.is_final
""")


@dataclass(frozen=True)
class Run:
    """One planned retraining, as its last try left it."""

    planned: Planned
    number: int
    trial_id: int
    state: TrialState
    outcome: str | None  # how it ended for good; None while it waits, runs, or is about to be tried again
    attributes: Mapping[str, Any]
    aurocs: Mapping[str, float]  # scorer -> image AUROC on the images that it was scored on

    @property
    def is_open(self) -> bool:
        """Whether something may still come of it."""
        return self.state is not TrialState.COMPLETE and self.outcome is None


@dataclass(frozen=True)
class Arm:
    """The retrainings of one set of parameters."""

    name: str
    parameters: Parameters | None
    runs: tuple[Run, ...]

    @property
    def done(self) -> tuple[Run, ...]:
        """Those that have their scores."""
        return tuple(run for run in self.runs if run.state is TrialState.COMPLETE)

    @property
    def failed(self) -> tuple[Run, ...]:
        """Those that will never have any."""
        return tuple(run for run in self.runs if run.state is not TrialState.COMPLETE and not run.is_open)

    def list_values(self, scorer: str) -> tuple[float, ...]:
        """Image AUROC by one scorer, of each retraining."""
        return tuple(run.aurocs[scorer] for run in self.done if scorer in run.aurocs)

    def choose_scorer(self, objective: str) -> str | None:
        """The scorer that the arm is judged by: the spec's, or of `best` the one with the highest mean.

        A mean over seeds, where a trial's own value is that of its luckiest scorer. None before any run is done.
        """
        common = set.intersection(*(set(run.aurocs) for run in self.done)) if self.done else set()
        if objective in common:
            return objective
        return max(sorted(common), key=lambda scorer: statistics.fmean(self.list_values(scorer)), default=None)

    def mean_seconds(self) -> float:
        """Seconds of one retraining."""
        return (
            statistics.fmean(float(run.attributes.get("seconds", 0.0)) for run in self.done) if self.done else 0.0
        )


def list_runs(store: Store, record: StudyRecord) -> list[Run]:
    """The planned trials of a sibling, each by its last try, in the order in which they were planned."""
    with store.engine.connect() as connection:
        outcomes = {row.trial_id: row.outcome for row in connection.execute(_FINAL, {"study_id": record.study_id})}
    aurocs = read_aurocs(store.engine, record.study_id)
    last: dict[Key, tuple[Planned, StoredTrial]] = {}
    for trial in list_trials(store.engine, record.study_id):
        planned = Planned.from_attributes(trial.user_attrs)
        if planned is not None:
            last[planned.key] = (planned, trial)  # a retry has a higher number
    return [
        Run(
            planned,
            trial.number,
            trial.trial_id,
            trial.state,
            outcomes.get(trial.trial_id),
            trial.user_attrs,
            aurocs.get(trial.trial_id, {}),
        )
        for planned, trial in last.values()
    ]


def group_arms(runs: Sequence[Run]) -> dict[str, Arm]:
    """Runs by arm, in the order in which the arms were planned."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.planned.arm, []).append(run)
    return {name: Arm(name, found[0].planned.parameters, tuple(found)) for name, found in grouped.items()}

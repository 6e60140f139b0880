"""The planned retrainings of a sibling study, and what came of them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Run:
    """One planned retraining, as its last try left it.

    Args:
        planned: what was decided of it.
        number: of the trial that is its last try.
        trial_id: of the same trial.
        is_done: whether it came to its end and has its scores.
        outcome: how it ended for good; None while it waits, runs, or is about to be tried again.
        record: what is stored with the trial.
        aurocs: scorer -> image AUROC on the images that it was scored on.
        auroc_step: the least distance of two different AUROC on these, 1 / (normal x anomalous images); 0 where no
            trial of the study has scores yet.
    """

    planned: Planned
    number: int
    trial_id: int
    is_done: bool
    outcome: str | None
    record: TrialRecord
    aurocs: Mapping[str, float]
    auroc_step: float

    @property
    def is_open(self) -> bool:
        """Tell whether something may still come of it."""
        return not self.is_done and self.outcome is None


@dataclass(frozen=True)
class Arm:
    """The retrainings of one set of parameters."""

    name: str
    parameters: Parameters | None
    runs: tuple[Run, ...]

    @property
    def done(self) -> tuple[Run, ...]:
        """Return those that have their scores."""
        return tuple(run for run in self.runs if run.is_done)

    @property
    def failed(self) -> tuple[Run, ...]:
        """Return those that failed for good, and will never have scores."""
        return tuple(run for run in self.runs if not run.is_done and not run.is_open)

    def list_values(self, scorer: str) -> tuple[float, ...]:
        """Return the image AUROC by one scorer, of each retraining."""
        return tuple(run.aurocs[scorer] for run in self.done if scorer in run.aurocs)

    def choose_scorer(self, objective: str) -> str | None:
        """Choose the scorer that the arm is judged by: the spec's, or of `best` the one with the highest mean.

        A mean over seeds, where a trial's own value is that of its luckiest scorer. None before any run is done.
        """
        common = set.intersection(*(set(run.aurocs) for run in self.done)) if self.done else set()
        if objective in common:
            return objective
        return max(sorted(common), key=lambda scorer: statistics.fmean(self.list_values(scorer)), default=None)

    def mean_seconds(self) -> float:
        """Return the seconds of one retraining, as a mean."""
        return statistics.fmean(run.record.spent_s for run in self.done) if self.done else 0.0


def group_arms(runs: Sequence[Run]) -> dict[str, Arm]:
    """Group runs by arm, in the order in which the arms were planned."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.planned.arm, []).append(run)
    return {name: Arm(name, found[0].planned.parameters, tuple(found)) for name, found in grouped.items()}

"""Where a study stands when a trial has ended: what is best, what it has to beat, and how long it may take."""

from dataclasses import dataclass

from sqlalchemy import Engine

from anomalyvfm_opt.evaluation.linter.findings import is_unsound
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.store.trial_record import TrialRecord
from anomalyvfm_opt.store.trial_times import find_mean_seconds
from anomalyvfm_opt.store.trials import TrialState, is_auroc, list_notable
from anomalyvfm_opt.verdict.replicates import name_baseline
from anomalyvfm_opt.words import counted


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a study stands.

    Args:
        best: the best value that can be trusted (image AUROC); None without one, and of a sibling.
        baseline: name of the reference that it has to beat.
        baseline_value: None until that is run.
        left: trials that are not over.
        budget: trials in all.
        left_s: seconds until the last is over, with the workers that are at it; None while nobody can tell.
    """

    best: float | None
    baseline: str
    baseline_value: float | None
    left: int
    budget: int
    left_s: float | None

    def describe(self) -> str:
        """Say it in a few words: `best 0.7833, v1.1 0.7625; 2 of 6 trials left, about 3 min`."""
        values = [] if self.best is None else [f"best {self.best:.4f}"]
        values += [] if self.baseline_value is None else [f"{self.baseline} {self.baseline_value:.4f}"]
        time = "" if self.left_s is None or not self.left else f", {describe_time(self.left_s)}"
        left = f"{self.left} of {counted(self.budget, 'trial')} left{time}"
        return f"{', '.join(values)}; {left}" if values else left


def read_standing(engine: Engine, study: StudyRecord) -> Standing:
    """Read where a study stands. Of a confirmation no value is read: half of it says nothing."""
    usage = count_usage(engine, study.study_id)
    budget = study.budget if usage.budget is None else usage.budget  # a sibling's grows with each round
    left = max(0, budget - usage.done)
    mean_s = find_mean_seconds(engine, study.study_id)
    values = _read_values(engine, study) if study.kind == "search" else {}
    sound = [value for value, _ in values.values() if value is not None]
    baseline = name_baseline(study)
    return Standing(
        best=max(sound, default=None),
        baseline=baseline,
        baseline_value=next((value for value, name in values.values() if name == baseline), None),
        left=left,
        budget=budget,
        left_s=None if mean_s is None else mean_s * left / max(1, min(left, usage.held + 1)),
    )


def _read_values(engine: Engine, study: StudyRecord) -> dict[int, tuple[float | None, str | None]]:
    """Return number -> value and reference of complete trials; the value is None where it cannot be trusted."""
    found = {}
    for trial in list_notable(engine, study.study_id, ("reference", "findings")):
        record = TrialRecord.from_attributes(trial.user_attrs)
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            is_sound = is_auroc(trial.value) and not is_unsound(record.read_findings())
            found[trial.number] = (trial.value if is_sound else None, record.reference)
    return found


def describe_time(seconds: float) -> str:
    """Return a time to come in words: `under a minute`, `about 12 min`, `about 3.5 h`."""
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"

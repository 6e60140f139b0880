"""What a `#confirm` study has to hold, so that the verdict on each of its rounds can be read.

A round is a plan, and for each arm of it trials that were planned so. Those that are done have a metric and the
scores of all locked images, by the scorer of their arm and by no other.
"""

from dataclasses import dataclass, field

from optuna.trial import TrialState

from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.shown import show_value
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.confirmation_plan import ArmPlan, ConfirmationPlan
from anomalyvfm_opt.store.planned import ANY_SIZE_PX, Planned
from anomalyvfm_opt.store.transfer.rows import Row
from anomalyvfm_opt.store.transfer.values import parse_json_text


@dataclass
class _Arm:
    """What the trials of one arm of a round have in common."""

    parameters: Parameters | None
    scorer: str | None
    trials: list[int] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)

    def fits(self, plan: Planned | ArmPlan) -> bool:
        return (self.parameters, self.scorer) == (plan.parameters, plan.scorer)


class Rounds:
    """Checks the rows of a `#confirm` study as they come, plans last."""

    def __init__(self) -> None:
        self._complete: set[int] = set()  # trials
        self._locked: set[str] = set()  # keys of images
        self._arms: dict[tuple[int, str], _Arm] = {}  # by round and name
        self._planned: dict[int, tuple[int, _Arm]] = {}  # trial -> its round and arm
        self._has_metric: set[int] = set()  # trials, by their own scorer
        self._scores: dict[int, int] = {}  # trial -> locked images that have one
        self._draws: dict[tuple[int, str], int] = {}  # of a round's trials, by metric

    def take(self, table: str, row: Row) -> None:
        """Check a row, and keep what later ones are checked by.

        Raises:
            ValueError: the column, and what is wrong.
        """
        if table == "trials" and row["state"] == TrialState.COMPLETE.name:
            self._complete.add(row["number"])
        elif table == "trial_user_attributes" and row["key"] == "planned":
            self._take_planned(row["trial"], row["value_json"])
        elif table == tables.study_image.fullname and row["role"] == "locked":
            self._locked.add(row["image_key"])
        elif table == tables.trial_metric.fullname and self._is_own(row):
            self._has_metric.add(row["trial"])
        elif table == tables.image_score.fullname:
            self._take_score(row)
        elif table == tables.trial_resample.fullname:
            self._take_draws(row)
        elif table == tables.confirmation.fullname:
            self._take_plan(row)

    def _take_planned(self, trial: int, text: str) -> None:
        parsed = parse_json_text(text)
        if parsed is None:
            return
        planned = Planned.from_json(parsed, ANY_SIZE_PX)
        arm = self._arms.setdefault((planned.round, planned.arm), _Arm(planned.parameters, planned.scorer))
        if not arm.fits(planned):
            raise ValueError(
                f", column value_json: should be planned as trial {arm.trials[0]}, of the same arm and round"
            )
        arm.trials.append(trial)
        arm.seeds.add(planned.seed)
        self._planned[trial] = planned.round, arm

    def _take_score(self, row: Row) -> None:
        """Refuse a score by another scorer than the trial's: who reads them asks for none."""
        trial = row["trial"]
        if not self._is_own(row):
            scorer = show_value(self._planned[trial][1].scorer)
            raise ValueError(f", column scorer: should be {scorer}, by which the trial is judged")
        self._scores[trial] = self._scores.get(trial, 0) + (row["image_key"] in self._locked)

    def _take_draws(self, row: Row) -> None:
        """Refuse another number of draws than that of the round's other trials: they are shared."""
        number = self._planned[row["trial"]][0] if row["trial"] in self._planned else 0
        found = len(row["draws"])
        expected = self._draws.setdefault((number, row["metric"]), found)
        if found != expected:
            raise ValueError(f", column draws: should be {expected} numbers, as in its round, not {found}")

    def _take_plan(self, row: Row) -> None:
        """Refuse a plan that cannot be read, and one without its trials or their scores."""
        try:
            plan = ConfirmationPlan.from_json(row["plan"], ANY_SIZE_PX)
            for name, arm in plan.arms.items():
                self._check_arm(row["round"], name, arm, 1 if arm.parameters is None else plan.seeds)
        except ValueError as error:
            raise ValueError(f", column plan: {error}") from None

    def _check_arm(self, number: int, name: str, arm: ArmPlan, seeds: int) -> None:
        planned = self._arms.get((number, name))
        if planned is None:
            raise ValueError(f"round {number} has no planned trial of the arm {show_value(name)}")
        if not planned.fits(arm):
            first = planned.trials[0]
            raise ValueError(f"the arm {show_value(name)} has not the parameters and scorer of its trial {first}")
        if len(planned.seeds) != seeds:
            raise ValueError(
                f"the arm {show_value(name)} has trials of {len(planned.seeds)} seeds, not of {seeds}"
            )
        for trial in self._complete.intersection(planned.trials):
            scored = self._scores.get(trial, 0)
            if scored != len(self._locked) or trial not in self._has_metric:
                raise ValueError(
                    f"trial {trial} is complete, and not all {len(self._locked)} locked images have a score by"
                    f" {show_value(arm.scorer)}, or it has no metric by it"
                )

    def _is_own(self, row: Row) -> bool:
        """Return whether a row is by the scorer that its trial is judged by, as far as the trial was planned."""
        if row["trial"] not in self._planned:
            return True
        return self._planned[row["trial"]][1].scorer in (None, row["scorer"])

"""The way from a finished search to a confirmation that is carried out, one step at a time.

Each call goes as far as it can and says what it waits for; ordinary workers do the training. It may be called
again at any time, by several people at once, and after any interruption: what is planned is planned once.

1. The search is over: its budget is used up, or it was stopped.
2. Replicates: the baseline's noise floor, the frozen network, and a race between the finalists, on search data.
3. The plan is written down: finalist, scorers, seeds, terms, and what every source predicts. In one transaction
   with it the trials of `#confirm` are planned, which alone may open the lock.
4. The confirmation: every arm is retrained with fresh seeds, and scored once on the locked images.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.contradictions import LEAST_NOISE_SEEDS
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.confirmations import (
    StoredConfirmation,
    insert_confirmation,
    list_confirmations,
    name_person,
)
from anomalyvfm_opt.store.looks import count_rounds
from anomalyvfm_opt.store.predictions import insert_predictions
from anomalyvfm_opt.store.siblings import find_sibling, plan_trials
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord, count_categories
from anomalyvfm_opt.store.study_state import read_state
from anomalyvfm_opt.trial.budget import count_usage
from anomalyvfm_opt.trial.space import fix_parameters, list_distributions
from anomalyvfm_opt.verdict.plan import BASELINE, FINALIST, FROZEN_ARM, ArmPlan, Plan, set_terms
from anomalyvfm_opt.verdict.predictions import predict_by_rule
from anomalyvfm_opt.verdict.race import (
    enter,
    list_entrants,
    list_observed,
    list_rivals,
    name_entrant,
    smooth_study,
)
from anomalyvfm_opt.verdict.replicates import (
    find_noise,
    list_replicates,
    name_baseline,
    plan_references,
    plan_replicates,
)
from anomalyvfm_opt.verdict.runs import Arm, Run, group_arms, list_runs
from anomalyvfm_opt.verdict.smoothing import Smoother


@dataclass(frozen=True)
class Wishes:
    """What a person asked for.

    Args:
        finalist: number of the trial to confirm, instead of the race's winner.
        seeds: instead of the spec's.
        again: a further confirmation, after the last one is done.
        reason: for it.
    """

    finalist: int | None = None
    seeds: int | None = None
    again: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Stage:
    """How far a confirmation is.

    Args:
        name: what is going on; `searching` is for who calls to finish.
        round: of the confirmation, 0 before there is a plan.
        open: retrainings that are waited for.
        planned: retrainings that this call added.
    """

    name: Literal["searching", "replicating", "confirming", "done"]
    round: int
    open: int
    planned: int = 0


class Confirmation:
    """The confirmation of one study.

    Args:
        store: the study store.
        study: that searched.
    """

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self._store = store
        self._study = study

    def advance(self, wishes: Wishes) -> Stage:
        """Go as far as the trials that are done allow.

        Raises:
            UsageError: nothing can be confirmed, or a wish contradicts what is written down.
        """
        rounds = self._list_rounds()
        last = rounds[-1].round if rounds else count_rounds(self._store.engine, f"{self._study.name}#confirm")
        if rounds and not wishes.again:
            self._refuse_late(rounds[-1], wishes)
            return self._follow(last)
        if rounds and self._follow(last).open:
            raise UsageError(
                f"round {last} of the confirmation of {self._study.name} is not over yet",
                f"let it end: anomalyvfm-opt confirm {self._study.name}",
            )
        if not rounds and wishes.again:
            raise UsageError(
                f"{self._study.name} has no confirmation to repeat", f"anomalyvfm-opt confirm {self._study.name}"
            )
        if not self._is_searched():
            usage = count_usage(self._store.engine, self._study.study_id)
            return Stage("searching", 0, max(0, self._study.budget - usage.used + usage.held))
        self._refuse_early(wishes.finalist)
        added, runs = self._replicate_references()
        # with the noise known, the finalists are always the same ones
        if not any(run.is_open for run in runs if run.planned.arm != FROZEN):
            entering = self._choose_entrants(wishes.finalist, runs)
            added += plan_replicates(self._store, self._study, entering, self._study.spec.verdict.race_seeds)
            runs = list_replicates(self._store, self._study)
            if not any(run.is_open for run in runs):
                added = self._write_plan(self._make_plan(wishes, entering, runs), last + 1, runs)
                return replace(self._follow(last + 1), planned=added)
        return Stage("replicating", 0, sum(run.is_open for run in runs), added)

    def _list_rounds(self) -> list[StoredConfirmation]:
        sibling = find_sibling(self._store.engine, self._study, "confirm")
        return [] if sibling is None else list_confirmations(self._store.engine, sibling.study_id)

    def _refuse_late(self, stored: StoredConfirmation, wishes: Wishes) -> None:
        """The same wishes again are none."""
        plan = Plan.from_json(stored.plan, self._study.spec.data.image_size_px)
        finalist = plan.arms[FINALIST].label
        is_other = wishes.finalist is not None and name_entrant(wishes.finalist) != finalist
        if is_other or wishes.seeds not in (None, plan.seeds):
            raise UsageError(
                f"the confirmation of {self._study.name} was planned with {finalist} and {plan.seeds} seeds,"
                " and is not changed any more",
                "a further one is counted as another look at the locked images: --again",
            )

    def _follow(self, number: int) -> Stage:
        sibling = find_sibling(self._store.engine, self._study, "confirm")
        runs = list_runs(self._store, sibling) if sibling else []
        still_open = sum(run.is_open for run in runs if run.planned.round == number)
        return Stage("confirming" if still_open else "done", number, still_open)

    def _is_searched(self) -> bool:
        usage = count_usage(self._store.engine, self._study.study_id)
        is_stopped = read_state(self._store.engine, self._study.study_id).name == "stopped"
        return usage.held == 0 and (usage.is_used_up or is_stopped)

    def _replicate_references(self) -> tuple[int, list[Run]]:
        """Plan the noise floor and the frozen network where they are not planned yet."""
        terms, study = self._study.spec.verdict, self._study
        seeds = max(terms.noise_seeds, terms.race_seeds, LEAST_NOISE_SEEDS)
        planned = plan_references(self._store, study, seeds)
        return planned, list_replicates(self._store, study)

    def _choose_entrants(self, finalist: int | None, runs: Sequence[Run]) -> dict[str, Parameters | None]:
        if finalist is not None:
            return {name_entrant(finalist): self._find_trial(finalist)}
        return dict(enter(self._study, self._smooth(runs)))

    def _refuse_early(self, finalist: int | None) -> None:
        """Before anything is trained for it."""
        if finalist is not None:
            self._find_trial(finalist)
        elif not list_rivals(self._store, self._study):
            raise UsageError(
                f"{self._study.name} has no trained parameters with a value that can be trusted, but those of"
                f" {self._study.spec.baseline}: there is nothing to confirm",
                f"search more trials, or look at it: anomalyvfm-opt study show {self._study.name}",
            )

    def _find_trial(self, number: int) -> Parameters:
        for observed in list_observed(self._store, self._study):
            if observed.number == number:
                return observed.parameters
        raise UsageError(
            f"trial {number} of {self._study.name} has no parameters, or no value that can be trusted",
            f"name another one: anomalyvfm-opt study show {self._study.name}",
        )

    def _smooth(self, runs: Sequence[Run]) -> Smoother:
        noise = find_noise(self._study, runs)
        sd = None if noise is None else noise.floor.sd
        return smooth_study(self._store, self._study, sd or None)  # few seeds may agree by chance

    def _make_plan(self, wishes: Wishes, entering: Collection[str], runs: Sequence[Run]) -> Plan:
        study, baseline = self._study, name_baseline(self._study)
        smoother = self._smooth(runs)
        entrants = [e for e in list_entrants(study, smoother, runs) if name_entrant(e.number) in entering]
        entrants.sort(key=lambda entrant: -len(entrant.values))  # one that loses seeds wins by none that did not
        if not entrants:
            raise UsageError(
                f"no finalist of {study.name} could be retrained",
                f"look at what happened: anomalyvfm-opt study show {study.name}#replicates",
            )
        winner, by_arm = entrants[0], group_arms(runs)
        arms = {
            FINALIST: ArmPlan(name_entrant(winner.number), winner.parameters, winner.scorer, winner.values),
            BASELINE: self._plan_reference(baseline, by_arm),
        }
        if baseline != FROZEN:
            arms[FROZEN_ARM] = self._plan_reference(FROZEN, by_arm)
        return Plan(
            arms=arms,
            seeds=wishes.seeds or study.spec.verdict.seeds,
            terms=set_terms(study.spec, study.judged or count_categories(self._store.engine, study.spec.name)),
            chosen_by="race" if wishes.finalist is None else name_person(),
            search_value=winner.search_value,
            smoothed=winner.smoothed,
            entrants={name_entrant(entrant.number): entrant.mean for entrant in entrants},
            reason=wishes.reason,
        )

    def _plan_reference(self, name: str, arms: dict[str, Arm]) -> ArmPlan:
        arm = arms[name]
        scorer = arm.choose_scorer(self._study.spec.scoring.objective)
        if scorer is None:
            raise UsageError(
                f"no replicate of {name} in {self._study.name} came to its end: nothing can be compared with it",
                f"look at what happened: anomalyvfm-opt study show {self._study.name}#replicates",
            )
        return ArmPlan(name, arm.parameters, scorer, arm.list_values(scorer))

    def _write_plan(self, plan: Plan, number: int, runs: Sequence[Run]) -> int:
        study, distributions = self._study, list_distributions(self._study.spec.search.space)
        trials = plan.list_trials(study.spec, study.name, number)
        fixed = [(planned, fix_parameters(planned.parameters, distributions) or {}) for planned in trials]
        predictions = self._predict(plan, runs)

        def write(connection: Connection, sibling_id: int) -> bool:
            is_first = insert_confirmation(connection, sibling_id, number, plan.to_json())
            if is_first:
                insert_predictions(connection, study.study_id, number, predictions)
            return is_first

        return plan_trials(self._store, study, "confirm", fixed, write)

    def _predict(self, plan: Plan, runs: Sequence[Run]) -> list[tuple[str, float, str]]:
        """What each source says before the lock is opened; `best trial` is what people believe without a race."""
        finalist, baseline = plan.arms[FINALIST], plan.arms[BASELINE]
        standing = sum(baseline.search_values) / len(baseline.search_values)
        smoother = self._smooth(runs)
        if finalist.parameters is None or baseline.parameters is None:
            smoothed = plan.smoothed[0] - standing
        else:
            smoothed = smoother.difference(finalist.parameters, baseline.parameters)[0]
        best = max(observed.value for observed in smoother.estimates)
        race = plan.entrants[finalist.label] - standing
        return [
            ("best trial", best - standing, "best value of the search minus the baseline's mean on search data"),
            ("smoothed", smoothed, "regression over all trials"),
            ("race", race, "fresh seeds on search data, finalist minus baseline"),
            ("v1.2 rule", predict_by_rule(self._study.category), "of the first experiment, for its own setting"),
        ]

"""What a confirmation does next, from where it stands: a function of what was read, see verdict/confirm.py."""

from dataclasses import dataclass
from typing import Literal

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.spec.contradictions import LEAST_NOISE_SEEDS
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.spec.shown import shorten
from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.confirmation_plan import FINALIST, ConfirmationPlan
from anomalyvfm_opt.store.confirmations import StoredConfirmation
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.verdict.draft import Circumstances, draft_plan, foretell
from anomalyvfm_opt.verdict.evidence import explain_unreadable
from anomalyvfm_opt.verdict.predictions import Prediction
from anomalyvfm_opt.verdict.race import enter, list_rivals, name_entrant
from anomalyvfm_opt.verdict.replicates import (
    find_noise,
    list_missing,
    list_reference_retrainings,
    list_retrainings,
)
from anomalyvfm_opt.verdict.runs import Run
from anomalyvfm_opt.verdict.smoothing import Observed, Smoother, smooth
from anomalyvfm_opt.words import counted


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


@dataclass(frozen=True, kw_only=True)
class ConfirmationState:
    """All that the store says of one study's confirmation, and of what comes before it.

    Args:
        study: that searches.
        usage: of its budget.
        is_stopped: whether its search was ended by a person, or by errors.
        rounds: of its confirmation, earliest first.
        last_look: the last round in which its locked images were looked at, also by a study that was deleted.
        confirm_runs: retrainings of all rounds.
        replicates: retrainings on search data; not read where a round is only followed.
        observed: trials of the search with parameters and a value that can be trusted; likewise.
        judged: how many categories are judged at once.
        person: who calls.
    """

    study: StudyRecord
    usage: Usage
    is_stopped: bool
    rounds: tuple[StoredConfirmation, ...]
    last_look: int
    confirm_runs: tuple[Run, ...]
    replicates: tuple[Run, ...]
    observed: tuple[Observed, ...]
    judged: int
    person: str

    @property
    def last_round(self) -> int:
        """The number of the latest round; 0 before the first one."""
        return self.rounds[-1].round if self.rounds else self.last_look

    @property
    def is_searched(self) -> bool:
        """Whether the search is over: its budget is used up, or it was stopped."""
        return self.usage.held == 0 and (self.usage.is_used_up or self.is_stopped)

    def follow(self, number: int) -> Stage:
        """Say how far a round is."""
        still_open = sum(run.is_open for run in self.confirm_runs if run.planned.round == number)
        return Stage("confirming" if still_open else "done", number, still_open)


@dataclass(frozen=True)
class PlanReplicates:
    """Retrainings on search data are to be planned, as far as they are not."""

    retrainings: tuple[Planned, ...]


@dataclass(frozen=True)
class PlanRound:
    """A round of the confirmation is to be written down, with what is predicted of it."""

    number: int
    plan: ConfirmationPlan
    predictions: tuple[Prediction, ...]


def decide_next(state: ConfirmationState, wishes: Wishes) -> Stage | PlanReplicates | PlanRound:
    """Decide what is to be planned; a stage where nothing is, before more trainings are done or at the end.

    Raises:
        UsageError: nothing can be confirmed, or a wish contradicts what is written down.
    """
    if state.rounds and not wishes.again:
        _refuse_late(state, wishes)
        return state.follow(state.last_round)
    _refuse_again(state, wishes)
    if not state.is_searched:
        usage = state.usage
        return Stage("searching", 0, max(0, state.study.budget - usage.done))
    _refuse_early(state, wishes.finalist)
    return _decide_after_search(state, wishes)


def _decide_after_search(state: ConfirmationState, wishes: Wishes) -> Stage | PlanReplicates | PlanRound:
    study, terms, runs = state.study, state.study.spec.verdict, state.replicates
    references = list_reference_retrainings(study, max(terms.noise_seeds, terms.race_seeds, LEAST_NOISE_SEEDS))
    if list_missing(references, runs):
        return PlanReplicates(tuple(references))
    # with the noise known, the finalists are always the same ones
    if not any(run.is_open for run in runs if run.planned.arm != FROZEN):
        smoother = _smooth(state)
        entering = _choose_entrants(state, wishes.finalist, smoother)
        racing = list_retrainings(study, entering, terms.race_seeds)
        if list_missing(racing, runs):
            return PlanReplicates(tuple(racing))
        if not any(run.is_open for run in runs):
            circumstances = Circumstances(
                seeds=wishes.seeds or terms.seeds,
                judged=state.judged,
                chosen_by="race" if wishes.finalist is None else state.person,
                reason=wishes.reason,
            )
            plan = draft_plan(study, smoother, runs, entering, circumstances)
            return PlanRound(state.last_round + 1, plan, foretell(study, plan, smoother))
    return Stage("replicating", 0, sum(run.is_open for run in runs))


def _smooth(state: ConfirmationState) -> Smoother:
    noise = find_noise(state.study, state.replicates)
    sd = None if noise is None else noise.floor.sd
    return smooth(state.observed, sd or None)  # few seeds may agree by chance


def _choose_entrants(
    state: ConfirmationState, finalist: int | None, smoother: Smoother
) -> dict[str, Parameters | None]:
    if finalist is not None:
        return {name_entrant(finalist): _find_trial(state, finalist)}
    return dict(enter(state.study, smoother))


def _find_trial(state: ConfirmationState, number: int) -> Parameters:
    for observed in state.observed:
        if observed.number == number:
            return observed.parameters
    raise UsageError(
        f"trial {number} of {state.study.name} has no parameters, or no value that can be trusted",
        f"name another one: anomalyvfm-opt study show {state.study.name}",
    )


def _refuse_late(state: ConfirmationState, wishes: Wishes) -> None:
    """Refuse what contradicts the plan; wishes that agree with it change nothing.

    Raises:
        NotConfirmedError: the plan cannot be read.
        UsageError: a wish contradicts it.
    """
    try:
        plan = ConfirmationPlan.from_json(state.rounds[-1].plan, state.study.spec.data.image_size_px)
    except ValueError as error:
        raise explain_unreadable(state.study.name, error) from error
    finalist = plan.arms[FINALIST].label
    is_other = wishes.finalist is not None and name_entrant(wishes.finalist) != finalist
    if is_other or wishes.seeds not in (None, plan.seeds):
        raise UsageError(
            f"the confirmation of {state.study.name} was planned with {shorten(finalist)}"
            f" and {counted(plan.seeds, 'seed')},"
            " and is not changed any more",
            "a further one is counted as another look at the locked images: --again",
        )


def _refuse_again(state: ConfirmationState, wishes: Wishes) -> None:
    """Refuse a further round where there is none, or one that is not over."""
    name = state.study.name
    if state.rounds and state.follow(state.last_round).open:
        raise UsageError(
            f"round {state.last_round} of the confirmation of {name} is not over yet",
            f"let it end: anomalyvfm-opt confirm {name}",
        )
    if not state.rounds and wishes.again:
        raise UsageError(f"{name} has no confirmation to repeat", f"anomalyvfm-opt confirm {name}")


def _refuse_early(state: ConfirmationState, finalist: int | None) -> None:
    """Refuse what leads nowhere before anything is trained for it."""
    if finalist is not None:
        _find_trial(state, finalist)
    elif not list_rivals(state.study, state.observed):
        raise UsageError(
            f"{state.study.name} has no trained parameters with a value that can be trusted, but those of"
            f" {state.study.spec.baseline}: there is nothing to confirm",
            f"search more trials, or look at it: anomalyvfm-opt study show {state.study.name}",
        )

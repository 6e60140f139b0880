"""Is the synthetic objective worth anything here? How it orders a study's trials, beside the labelled one."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyvfm_opt.data.split import LEAST_SCENES
from anomalyvfm_opt.evaluation.agreement import RankCorrelation, correlate_ranks, value_of_pick
from anomalyvfm_opt.spec.references import FROZEN
from anomalyvfm_opt.store.objectives import StoredObjectives, list_objectives
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import StudyRecord
from anomalyvfm_opt.words import counted

_NO_RHO = RankCorrelation(rho=None, low=None, high=None, n=0)


@dataclass(frozen=True)
class Pick:
    """Labelled values: of the trial that the synthetic objective likes best, and what there was to pick from.

    Args:
        picked: of that trial, by the rule of the objective.
        picked_blind: of that trial by the scorer that the synthetic exam likes: all that a search without
            labelled images could have had.
        best: the highest of all trials.
        median: of all trials: what picking by chance gives.
    """

    picked: float
    picked_blind: float
    best: float
    median: float


@dataclass(frozen=True)
class Proxy:
    """How the synthetic objective stands in for the labelled one, over the trained trials that have both.

    Args:
        has_labels: False with lock: all, where no trial has a labelled objective.
        objectives: over the trials' two objectives.
        scorers: the same for each scorer by itself.
        pick: None without such trials.
    """

    has_labels: bool
    objectives: RankCorrelation
    scorers: Mapping[str, RankCorrelation]
    pick: Pick | None


@dataclass(frozen=True, kw_only=True)
class TwiceValued:
    """A trained trial with both objectives. All values are image AUROC (0-1).

    Args:
        synthetic: its synthetic objective.
        labelled: its labelled objective.
        synthetic_scorer: that the synthetic objective comes from.
        synthetic_auroc: scorer -> value on the synthetic exam.
        labelled_auroc: scorer -> value on the labelled images.
    """

    synthetic: float
    labelled: float
    synthetic_scorer: str
    synthetic_auroc: Mapping[str, float]
    labelled_auroc: Mapping[str, float]


def judge_proxy(store: Store, record: StudyRecord) -> Proxy:
    """Read the trials of a study and compare their two objectives."""
    if record.lock == "all":
        return Proxy(has_labels=False, objectives=_NO_RHO, scorers={}, pick=None)
    return compare_objectives(read_twice_valued(store, record))


def read_twice_valued(store: Store, record: StudyRecord) -> list[TwiceValued]:
    """Read the complete trials of a study that have both objectives.

    `frozen` is left out: it has fewer scorers to take the best of, and a search does not choose it by its
    parameters. The other references are trained and valued like all trials.
    """
    found = map(_to_twice_valued, list_objectives(store.engine, record.study_id))
    return [trial for trial in found if trial is not None]


def compare_objectives(trials: Sequence[TwiceValued]) -> Proxy:
    """Compare the two objectives of trials that have both."""
    synthetic = [trial.synthetic for trial in trials]
    labelled = [trial.labelled for trial in trials]
    blind = [trial.labelled_auroc[trial.synthetic_scorer] for trial in trials]
    scorers = [
        name
        for name in (trials[0].synthetic_auroc if trials else ())
        if all(name in trial.synthetic_auroc and name in trial.labelled_auroc for trial in trials)
    ]
    return Proxy(
        has_labels=True,
        objectives=correlate_ranks(synthetic, labelled),
        scorers={
            name: correlate_ranks(
                [trial.synthetic_auroc[name] for trial in trials], [trial.labelled_auroc[name] for trial in trials]
            )
            for name in scorers
        },
        pick=Pick(
            picked=value_of_pick(synthetic, labelled),
            picked_blind=value_of_pick(synthetic, blind),
            best=max(labelled),
            median=statistics.median(labelled),
        )
        if trials
        else None,
    )


def _to_twice_valued(stored: StoredObjectives) -> TwiceValued | None:
    objectives = stored.objectives or {}
    synthetic, labelled = objectives.get("synthetic"), objectives.get("labelled")
    if stored.reference == FROZEN or synthetic is None or labelled is None:
        return None
    scorer, labelled_auroc = stored.synthetic_scorer, stored.labelled_auroc or {}
    if scorer is None or scorer not in labelled_auroc:
        return None  # rows that somebody else wrote: nothing tells what the scorer that it picks would have given
    return TwiceValued(
        synthetic=synthetic,
        labelled=labelled,
        synthetic_scorer=scorer,
        synthetic_auroc=stored.synthetic_auroc or {},
        labelled_auroc=labelled_auroc,
    )


def describe_proxy(proxy: Proxy) -> list[tuple[str, str]]:
    """Rows of `study show`: a name and plain words."""
    if not proxy.has_labels:
        advice = f"a category with {LEAST_SCENES} labelled scenes of each label, and lock: half, would show it"
        return [
            (
                "proxy",
                "no labelled objective (lock: all), so nothing can be said of how well the synthetic one ranks"
                f" trials; {advice}",
            )
        ]
    found, pick = proxy.objectives, proxy.pick
    if found.rho is None or pick is None:
        why = "one of the two is the same for all" if found.n > 1 else "to compare takes two at least"
        return [("proxy", f"{counted(found.n, 'trained trial')} with a synthetic and a labelled objective; {why}")]
    blind = "" if pick.picked_blind == pick.picked else f" ({pick.picked_blind:.4f} by the scorer that it picks)"
    return [
        (
            "proxy",
            f"Spearman {_show(found)} over {counted(found.n, 'trained trial')} between the synthetic"
            f" and the labelled objective: {_judge(found)}",
        ),
        (
            "proxy's pick",
            f"picking by the proxy would have given {pick.picked:.4f}{blind} where the best trained trial is"
            f" {pick.best:.4f} and the median one {pick.median:.4f}",
        ),
        ("proxy by scorer", ", ".join(f"{name} {_show(rho)}" for name, rho in proxy.scorers.items())),
    ]


def _judge(found: RankCorrelation) -> str:
    if found.low is None or found.high is None:
        return "too few trials for an interval, so nothing is shown"
    if found.low > 0:
        return "it ranks these trials better than chance"
    if found.high < 0:
        return "it ranks these trials the wrong way round"
    return "the interval includes 0, so nothing is shown"


def _show(found: RankCorrelation) -> str:
    if found.rho is None:
        return "-"
    interval = "" if found.low is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.rho:.2f}{interval}"


def to_json(proxy: Proxy) -> dict[str, Any]:
    """Return the `proxy` of `study show --json`; null for what is not known."""
    pick = proxy.pick

    def show(found: RankCorrelation) -> dict[str, float | int | None]:
        return {"spearman": found.rho, "low": found.low, "high": found.high, "trials": found.n}

    return {
        **show(proxy.objectives),
        "picked": pick.picked if pick else None,
        "picked_blind": pick.picked_blind if pick else None,
        "best": pick.best if pick else None,
        "median": pick.median if pick else None,
        "scorers": {name: show(found) for name, found in proxy.scorers.items()},
    }

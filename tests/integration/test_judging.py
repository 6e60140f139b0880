"""From the rows of a confirmation to its verdict, also where trainings failed or categories are missing."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from anomalyvfm_opt.errors import DivergedError
from anomalyvfm_opt.report.grid import Grid
from anomalyvfm_opt.report.verdict_doubts import list_doubts
from anomalyvfm_opt.report.verdict_json import to_json
from anomalyvfm_opt.report.verdict_text import describe
from anomalyvfm_opt.trial.result import TrialRequest
from anomalyvfm_opt.verdict.evidence import NotConfirmedError
from anomalyvfm_opt.verdict.judge import CategoryVerdict, judge
from anomalyvfm_opt.verdict.judge_spec import SpecVerdict, judge_spec
from anomalyvfm_opt.verdict.read_case import read_case, read_cases, read_evidence
from tests.integration.families import V1_1, Families, Fault, better, list_keys


def search_and_judge(store: Families, name: str, number: int | None = None, **options: Any) -> CategoryVerdict:
    """Search, confirm and judge."""
    family = store.found(name, **options)
    family.search()
    family.confirm()
    return judge(read_case(store, family.bench.record, number))


def judge_all(store: Families, *families: Any) -> SpecVerdict:
    return judge_spec(read_cases(store, [family.bench.record for family in families]))


def lose(arm: str, count: int) -> Fault:
    """So many trainings of an arm of the confirmation diverge."""
    lost: Counter[str] = Counter()

    def fault(request: TrialRequest) -> Exception | None:
        p = request.parameters
        mine = "frozen" if p is None else "baseline" if p == V1_1 else "finalist"
        if request.look is None or mine != arm or lost[arm] == count:
            return None
        lost[arm] += 1
        return DivergedError("nan")

    return fault


def show(found: CategoryVerdict | SpecVerdict) -> str:
    """All that people get to read; JSON has to be possible as well, without numbers that are none."""
    json.dumps(to_json(found), allow_nan=False, default=str)
    parts = [
        [*part.columns, *sum(part.rows, ())] if isinstance(part, Grid) else [part] for part in describe(found)
    ]
    return "\n".join(cell for part in parts for cell in part)


def test_a_large_gain_is_adopted(store: Families) -> None:
    found = search_and_judge(store, "large", worth=better)
    assert (found.ruling.verdict, found.ruling.reason) == ("ADOPT", "gain")
    assert found.ruling.low is not None
    assert found.ruling.low > 0.01
    assert list_doubts([found]) == []
    assert show(found).startswith("ADOPT: large/tile. Gain +0.")
    json = to_json(found)
    assert json["looks"] == 1
    assert json["scorings"] == 9
    assert json["seeds"] == 4
    assert [one["source"] for one in json["predictions"]] == ["best trial", "race", "smoothed", "v1.2 rule"]


def test_the_evidence_is_what_the_models_scored(store: Families) -> None:
    family = store.found("scored", better)
    family.search()
    family.confirm()
    evidence = read_evidence(store, family.bench.record)
    assert evidence.images.keys == tuple(sorted(list_keys("locked")))
    assert evidence.images.scene_counts == (12, 12)
    finalist, baseline, frozen = (evidence.arms[name] for name in ("finalist", "baseline", "frozen"))
    assert finalist.scores.shape == baseline.scores.shape == (4, 24)
    assert frozen.scores.shape == (1, 24)
    bad = evidence.images.labels == 1
    for arm in (finalist, baseline):
        recomputed = [(row[bad][:, None] > row[~bad]).mean() for row in arm.scores]
        assert np.allclose(recomputed, arm.values)
    assert evidence.models == {"finalist": 4, "baseline": 4}


def test_no_effect_is_not_adopted(store: Families) -> None:
    found = search_and_judge(store, "nothing")
    assert found.ruling.verdict in ("KEEP_BASELINE", "INCONCLUSIVE")
    assert found.luck.trials == 5
    assert show(found)


def test_the_same_evidence_gives_the_same_verdict(store: Families) -> None:
    found = search_and_judge(store, "twice", worth=better)
    again = judge(read_case(store, found.evidence.study))
    assert to_json(again) == to_json(found)


def test_a_seed_that_failed_for_good_is_a_doubt(store: Families) -> None:
    found = search_and_judge(store, "one-failed", worth=better, fault=lose("finalist", 1))
    assert found.ruling.verdict == "ADOPT"
    assert list_doubts([found]) == ["one-failed/tile: 1 of 4 seeds of the finalist failed (diverged)"]
    assert (to_json(found)["seeds"], to_json(found)["finalist"]["failed_seeds"]) == (3, 1)


@pytest.mark.parametrize("arm", ["finalist", "baseline"])
def test_an_arm_without_a_model_is_named(store: Families, arm: str) -> None:
    found = search_and_judge(store, f"no-{arm}", worth=better, fault=lose(arm, 4))
    ruling = found.ruling
    assert (ruling.verdict, ruling.reason, ruling.estimate) == ("INCONCLUSIVE", "no_models", None)
    assert ruling.action.startswith(f"keep the baseline; no training of the {arm} came to its end")
    assert "scenes" not in ruling.action
    assert f"4 of 4 seeds of the {arm} failed (diverged)" in show(found)


def test_one_model_of_an_arm_does_not_tell_what_its_seeds_do(store: Families) -> None:
    """Found here: with one finalist its seeds counted as if they changed nothing, and it was adopted."""
    found = search_and_judge(store, "one-left", worth=better, fault=lose("finalist", 3))
    assert (found.ruling.verdict, found.ruling.reason) == ("INCONCLUSIVE", "too_few_seeds")
    assert show(found)


def test_a_frozen_baseline_is_one_model_and_that_is_all_there_is(store: Families) -> None:
    verdict = {"baseline": "frozen"}
    found = search_and_judge(store, "cold-judged", worth=better, verdict=verdict)
    assert found.ruling.verdict == "ADOPT"
    assert (found.frozen, found.cost_ratio) == ({}, None)
    assert show(found)
    limited = search_and_judge(store, "cold-limited", worth=better, verdict={**verdict, "max_cost_ratio": 9})
    assert (limited.ruling.verdict, limited.ruling.reason) == ("KEEP_BASELINE", "cost")
    failed = search_and_judge(store, "cold-failed", worth=better, fault=lose("frozen", 1), verdict=verdict)
    assert failed.ruling.reason == "no_models"


def test_a_failed_frozen_arm_leaves_the_verdict_as_it_is(store: Families) -> None:
    found = search_and_judge(store, "frozen-failed", worth=better, fault=lose("frozen", 1))
    assert (found.ruling.verdict, found.frozen) == ("ADOPT", {})
    assert show(found)


def test_there_is_no_verdict_before_the_last_model(store: Families) -> None:
    family = store.found("early", better)

    def ask() -> CategoryVerdict:
        return judge(read_case(store, family.bench.record))

    with pytest.raises(NotConfirmedError, match="early/tile is not confirmed yet"):
        ask()
    family.search()
    family.plan()
    for left in range(9, 0, -1):
        with pytest.raises(NotConfirmedError, match=f"{left} of 9 trainings? of early/tile#confirm not done"):
            ask()
        family.sibling("confirm").loop(family.trainings.run).take_turn()
    assert ask().ruling.verdict == "ADOPT"
    with pytest.raises(NotConfirmedError, match="has no round 2"):
        judge(read_case(store, family.bench.record, 2))


def test_a_further_round_is_marked_and_the_first_one_stays(store: Families) -> None:
    family = store.found("again", better)
    family.search()
    family.confirm()
    first = judge(read_case(store, family.bench.record))
    family.confirm(again=True, reason="to be sure")
    second = judge(read_case(store, family.bench.record))
    assert second.evidence.stored.round == 2
    doubts = "\n".join(list_doubts([second]))
    assert "again/tile: LOOKED AT 2 TIMES" in doubts
    assert "(18 models scored; also again/tile#confirm round 1)" in doubts
    assert "this is confirmation 2 of 2: to be sure" in doubts
    old = judge(read_case(store, family.bench.record, 1))
    assert (old.ruling, old.difference) == (first.ruling, first.difference)


def test_a_finalist_that_a_person_chose_is_a_doubt(store: Families) -> None:
    family = store.found("named", better)
    family.search()
    family.confirm(finalist=3)
    (doubt,) = list_doubts([judge(read_case(store, family.bench.record))])
    assert "the finalist was named by" in doubt


def test_the_verdict_of_a_spec_needs_all_categories(store: Families) -> None:
    first, second = (store.found("both", better, category=name, judged=2) for name in ("tile", "wall"))
    for family in (first, second):
        with pytest.raises(NotConfirmedError, match="of 2 categories of both not confirmed"):
            judge_all(store, first, second)
        family.search()
        family.confirm()
    with pytest.raises(NotConfirmedError, match="over 2 categories, and 1 of them have a study"):
        judge_all(store, first)
    found = judge_all(store, first, second)
    parts = [one.ruling for one in found.categories]
    assert found.ruling.verdict == "ADOPT"
    assert found.ruling.judged == 1
    assert [part.judged for part in parts] == [2, 2]
    estimates = [part.estimate for part in parts]
    assert found.ruling.estimate == pytest.approx(sum(e or 0 for e in estimates) / 2)
    assert show(found).startswith("ADOPT: both, mean over 2 categories.")


def test_a_category_without_models_is_named_in_the_verdict_of_its_spec(store: Families) -> None:
    first = store.found("half", better, category="tile", judged=2)
    second = store.found("half", better, lose("finalist", 4), category="wall", judged=2)
    for family in (first, second):
        family.search()
        family.confirm()
    found = judge_all(store, first, second)
    assert (found.ruling.verdict, found.ruling.reason) == ("INCONCLUSIVE", "no_models")
    assert "no training of the finalist of wall came to its end" in found.ruling.action
    assert show(found)

"""What a study's two objectives have to do with each other, from trials in a real store."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from anomalyvfm_opt.evaluation.metrics import evaluate
from anomalyvfm_opt.report.proxy import Proxy, describe_proxy, judge_proxy, to_json
from anomalyvfm_opt.trial.result import Progress, RunTrial, TrialRequest, TrialResult
from tests.integration.conftest import KEYS, Bench
from tests.integration.trial_states import run_to_end

LABELS = np.array([0, 1])
RIGHT, WRONG = np.array([0.0, 1.0]), np.array([1.0, 0.0])


def answer(labelled: float, synthetic: float | None, synthetic_scorer: str = "decoder") -> TrialResult:
    """A trial whose decoder is right on the labelled images and whose predictor is wrong."""
    scores = {"decoder": RIGHT, "predictor": WRONG}
    attributes: dict[str, Any] = {"objectives": {"synthetic": synthetic, "labelled": labelled}}
    if synthetic is not None:
        attributes["synthetic_auroc"] = {"decoder": synthetic, "predictor": 1 - synthetic}
        attributes["synthetic_scorer"] = synthetic_scorer
    metrics = {name: evaluate(values, LABELS) for name, values in scores.items()}
    return TrialResult(
        value=labelled, metrics=metrics, image_keys=KEYS, labels=LABELS, scores=scores, attributes=attributes
    )


def fill(bench: Bench, run: RunTrial) -> Proxy:
    run_to_end(bench.loop(run))
    return judge_proxy(bench.store, bench.record)


def say(proxy: Proxy) -> str:
    return "\n".join(f"{name}: {text}" for name, text in describe_proxy(proxy))


@pytest.mark.parametrize(
    ("synthetic", "words"),
    [
        ([0.60, 0.65, 0.70, 0.75, 0.80], "the interval includes 0, so nothing is shown"),  # 5 never show anything
        ([0.80, 0.75, 0.70, 0.65, 0.60], "the interval includes 0, so nothing is shown"),
        ([0.70] * 5, "one of the two is the same for all"),
    ],
)
def test_the_trained_trials_are_compared_and_frozen_is_not(
    bench: Bench, synthetic: list[float], words: str
) -> None:
    labelled = iter([0.50, 0.55, 0.60, 0.65, 0.70])
    proxy_values = iter(synthetic)

    def run(request: TrialRequest, _progress: Progress) -> TrialResult:
        return answer(0.99, 0.01) if request.parameters is None else answer(next(labelled), next(proxy_values))

    proxy = fill(bench, run)
    assert proxy.objectives.n == 5
    assert words in say(proxy)
    assert proxy.pick is not None
    assert (proxy.pick.best, proxy.pick.median) == (0.70, 0.60)


def test_many_trials_show_it_or_the_contrary(bench: Bench) -> None:
    """Each trial's two values are drawn; what is shown is what scipy makes of the stored ones."""
    rng = np.random.default_rng(0)
    drawn: list[tuple[float, float]] = []
    bench = replace(bench, record=replace(bench.record, budget=13))
    with bench.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE anomalyvfm_opt.study SET budget = 13")

    def run(request: TrialRequest, _progress: Progress) -> TrialResult:
        if request.parameters is None:
            return answer(0.5, 0.5)
        quality = rng.random()
        drawn.append((0.5 + 0.4 * quality, 0.5 + 0.4 * quality + rng.uniform(-0.05, 0.05)))
        return answer(*drawn[-1], synthetic_scorer="predictor")

    proxy = fill(bench, run)
    labelled, synthetic = np.array(drawn).T
    assert len(drawn) == 12
    assert proxy.objectives.rho == pytest.approx(stats.spearmanr(labelled, synthetic).statistic)
    assert "it ranks these trials better than chance" in say(proxy)
    picked = labelled[synthetic.argmax()]
    assert f"would have given {picked:.4f} (0.0000 by the scorer that it picks)" in say(proxy)  # predictor: wrong
    assert f"the best trained trial is {labelled.max():.4f} and the median one {np.median(labelled):.4f}" in say(
        proxy
    )
    assert proxy.scorers["decoder"].rho is None  # on the labelled images it is always right
    turned = replace(proxy, objectives=replace(proxy.objectives, rho=-0.9, low=-0.95, high=-0.8))
    assert "the wrong way round" in say(turned)
    shown = to_json(proxy)
    assert shown.keys() == {
        *("spearman", "low", "high", "trials", "picked", "picked_blind", "best", "median", "scorers")
    }
    assert shown["trials"] == 12
    assert shown["low"] < shown["spearman"] < shown["high"]


def test_trials_without_two_objectives_are_passed_over(bench: Bench) -> None:
    """Those of older versions have none stored, and those without a synthetic exam only one."""

    def run(request: TrialRequest, _progress: Progress) -> TrialResult:
        result = answer(0.6, None)
        return result if request.number % 2 else replace(result, attributes={})

    proxy = fill(bench, run)
    assert proxy.objectives.n == 0
    assert "0 trained trials" in say(proxy)
    assert "two at least" in say(proxy)
    assert to_json(proxy)["spearman"] is None
    assert to_json(proxy)["picked"] is None


def test_without_labelled_images_it_is_said_how_to_find_out(bench: Bench) -> None:
    locked = replace(bench, record=replace(bench.record, lock="all"))
    proxy = judge_proxy(locked.store, locked.record)
    text = say(proxy)
    assert "nothing can be said" in text
    assert "20 labelled scenes" in text
    assert "lock: half" in text
    shown = to_json(proxy)
    assert (shown["trials"], shown["scorers"]) == (0, {})
    assert all(shown[name] is None for name in ("spearman", "low", "high", "picked", "best", "median"))

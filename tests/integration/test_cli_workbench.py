"""A whole trial on real images and a real backbone: a function of spec, data, parameters and seed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import TrialRun, run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import content_hashes, divide, split_hash
from anomalyvfm_opt.evaluation.metrics import auroc
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.trial.result import TrialRequest, TrialResult
from tests.integration.program import CATEGORY, Program, make_tiny, write_spec

RANDOM_VIT = {
    "name": "vit_tiny_patch16_224",
    "weights": "random",
    "decoder_blocks": [2, 5],
    "patch_blocks": [5],
}


class Silence:
    def check(self) -> None:
        pass

    def begin_step(self) -> None:
        pass

    def resume(self, epoch: int) -> None:
        pass

    def finish_epoch(self, epoch: int, loss: float) -> None:
        pass

    def report(self, epoch: int, value: float) -> None:
        pass


def make_parameters(**changes: Any) -> Parameters:
    baseline = reference_parameters("v1.1", CATEGORY, 64)
    assert baseline is not None
    return replace(baseline, **{"epochs": 2, "learning_rate": 1e-3, "synthesis_count": 12, **changes})


def make_bench(program: Program, network: Backbone | None = None, **changes: Any) -> Workbench:
    spec = Spec.model_validate(make_tiny("workbench", **changes))
    split = divide(read_category(program.data, CATEGORY), spec.data.lock)
    hashes = content_hashes([*split.fit, *split.held_out, *split.search, *split.locked])
    arrays = ArrayStore(program.cluster.home / "cache")
    network = network or load_backbone(spec, torch.device("cpu"))
    return Workbench(spec, split, split_hash(split, hashes), network, arrays)


def run(bench: Workbench, parameters: Parameters | None, seed: int) -> TrialResult:
    return run_trial(bench, TrialRequest(number=0, parameters=parameters, seed=seed), Silence())


def are_equal(one: TrialResult, other: TrialResult) -> bool:
    return (
        one.value == other.value
        and one.scores.keys() == other.scores.keys()
        and all(np.array_equal(one.scores[name], other.scores[name]) for name in one.scores)
        and one.metrics == other.metrics
    )


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Where other processes use the cores as well, threads that wait for each other cost minutes."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(Spec.model_validate(make_tiny("workbench")), torch.device("cpu"))


@pytest.fixture(scope="module")
def bench(program: Program, backbone: Backbone) -> Workbench:
    return make_bench(program, backbone)


@pytest.mark.parametrize("adapter", ["lora", "rslora", "dora", "adalora"])
def test_the_same_trial_twice_gives_the_same_numbers(bench: Workbench, adapter: Any) -> None:
    """With dropout, which has more to draw; without it see the trial on a backbone of its own."""
    parameters = make_parameters(adapter=adapter, rank=4, dropout=0.2)
    first = run(bench, parameters, 7)
    run(bench, make_parameters(adapter="lora", rank=4, targets="attention_mlp"), 8)  # which leaves nothing behind
    assert are_equal(first, run(bench, parameters, 7))
    assert not are_equal(first, run(bench, parameters, 9))


def test_a_trial_on_a_backbone_of_its_own_gives_the_same_numbers(program: Program, bench: Workbench) -> None:
    """As after a retry by another worker."""
    assert are_equal(run(bench, make_parameters(), 7), run(make_bench(program), make_parameters(), 7))


def test_a_trial_that_nobody_watches_gives_the_same_numbers(bench: Workbench) -> None:
    parameters = make_parameters(dropout=0.2)  # whose draws must not depend on what is scored between them
    unwatched = run_trial(
        bench, TrialRequest(number=0, parameters=parameters, seed=1, is_watched=False), Silence()
    )
    assert are_equal(run(bench, parameters, 1), unwatched)


def test_a_trial_of_adalora_says_where_its_ranks_went(bench: Workbench) -> None:
    ranks = run(bench, make_parameters(adapter="adalora", rank=4), 7).attributes["final_ranks"]
    assert all(name.startswith("blocks.") and 0 <= rank <= 6 for name, rank in ranks.items())
    assert sum(ranks.values()) == 4 * len(ranks)
    assert "final_ranks" not in run(bench, make_parameters(), 7).attributes


def test_only_some_epochs_are_scored_with_the_same_end(
    program: Program, backbone: Backbone, bench: Workbench
) -> None:
    class Curve(Silence):
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def report(self, epoch: int, value: float) -> None:
            self.epochs.append(epoch)

    curve, parameters = Curve(), make_parameters(epochs=5)
    seldom = make_bench(program, backbone, scoring={"every_epochs": 2})
    result = run_trial(seldom, TrialRequest(number=0, parameters=parameters, seed=7), curve)
    assert curve.epochs == [2, 4, 5]
    assert are_equal(result, run(bench, parameters, 7))


def test_the_frozen_detector_gives_the_same_numbers(bench: Workbench) -> None:
    first = run(bench, None, 7)
    run(bench, make_parameters(), 8)
    assert are_equal(first, run(bench, None, 7))
    assert first.scores.keys() == {"mahalanobis", "patch_knn", "ensemble"}


def test_a_trial_says_what_its_numbers_depend_on(bench: Workbench) -> None:
    attributes = run(bench, make_parameters(), 7).attributes
    assert len(attributes["epoch_losses"]) == 2
    assert attributes["weights"] == "offline"
    assert attributes["device"].startswith("cpu")
    assert attributes["versions"].keys() >= {"torch", "timm", "peft"}


def test_with_all_images_locked_the_exam_is_synthetic(program: Program, backbone: Backbone) -> None:
    bench = make_bench(program, backbone, data={"lock": "all"})
    result = run(bench, make_parameters(epochs=1), 7)
    normal, anomalous = result.image_keys[:8], result.image_keys[8:]
    assert all(key.startswith("brick/validation/good/") for key in normal)  # the other 8 calibrate the scores
    assert [key.split("_")[-1] for key in anomalous] == ["perlin", "cutpaste", "scar"] * 3
    assert all(key.startswith("exam/") for key in anomalous)
    assert list(result.labels) == [0] * 8 + [1] * 9
    assert 0 <= result.value <= 1
    assert result.value == auroc(result.scores[result.attributes["scorer"]], result.labels)
    assert all(metrics.image_auroc >= 0 for metrics in result.metrics.values())
    assert result.attributes["objectives"] == {"synthetic": result.value, "labelled": None}
    assert result.attributes["synthetic_auroc"] == {name: m.image_auroc for name, m in result.metrics.items()}


@pytest.mark.parametrize("adapter", [None, "lora"])
def test_the_synthetic_exam_changes_nothing_of_the_labelled_one(bench: Workbench, adapter: Any) -> None:
    """As before there was one: one bank, calibrated on all held-out images, to the last bit."""
    parameters = make_parameters(adapter=adapter) if adapter else None
    both = run(bench, parameters, 7)
    labelled_alone = replace(bench.exams, synthetic=None)
    with patch.object(bench, "exams", labelled_alone):
        alone = run(bench, parameters, 7)
    assert are_equal(both, alone)
    assert both.attributes["epoch_losses"] == alone.attributes["epoch_losses"]
    assert alone.attributes["objectives"] == {"synthetic": None, "labelled": alone.value}
    assert both.attributes["objectives"]["labelled"] == both.value
    synthetic = both.attributes["synthetic_auroc"]
    assert synthetic.keys() == both.scores.keys()
    assert both.attributes["objectives"]["synthetic"] == max(synthetic.values())
    assert synthetic[both.attributes["synthetic_scorer"]] == max(synthetic.values())


def test_the_synthetic_objective_does_not_depend_on_how_labelled_images_are_locked(
    program: Program, bench: Workbench, backbone: Backbone
) -> None:
    """The same exam on the same images: what a search with lock: all would have gone by."""
    locked = make_bench(program, backbone, data={"lock": "all"})
    with_labels, without = (run(each, make_parameters(), 7).attributes for each in (bench, locked))
    assert with_labels["synthetic_auroc"] == without["synthetic_auroc"]
    assert with_labels["synthetic_scorer"] == without["synthetic_scorer"]


def test_the_synthetic_exam_is_sat_after_the_last_epoch_only(bench: Workbench) -> None:
    with patch.object(TrialRun, "_score", autospec=True, side_effect=TrialRun._score) as score:
        run(bench, make_parameters(epochs=3), 7)
    sat = [call.args[3] is bench.exams.synthetic for call in score.call_args_list]
    assert sat == [False, False, False, True]


def test_a_vision_transformer_runs_a_whole_trial(program: Program) -> None:
    bench = make_bench(program, backbone=RANDOM_VIT)
    result = run(bench, make_parameters(adapted_blocks=2, targets="attention_mlp"), 7)
    assert 0 <= result.value <= 1
    assert result.scores.keys() == {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}


def test_random_weights_are_said_loudly(program: Program, tmp_path: Path) -> None:
    done = program.create(write_spec(tmp_path, "random", backbone=RANDOM_VIT))
    assert done.returncode == 0, done.stderr
    assert "RANDOM WEIGHTS: vit_tiny_patch16_224" in done.stderr

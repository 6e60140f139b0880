"""Real small trials, each with one thing spoiled, and healthy ones."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from threadpoolctl import threadpool_limits
from torch import nn

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.errors import DivergedError, EnvironmentMissingError
from anomalyvfm_opt.evaluation import scorers
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank, Scores
from anomalyvfm_opt.model.adapter import Adapter
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.heads import Predictor
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.trial.result import TrialRequest, TrialResult
from anomalyvfm_opt.trial.space import list_distributions

CNN = {"name": "tf_efficientnet_lite0", "weights": "offline", "decoder_blocks": [1, 2], "patch_blocks": [2, 3]}
VIT = {"name": "test_vit", "weights": "random", "decoder_blocks": [2, 5], "patch_blocks": [5]}


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


class Place:
    """Demo data in a folder, and workbenches on it."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._arrays = ArrayStore(folder / "cache")
        write_demo(self._data, image_size_px=64)

    def spec(self, backbone: dict[str, Any], lock: str = "half", **training: Any) -> Spec:
        return Spec.model_validate(
            {
                "name": "linted",
                "data": {"image_size_px": 64, "lock": lock},
                "backbone": backbone,
                "training": {"batch_size": 8, "steps_per_epoch": 4, "warmup_steps": 2, **training},
                "scoring": {"fit_images": 24, "memory_patches": 512, "exam_images": 24},
                "search": {
                    "trials": 20,
                    "space": {
                        "adapter": ["lora", "rslora", "dora", "adalora"],
                        "dropout": [0.0, 0.1],
                        "rank": [4, 8, 16],
                        "epochs": {"low": 2, "high": 4},
                        "learning_rate": {"low": 3e-4, "high": 2e-3, "log": True},
                        "synthesis_count": {"low": 16, "high": 32},
                        "synthesis_intensity": [1.0],
                    },
                },
            }
        )

    def bench(self, backbone: Backbone, spec: Spec, category: str = "gravel") -> Workbench:
        split = divide(read_category(self._data, category), spec.data.lock)
        return Workbench(spec, split, f"{category} {spec.data.lock}", backbone, self._arrays)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("linted"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def load(spec: Spec) -> Backbone:
    return load_backbone(spec, torch.device("cpu"))


def make_parameters(**changes: Any) -> Parameters:
    baseline = reference_parameters("v1.1", "gravel", 64)
    assert baseline is not None
    return replace(baseline, **{"epochs": 2, "learning_rate": 1e-3, "synthesis_count": 16, **changes})


def run(bench: Workbench, parameters: Parameters | None = None, seed: int = 3) -> TrialResult:
    return run_trial(bench, TrialRequest(number=0, parameters=parameters, seed=seed, is_watched=False), Silence())


def find(result: TrialResult) -> dict[str, str]:
    """Check -> severity."""
    assert all(len(finding.message) > 60 for finding in result.findings)
    return {finding.check: str(finding.severity) for finding in result.findings}


def first_norm(backbone: Backbone) -> nn.Module:
    return next(module for module in backbone.network.modules() if isinstance(module, nn.BatchNorm2d))


def stay_in_train_mode(module: nn.Module) -> None:
    module.training = True
    module.train = lambda mode=True: module  # type: ignore[method-assign]


def test_a_trial_leaves_nothing_on_the_workbench(place: Place) -> None:
    spec = place.spec(VIT)
    bench = place.bench(load(spec), spec)
    before = dict(vars(bench))
    for parameters in (None, make_parameters(epochs=1)):
        run(bench, parameters)
    assert vars(bench).keys() == before.keys()
    assert all(vars(bench)[name] is value for name, value in before.items())


@pytest.mark.parametrize("parameters", [None, make_parameters()], ids=["frozen", "trained"])
def test_batch_norm_that_eval_does_not_reach(place: Place, parameters: Parameters | None) -> None:
    spec = place.spec(CNN)
    backbone = load(spec)
    bench = place.bench(backbone, spec)
    stay_in_train_mode(first_norm(backbone))
    found = find(run(bench, parameters))
    assert {name for name, severity in found.items() if severity == "broken"} >= {
        "train_mode",
        "batch_dependence",
        "frozen_moved",
    }


@pytest.mark.parametrize("parameters", [None, make_parameters()], ids=["frozen", "trained"])
def test_dropout_that_was_left_on(place: Place, parameters: Parameters | None) -> None:
    spec = place.spec(VIT)
    backbone = load(spec)
    backbone.network.blocks[3].mlp.drop1 = dropout = nn.Dropout(0.2)
    stay_in_train_mode(dropout)
    result = run(place.bench(backbone, spec), parameters)
    messages = [finding.message for finding in result.findings if finding.check == "train_mode"]
    assert any("blocks.3.mlp.drop1" in message for message in messages)
    assert any("scored twice" in message for message in messages)
    assert "batch_dependence" not in find(result)


def test_the_adapters_own_dropout_that_was_left_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = place.spec(VIT)
    train = Adapter.train
    monkeypatch.setattr(Adapter, "train", lambda self, _mode=True: train(self, True))
    found = run(place.bench(load(spec), spec), make_parameters(dropout=0.3)).findings
    assert any("lora_dropout.default" in finding.message for finding in found if finding.check == "train_mode")


def test_noise_that_no_module_answers_for(place: Place) -> None:
    spec = place.spec(VIT)
    backbone = load(spec)
    backbone.network.blocks[3].register_forward_hook(lambda _m, _i, out: out + 0.1 * torch.randn_like(out))
    assert find(run(place.bench(backbone, spec)))["train_mode"] == "broken"


@pytest.mark.parametrize("parameters", [None, make_parameters()], ids=["frozen", "trained"])
def test_features_that_are_normalised_over_a_batch(place: Place, parameters: Parameters | None) -> None:
    spec = place.spec(VIT)
    backbone = load(spec)
    backbone.network.blocks[3].register_forward_hook(lambda _m, _i, out: out - out.mean(dim=0, keepdim=True))
    found = find(run(place.bench(backbone, spec), parameters))
    assert found.get("batch_dependence") == "broken"
    assert "train_mode" not in found


@pytest.mark.parametrize("backbone_section", [CNN, VIT], ids=["cnn", "vit"])
def test_raw_pixels(place: Place, backbone_section: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = place.spec(backbone_section)
    bench = place.bench(load(spec), spec)
    monkeypatch.setattr(Backbone, "normalise", lambda _self, images: images.permute(0, 3, 1, 2).float())
    assert find(run(bench))["unnormalised_input"] == "broken"


def test_a_covariance_that_is_not_shrunk(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = place.spec(CNN)
    monkeypatch.setattr("sklearn.covariance.LedoitWolf", EmpiricalCovariance)
    assert find(run(place.bench(load(spec), spec)))["singular_covariance"] == "broken"


def test_a_statistic_that_drifts_and_a_backbone_that_is_not_used_again(place: Place) -> None:
    spec = place.spec(CNN)
    backbone = load(spec)
    norm = first_norm(backbone)

    def drift(module: Any, *_: Any) -> None:
        module.running_mean += 1e-6

    bench = place.bench(backbone, spec)
    hook = norm.register_forward_hook(drift)
    result = run(bench, make_parameters())
    assert find(result)["frozen_moved"] == "broken"
    (message,) = [finding.message for finding in result.findings if finding.check == "frozen_moved"]
    assert "1 tensor (first 'bn1.running_mean')" in message
    hook.remove()
    with pytest.raises(EnvironmentMissingError, match="spoilt") as refused:
        run(bench)
    assert refused.value.exit_code == 3


def test_a_scorer_that_gives_no_number_ends_the_trial_without_a_value(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = place.spec(VIT)
    bench = place.bench(load(spec), spec)
    spoilt = classmethod(lambda cls, patches: cls(patches, patches[:, 0] * torch.nan))
    monkeypatch.setattr(scorers.PatchMemory, "of", spoilt)
    with pytest.raises(DivergedError, match="scores of patch_knn are not finite"):
        run(bench)


def test_scores_that_are_turned_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = place.spec(CNN)
    bench = place.bench(load(spec), spec)
    score = ScorerBank.score

    def turn(self: ScorerBank, features: Any, wanted: Any = None) -> Scores:
        scores = score(self, features, wanted)
        return replace(scores, image={name: -values for name, values in scores.image.items()})

    monkeypatch.setattr(ScorerBank, "score", turn)
    result = run(bench)
    assert find(result) == {"inverted": "doubtful"}
    assert any("mahalanobis" in finding.message for finding in result.findings)


def test_a_scorer_that_says_the_same_of_every_image(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = place.spec(VIT)
    bench = place.bench(load(spec), spec)
    monkeypatch.setattr(Predictor, "forward", lambda _self, pooled: pooled.sum(dim=1) * 0)
    result = run(bench, make_parameters())
    assert find(result) == {"constant_scores": "doubtful"}
    assert "predictor" in result.findings[0].message


@pytest.mark.parametrize("adapter", ["lora", "dora", "adalora"])
def test_learning_rates_of_next_to_nothing(place: Place, adapter: Any) -> None:
    spec = place.spec(VIT, head_learning_rate=1e-9)
    result = run(place.bench(load(spec), spec), make_parameters(learning_rate=0.0, adapter=adapter))
    assert find(result) == {"flat_loss": "doubtful", "idle_adapter": "doubtful"}


def test_heads_that_learn_beside_an_adapter_that_does_not(place: Place) -> None:
    spec = place.spec(VIT)
    assert find(run(place.bench(load(spec), spec), make_parameters(learning_rate=0.0))) == {
        "idle_adapter": "doubtful"
    }


@pytest.mark.parametrize(
    ("backbone_section", "category", "lock"),
    [
        pytest.param(CNN, "brick", "half", marks=pytest.mark.slow),
        (CNN, "grass", "all"),
        (VIT, "brick", "half"),
        pytest.param(VIT, "gravel", "all", marks=pytest.mark.slow),
    ],
    ids=["cnn-half", "cnn-all", "vit-half", "vit-all"],
)
def test_healthy_trials_raise_no_alarm(place: Place, backbone_section: Any, category: str, lock: str) -> None:
    """With the others 20: the frozen detector and four draws of the space."""
    spec = place.spec(backbone_section, lock)
    bench = place.bench(load(spec), spec, category)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for number in range(5):
        drawn = study.ask(list_distributions(spec.search.space)).params if number else None
        parameters = Parameters.from_suggested(drawn, 64) if drawn else None
        result = run(bench, parameters, seed=number)
        assert list(result.findings) == [], parameters
        assert np.isfinite(result.value)

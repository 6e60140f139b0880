"""Whole small trials: the same numbers, bit for bit, however the outputs of frozen blocks were come by."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from threadpoolctl import threadpool_limits

from anomalyvfm_opt.bench.backbones import load_backbone
from anomalyvfm_opt.bench.trial_run import run_trial
from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.demo import write_demo
from anomalyvfm_opt.data.layout import read_category
from anomalyvfm_opt.data.room import measure_outputs
from anomalyvfm_opt.data.sealed import read_sealed, write_sealed
from anomalyvfm_opt.data.split import divide
from anomalyvfm_opt.errors import EnvironmentMissingError
from anomalyvfm_opt.spec.model import Spec
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder
from anomalyvfm_opt.training.resume import Checkpoints
from anomalyvfm_opt.trial.outcome import InterruptedTrialError
from anomalyvfm_opt.trial.result import TrialRequest, TrialResult
from tests.integration.program import make_tiny
from tests.unit.bench.test_linted_trials import Silence, find, make_parameters

CATEGORY = "gravel"
VIT: dict[str, Any] = {
    "name": "test_vit.r160_in1k",
    "weights": "random",
    "decoder_blocks": [1],
    "patch_blocks": [-2, -1],
}
CASES: dict[str, dict[str, Any]] = {
    "cnn": {},
    "vit": {"backbone": VIT},
    "cnn, aspect kept": {"data": {"image_size_px": 64, "aspect": "keep"}},
    "vit in tiles, aspect kept": {
        "data": {"image_size_px": 80, "aspect": "keep", "tiles": {"size_px": 48, "overlap_px": 16}},
        "backbone": VIT,
    },
    "cnn in tiles": {"data": {"image_size_px": 96, "tiles": {"size_px": 64, "overlap_px": 32}}},
}
QUICK = ("cnn", "vit")  # the others are gone through by `make test-slow`


@dataclass
class Place:
    """A study's data, network and spec; benches on it differ in their cache alone."""

    data: Path
    spec: Spec

    def __post_init__(self) -> None:
        self.network = load_backbone(self.spec, torch.device("cpu"))

    def bench(self, cache: Path, max_bytes: int = 2**30, checkpoints: Checkpoints | None = None) -> Workbench:
        split = divide(read_category(self.data, CATEGORY), self.spec.data.lock)
        arrays = ArrayStore(cache, max_bytes)
        return Workbench(self.spec, split, "prefixed", self.network, arrays, checkpoints)

    def parameters(self, adapted_blocks: int | str) -> Parameters:
        size = self.spec.data.image_size_px
        return make_parameters(adapter="lora", adapted_blocks=adapted_blocks, epochs=2, image_size_px=size)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are no squares."""
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, image_size_px=64)
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            cropped = image.crop((0, 0, 64, 52))
        cropped.save(path)
    return folder


@pytest.fixture(
    scope="module", params=[pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
)
def place(request: pytest.FixtureRequest, data: Path) -> Place:
    return Place(data, Spec.model_validate(make_tiny("prefixed", **CASES[request.param])))


@pytest.fixture
def plain(data: Path) -> Place:
    return Place(data, Spec.model_validate(make_tiny("prefixed")))


def run(bench: Workbench, parameters: Parameters | None, progress: Silence | None = None) -> TrialResult:
    return run_trial(bench, TrialRequest(number=0, parameters=parameters, seed=7), progress or Silence())


def assert_equal(one: TrialResult, other: TrialResult) -> None:
    assert one.value == other.value
    assert one.metrics == other.metrics
    for name, scores in one.scores.items():
        assert np.array_equal(scores, other.scores[name]), name
    assert one.attributes["epoch_losses"] == other.attributes["epoch_losses"]
    assert one.attributes["objectives"] == other.attributes["objectives"]
    assert one.artifacts == other.artifacts


def describe(result: TrialResult) -> dict[str, Any]:
    assert result.findings == [] or set(find(result)) <= {"inverted", "flat_loss", "idle_adapter"}
    described: dict[str, Any] = result.attributes.get("prefix", {})
    return described


@pytest.mark.parametrize("adapted_blocks", [1, 2, "all", None], ids=lambda blocks: f"{blocks or 'none'} adapted")
def test_a_trial_has_the_same_numbers_without_a_store_cold_warm_and_without_room(
    place: Place, adapted_blocks: int | str | None, tmp_path: Path
) -> None:
    parameters = None if adapted_blocks is None else place.parameters(adapted_blocks)
    bare = run(place.bench(tmp_path / "none", max_bytes=0), parameters)
    bench = place.bench(tmp_path / "kept")
    n_files = measure_outputs(tmp_path / "kept")[0]
    cold, warm = run(bench, parameters), run(place.bench(tmp_path / "kept"), parameters)
    for each in (cold, warm, run(place.bench(tmp_path / "full", max_bytes=1), parameters)):
        assert_equal(each, bare)
        assert find(each) == find(bare)
        told = describe(each)
    if adapted_blocks == "all" and place.network.is_transformer:
        assert [describe(each) for each in (bare, cold, warm)] == [{}, {}, {}]
        return
    assert [describe(each)["store"] for each in (bare, cold, warm)] == ["none", "kept", "kept"]
    assert (told["store"], told["read"]) == ("full", 0)
    # the first block of an EfficientNet has no layer that can be adapted
    blocks = 1 if isinstance(adapted_blocks, str) else place.network.n_blocks - (adapted_blocks or 0)
    assert {describe(each)["blocks"] for each in (bare, cold, warm)} == {blocks}
    assert describe(bare)["read"] == 0
    if place.spec.data.tiles is None or parameters is None:
        assert describe(warm)["computed"] == 0
    else:  # random squares of the training are never seen again
        half = place.spec.training.batch_size // 2
        assert describe(warm)["computed"] <= 2 * place.spec.training.steps_per_epoch * half
    assert measure_outputs(tmp_path / "kept")[0] > n_files or parameters is None
    assert measure_outputs(tmp_path / "none") == measure_outputs(tmp_path / "full") == (0, 0)


def test_a_trial_that_goes_on_has_the_same_numbers_whatever_is_kept_by_then(place: Place, tmp_path: Path) -> None:
    """Its first epoch ran where nothing is kept, cold or warm, and the second where another thing is so."""

    class Interruption(Silence):
        steps = 0

        def begin_step(self) -> None:
            if self.steps == place.spec.training.steps_per_epoch:
                raise InterruptedTrialError(143)
            self.steps += 1

    parameters = place.parameters(2)
    whole = run(place.bench(tmp_path / "none", max_bytes=0), parameters)
    ways = [("none", 0, "cold", 2**30), ("warm", 2**30, "warm", 2**30), ("warm", 2**30, "none", 0)]
    for number, (before, room_before, after, room_after) in enumerate(ways):
        folder = CheckpointFolder(tmp_path / f"checkpoints-{number}")
        with pytest.raises(InterruptedTrialError):
            run(place.bench(tmp_path / before, room_before, folder), parameters, Interruption())
        result = run(place.bench(tmp_path / after, room_after, folder), parameters)
        assert result.attributes["resumed_from_epoch"] == [1]
        assert_equal(result, whole)


def test_outputs_that_are_others_are_found_out_by_the_linter(plain: Place, tmp_path: Path) -> None:
    """What is sealed rightly under a wrong name no seal can tell."""
    parameters = plain.parameters(2)
    sound = run(plain.bench(tmp_path), parameters)
    assert "prefix_differs" not in find(sound)
    bench = plain.bench(tmp_path)  # before the swap, for its own probe sees the frozen network by kept outputs too
    paths = sorted((tmp_path / "prefix").glob("*/*.npy"), key=lambda path: (path.stat().st_size, path))
    arrays = [read_sealed(path)[0] for path in paths]
    for number, path in enumerate(paths):
        near = (number + step for step in (1, -1))
        other = next(each for each in near if arrays[each % len(paths)].shape == arrays[number].shape)
        write_sealed(path, arrays[other % len(paths)], path.name)
    result = run(bench, parameters)
    assert find(result)["prefix_differs"] == "broken"
    (message,) = [finding.message for finding in result.findings if finding.check == "prefix_differs"]
    assert "remove the folder `prefix`" in message


@pytest.mark.parametrize("is_cut_short", [False, True], ids=["a trial that ends", "a trial that is given back"])
def test_what_a_network_gave_that_moved_is_not_kept(plain: Place, tmp_path: Path, is_cut_short: bool) -> None:
    """Or one fault of one worker would be in the scores of all others, for good."""

    class Interruption(Silence):
        def begin_step(self) -> None:
            if is_cut_short:
                raise InterruptedTrialError(143)

    def drift(module: Any, *_: Any) -> None:
        module.running_mean += 1e-6

    parameters, other = plain.parameters(1), plain.parameters(2)
    whole = run(plain.bench(tmp_path / "none", max_bytes=0), parameters)
    bench = plain.bench(tmp_path / "kept")
    run(bench, other)
    sound = measure_outputs(tmp_path / "kept")
    hook = plain.network.network.bn1.register_forward_hook(drift)
    try:
        assert find(run(bench, parameters, Interruption()))["frozen_moved"] == "broken"
    except InterruptedTrialError:
        with pytest.raises(EnvironmentMissingError, match="spoilt"):
            run(bench, parameters)
    hook.remove()
    assert measure_outputs(tmp_path / "kept") == sound
    fresh = Place(plain.data, plain.spec)
    assert_equal(run(fresh.bench(tmp_path / "kept"), parameters), whole)


def test_a_batch_that_matters_is_not_taken_for_a_store_that_differs(plain: Place, tmp_path: Path) -> None:
    block = plain.network.network.blocks[3]
    hook = block.register_forward_hook(lambda _m, _i, out: out - out.mean(dim=0, keepdim=True))
    try:
        found = find(run(plain.bench(tmp_path), plain.parameters(1)))
    finally:
        hook.remove()
    assert found["batch_dependence"] == "broken"
    assert "prefix_differs" not in found

"""Every kind of adapter, on a ViT and on a CNN: before, during and after its training."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import mean

import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.model.adapter_kinds import ADAPTER_KINDS, AdapterSettings
from anomalyvfm_opt.model.allocation import plan_allocation
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.dropout import SeededDropout, list_adapted_layers

KINDS = tuple(ADAPTER_KINDS)
BACKBONES = {
    "cnn": ("tf_efficientnet_lite0", "offline", (1, 2), (2, 3), 32),
    "vit": ("test_vit.r160_in1k", "random", (0, 1), None, 32),
}
SETTINGS = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention_mlp", adapted_blocks="all")
STEPS = 8


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(*BACKBONES[request.param])


@pytest.fixture
def unchanged(backbone: Backbone) -> Iterator[None]:
    """After a trial the network is bit for bit what it was, in every tensor, name and layout."""
    before = {name: (t.clone(), t.stride()) for name, t in backbone.network.state_dict().items()}
    types = [type(module) for module in backbone.network.modules()]
    frozen = look(Detector(backbone))
    yield
    after = backbone.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], t) and after[name].stride() == s for name, (t, s) in before.items())
    assert [type(module) for module in backbone.network.modules()] == types
    assert torch.equal(look(Detector(backbone)), frozen)
    assert not any(p.requires_grad for p in backbone.network.parameters())
    assert not any(module.training for module in backbone.network.modules())


def draw_images() -> Tensor:
    return torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def look(detector: Detector) -> Tensor:
    """All that distances are measured on, in one vector."""
    output = detector(draw_images())
    return torch.cat([output.patches.flatten(), output.pooled.flatten()])


def train(detector: Detector, steps: int = STEPS) -> None:
    """The training loop's steps, towards maps of another level."""
    optimizer = torch.optim.AdamW(detector.adapter_parameters() + detector.head_parameters(), lr=1e-2)
    detector.train()
    for _ in range(steps):
        output = detector(draw_images())
        assert output.heads is not None
        loss = (output.heads.mask_logit - 1).square().mean() + (output.pooled - 1).square().mean()
        (loss + detector.allocation.penalty()).backward()
        optimizer.step()
        detector.allocation.finish_step()
        optimizer.zero_grad()
    detector.eval()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_nothing_then_something_then_merged_and_then_gone(backbone: Backbone, kind: str) -> None:
    frozen = look(Detector(backbone))
    with build_detector(backbone, replace(SETTINGS, kind=kind), seed=1, steps=STEPS) as detector:
        start = look(detector)
        if kind == "dora":  # it divides by a norm and multiplies with it again
            torch.testing.assert_close(start, frozen, rtol=1e-4, atol=1e-4)
        else:
            assert torch.equal(start, frozen)
        train(detector)
        trained = look(detector)
        assert (trained - frozen).norm() > 1e-3 * frozen.norm()
        with detector.peft_model.disable_adapter():
            assert torch.equal(look(detector), frozen)
        assert detector.adapter is not None
        with detector.adapter.merged():
            merged = look(detector)
            assert not torch.equal(merged, frozen)
            assert (merged - trained).abs().max() < 1e-4 * trained.abs().max()
        assert torch.equal(look(detector), trained)


@pytest.mark.usefixtures("unchanged")
def test_a_merge_that_is_left_by_an_error_leaves_no_trace(backbone: Backbone) -> None:
    def stop() -> None:
        with build_detector(backbone, SETTINGS, seed=1) as detector:
            train(detector, 2)
            assert detector.adapter is not None
            with detector.adapter.merged():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()


def break_midway(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Let an insertion fail: inside peft, after three of its layers, or in one of our own steps after it."""
    from peft.tuners.tuners_utils import BaseTuner

    calls: list[None] = []
    mark = BaseTuner._check_target_module_exists

    def fail(*_: object) -> None:
        raise RuntimeError("no more")

    def fail_later(*arguments: object) -> object:
        found = mark(*arguments)
        calls.extend([None] * bool(found))
        return found if len(calls) < 4 else fail()

    if place == "peft":
        monkeypatch.setattr(BaseTuner, "_check_target_module_exists", staticmethod(fail_later))
    else:
        monkeypatch.setattr(place, fail)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "place",
    [
        "peft",
        "anomalyvfm_opt.model.adapter_kinds.nn.init.orthogonal_",
        "anomalyvfm_opt.model.adapter.insert_dropout",
    ],
)
def test_an_adapter_that_cannot_be_put_in_leaves_no_trace(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Else the next trial finds the backbone spoilt, and the worker stops."""
    settings = replace(SETTINGS, kind="adalora", dropout=0.1)
    with monkeypatch.context() as broken:
        break_midway(broken, place)
        with pytest.raises(RuntimeError, match="no more"), build_detector(backbone, settings, seed=1, steps=STEPS):
            pass
    assert backbone.list_moved() == []
    with build_detector(backbone, settings, seed=1, steps=STEPS) as detector:
        train(detector)


@pytest.mark.parametrize("steps", [2, 3, 5, 20])
def test_the_ranks_of_adalora_meet_the_budget(backbone: Backbone, steps: int) -> None:
    with build_detector(backbone, replace(SETTINGS, kind="adalora"), seed=1, steps=steps) as detector:
        n = len(list_adapted_layers(backbone.network))
        assert sum(detector.allocation.final_ranks().values()) == 6 * n
        train(detector, steps)
        ranks = detector.allocation.final_ranks()
        assert len(ranks) == n
        assert sum(ranks.values()) == 4 * n
        assert all(0 <= rank <= 6 for rank in ranks.values())
        for name, rank in ranks.items():
            assert backbone.network.get_submodule(name).lora_E["default"].count_nonzero() == rank
        if steps == 20:
            assert len(set(ranks.values())) > 1  # they did move


@pytest.mark.parametrize(("steps", "rank"), [(1, 4), (8, 16)])
def test_adalora_without_anything_to_allocate_keeps_its_rank(backbone: Backbone, steps: int, rank: int) -> None:
    """One step is too few to weigh and prune; 16 is the smallest side of the CNN's layers, 64 of the ViT's."""
    rank = 64 if backbone.is_transformer and rank == 16 else rank
    with build_detector(backbone, replace(SETTINGS, kind="adalora", rank=rank), seed=1, steps=steps) as detector:
        train(detector, steps)
        assert set(detector.allocation.final_ranks().values()) == {rank}


def test_adalora_learns_as_fast_as_lora(backbone: Backbone) -> None:
    """peft's own start moves the weights a tenth as far in so many steps (docs/decisions/0015)."""
    sizes = {}
    for kind in ("lora", "adalora"):
        with build_detector(backbone, replace(SETTINGS, kind=kind), seed=1, steps=20) as detector:
            rate = detector.allocation.scale_learning_rate
            groups = [{"params": [p], "lr": 1e-3 * rate(p)} for p in detector.adapter_parameters()]
            optimizer = torch.optim.AdamW(groups)
            for _ in range(20):
                optimizer.zero_grad()
                detector(draw_images()).pooled.square().mean().backward()
                optimizer.step()
                detector.allocation.finish_step()
            assert detector.adapter is not None
            sizes[kind] = mean(detector.adapter.measure_updates().values())
    assert 0.3 < sizes["adalora"] / sizes["lora"] < 3


def test_adalora_begins_with_what_its_penalty_asks_for(backbone: Backbone) -> None:
    with build_detector(backbone, replace(SETTINGS, kind="adalora"), seed=1, steps=STEPS) as detector:
        assert detector.allocation.penalty().item() == pytest.approx(0, abs=1e-5)


def test_more_steps_than_planned_are_an_error(backbone: Backbone) -> None:
    settings = replace(SETTINGS, kind="adalora")
    with (
        build_detector(backbone, settings, seed=1, steps=3) as detector,
        pytest.raises(ValueError, match="3 steps"),
    ):
        train(detector, 4)


def test_every_number_of_steps_has_a_plan() -> None:
    for steps in range(400):
        plan = plan_allocation(rank=8, alpha_ratio=2.0, smallest_side=384, steps=steps)
        assert plan["tinit"] < plan["total_step"] - plan["tfinal"]  # as peft asks
        assert plan["init_r"] == (12 if steps >= 2 else 8)
        assert plan["lora_alpha"] / plan["init_r"] == 2.0
        if steps >= 10:
            assert plan["total_step"] - plan["tfinal"] - plan["tinit"] >= steps // 2  # half of them allocate


def test_the_penalty_of_adalora_is_what_peft_adds_to_a_loss_of_the_model(backbone: Backbone) -> None:
    """peft adds it where a model's output has a loss, as ours has not."""

    class Output:
        def __init__(self) -> None:
            self.loss = torch.zeros(())

    with build_detector(backbone, replace(SETTINGS, kind="adalora"), seed=1, steps=STEPS) as detector:
        tuner = detector.peft_model.base_model
        forward = tuner.model.forward
        try:
            tuner.model.forward = Output
            expected = tuner.forward().loss
        finally:
            tuner.model.forward = forward
        assert expected > 0
        torch.testing.assert_close(detector.allocation.penalty(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_in_training_only_and_nothing_else_is_in_train_mode(backbone: Backbone, kind: str) -> None:
    settings = replace(SETTINGS, kind=kind, dropout=0.5)
    with build_detector(backbone, settings, seed=1, steps=STEPS) as detector:
        train(detector)
        assert torch.equal(look(detector), look(detector))
        detector.train()
        assert not torch.equal(look(detector), look(detector))
        training = [module for module in backbone.network.modules() if module.training]
        dropouts = [module for module in training if isinstance(module, SeededDropout)]
        assert len(dropouts) == len(list_adapted_layers(backbone.network))
        assert {id(m) for m in training} == {id(m) for m in dropouts + list_adapted_layers(backbone.network)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_draws_of_dropout_come_from_the_seed_alone(backbone: Backbone, kind: str) -> None:
    def run(seed: int, noise: int) -> Tensor:
        torch.manual_seed(noise)
        before = torch.random.get_rng_state()
        settings = replace(SETTINGS, kind=kind, dropout=0.3)
        with build_detector(backbone, settings, seed, steps=STEPS) as detector:
            train(detector, 3)
            assert torch.equal(torch.random.get_rng_state(), before)
            return look(detector)

    assert torch.equal(run(1, 10), run(1, 11))
    assert not torch.equal(run(1, 10), run(2, 10))


def test_dropout_keeps_the_mean() -> None:
    dropout = SeededDropout(0.3, torch.Generator().manual_seed(0))
    x = torch.ones(200, 200)
    dropped = dropout(x)
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert dropout.eval()(x) is x

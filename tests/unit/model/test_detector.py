from dataclasses import replace
from typing import Any

import pytest
import torch

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.model.adapter import list_targets, match_targets
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector

CNN = ("tf_efficientnet_lite0", "offline", (1, 2, 3), None, 64)
VIT = ("vit_tiny_patch16_224", "random", (5, 11), None, 64)
LORA = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks="all")


@pytest.fixture(scope="module", params=[CNN, VIT], ids=["cnn", "vit"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(*request.param)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def state_of(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}


def test_offline_weights_classify_like_imagenet() -> None:
    """A picture of a cat's features must differ from noise far more than with random weights."""
    real, random = Backbone(*CNN), Backbone(CNN[0], "random", *CNN[2:])
    assert real.weights_sha256 != random.weights_sha256
    assert random.is_random
    assert not real.is_random
    assert Backbone(CNN[0], "random", *CNN[2:]).weights_sha256 == random.weights_sha256


def test_patches_have_the_finest_grid(backbone: Backbone, images: torch.Tensor) -> None:
    features = backbone.features(backbone.normalise(images))
    side = 16 if not backbone.is_transformer else 4
    assert features.decoder.shape == (3, backbone.map_channels, side, side)
    assert features.pooled.shape == (3, backbone.pooled_channels)


def test_patch_blocks_have_a_grid_of_their_own(images: torch.Tensor) -> None:
    backbone = Backbone("tf_efficientnet_lite0", "offline", (1, 2), (3, 4), 64)
    features = backbone.features(backbone.normalise(images))
    assert features.patches.shape == (3, 112 + 320, 4, 4)
    assert features.decoder.shape == (3, 24 + 40, 16, 16)
    assert features.pooled.shape == (3, 112 + 320)
    assert backbone.n_blocks == 7


def test_step_zero_equals_the_frozen_model(backbone: Backbone, images: torch.Tensor) -> None:
    frozen = Detector(backbone)(images)
    for kind in ("lora", "rslora", "dora", "adalora"):
        with build_detector(backbone, replace(LORA, kind=kind), seed=1) as detector:
            adapted = detector(images)
            torch.testing.assert_close(adapted.patches, frozen.patches, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(adapted.pooled, frozen.pooled, rtol=1e-4, atol=1e-4)


def test_the_backbone_is_as_before_after_a_trial(backbone: Backbone, images: torch.Tensor) -> None:
    before, frozen = state_of(backbone), Detector(backbone)(images)
    with build_detector(backbone, LORA, seed=1) as detector:
        optimizer = torch.optim.SGD(detector.adapter_parameters() + detector.head_parameters(), lr=1.0)
        for _ in range(2):  # B is zero at first, so A gets a gradient only in the second step
            output = detector.train()(images)
            assert output.heads is not None
            (output.heads.mask_logit.square().mean() + output.pooled.mean()).backward()
            optimizer.step()
        assert not torch.equal(detector(images).patches, frozen.patches)
        with detector.peft_model.disable_adapter():
            torch.testing.assert_close(detector(images).patches, frozen.patches, rtol=0, atol=0)
    after = state_of(backbone)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(p.requires_grad for p in backbone.network.parameters())


def test_only_the_adapter_of_the_last_blocks_can_learn(backbone: Backbone) -> None:
    with build_detector(backbone, replace(LORA, adapted_blocks=2), seed=1) as detector:
        names = [name for name, p in backbone.network.named_parameters() if p.requires_grad]
        assert names
        assert all("lora_" in name for name in names)
        last_two = {f"blocks.{backbone.n_blocks - 2}.", f"blocks.{backbone.n_blocks - 1}."}
        assert {f"blocks.{name.split('.')[1]}." for name in names} == last_two
        assert len(detector.adapter_parameters()) == len(names)


def test_the_network_stays_in_eval_mode_while_heads_train(backbone: Backbone) -> None:
    with build_detector(backbone, LORA, seed=1) as detector:
        detector.train()
        assert not any(module.training for module in backbone.network.modules())


def test_targets_leave_the_patch_embedding_alone() -> None:
    backbone = Backbone(*VIT)
    names = list_targets(backbone.network, match_targets(backbone, "attention_mlp", 4))
    assert len(names) == 4 * 4
    assert not any("patch_embed" in name for name in names)


def test_a_cnn_gains_expanding_convolutions_with_the_mlp() -> None:
    backbone = Backbone(*CNN)
    few = list_targets(backbone.network, match_targets(backbone, "attention", 2))
    more = list_targets(backbone.network, match_targets(backbone, "attention_mlp", 2))
    assert set(few) < set(more)


def test_seeds_decide_adapter_and_heads(backbone: Backbone) -> None:
    def draw(seed: int) -> list[torch.Tensor]:
        with build_detector(backbone, LORA, seed) as detector:
            return [p.detach().clone() for p in detector.adapter_parameters() + detector.head_parameters()]

    first, again, other = draw(1), draw(1), draw(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("no_such_net", "random", (0,), None, 64), UsageError, "no model 'no_such_net'"),
        (("vit_tiny_patch16_224", "offline", (0,), None, 64), UsageError, "no weights for"),
        (("vit_tiny_patch16_224", "random", (12,), None, 64), UsageError, "12 is not among the 12 blocks"),
        (("resnet18", "random", (1,), None, 64), UsageError, "no blocks"),
        (
            ("vit_tiny_patch16_224", "/no/where.safetensors", (0,), None, 64),
            EnvironmentMissingError,
            "no such file",
        ),
    ],
)
def test_mistakes_in_the_backbone_are_named(arguments: tuple[Any, ...], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        Backbone(*arguments)

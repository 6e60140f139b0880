"""What a backbone cannot give is known before it is loaded."""

from typing import Any

import pytest
import torch

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model import measurement, outlines
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.limits import find_limits_problems
from anomalyvfm_opt.spec.model import Spec

CNN = {"name": "tf_efficientnet_lite0", "weights": "offline", "decoder_blocks": [1, 2, 3], "patch_blocks": [2, 3]}
VIT = {"name": "vit_tiny_patch16_224", "weights": "random"}
OFFLINE_VIT = {"weights": "offline", "decoder_blocks": [5, 8, 11]}
DINO = {"name": "vit_base_patch14_dinov2.lvd142m"}


def make_spec(backbone: dict[str, Any], data: dict[str, Any] | None = None, **space: Any) -> Spec:
    return Spec.model_validate(
        {
            "name": "x",
            "data": {"image_size_px": 448, "lock": "half", **(data or {})},
            "backbone": backbone,
            "search": {"trials": 5, "space": space},
        }
    )


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            make_spec({"name": "vit_bse_patch14_dinov2.lvd142m"}),
            "backbone.name: timm has no model 'vit_bse_patch14_dinov2.lvd142m';"
            " did you mean 'vit_base_patch14_dinov2.lvd142m'?",
        ),
        (
            make_spec({"name": "vit_base_patch14_dinov2.lvd142"}),
            "backbone.name: timm has no model 'vit_base_patch14_dinov2.lvd142';"
            " did you mean 'vit_base_patch14_dinov2.lvd142m'?",
        ),
        (make_spec({"name": "zzzzzz"}), "backbone.name: timm has no model 'zzzzzz'"),
        (
            make_spec({"name": "resnet18"}),
            "backbone.name: 'resnet18' has no blocks that can be adapted"
            " (use a ViT (DINOv2, DINOv3, SigLIP 2, ...) or an EfficientNet-like CNN of timm)",
        ),
        (
            make_spec({**VIT, "weights": "offline"}),
            "backbone.weights: offline has no weights for 'vit_tiny_patch16_224',"
            " only for 'tf_efficientnet_lite0' and 'vit_small_patch14_dinov2.lvd142m';"
            " use pretrained, or the path of a safetensors file",
        ),
        (
            make_spec(VIT, image_size_px=[448, 100]),
            "search.space.image_size_px.1: 100 is not a multiple of the patch size 16; use 96 or 112",
        ),
        (
            make_spec(
                CNN,
                {"image_size_px": 100, "tiles": {"size_px": 100}},
                rank=[4],
                image_size_px=[100, 200],
            ),
            "data.tiles: tiles of 100 px every 100 px do not fit this backbone, whose maps have cells of 8 px;"
            " make size_px and overlap_px multiples of 8",
        ),
        (
            make_spec({**VIT, "decoder_blocks": [3, 12]}),
            "backbone.decoder_blocks.1: block 12 is not among the 12 blocks of vit_tiny_patch16_224",
        ),
        (
            make_spec({**CNN, "patch_blocks": [-6]}, rank=[4]),
            "backbone.patch_blocks.0: block -6 is not among the 5 blocks of tf_efficientnet_lite0",
        ),
        (
            make_spec(DINO, {"image_size_px": 500}),
            "data.image_size_px: 500 is not a multiple of the patch size 14; use 490 or 504",
        ),
        (
            make_spec(DINO, {"image_size_px": 1000, "tiles": {"size_px": 500}}),
            "data.tiles.size_px: 500 is not a multiple of the patch size 14; use 490 or 504",
        ),
        (
            make_spec(DINO, {"image_size_px": 1026, "tiles": {"size_px": 518, "overlap_px": 10}}),
            "data.tiles: tiles of 518 px every 508 px do not fit this backbone, whose maps have cells of 14 px;"
            " make size_px and overlap_px multiples of 14",
        ),
        (
            make_spec(CNN, {"image_size_px": 500, "tiles": {"size_px": 100}}, rank=[4]),
            "data.tiles: tiles of 100 px every 100 px do not fit this backbone, whose maps have cells of 8 px;"
            " make size_px and overlap_px multiples of 8",
        ),
        (
            make_spec(VIT, rank=[8, 193]),
            "search.space.rank.1: rank 193 is larger than the smallest layer that can be adapted,"
            " blocks.0.attn.qkv of vit_tiny_patch16_224 with 192 channels; use ranks up to 192",
        ),
        (
            make_spec(CNN, rank=[16, 17]),
            "search.space.rank.1: rank 17 is larger than the smallest layer that can be adapted,"
            " blocks.0.0.conv_pw of tf_efficientnet_lite0 with 16 channels; use ranks up to 16",
        ),
        (
            make_spec(CNN),
            "search.space.rank: of its default, 32, 64 are larger than the smallest layer that can be adapted,"
            " blocks.0.0.conv_pw of tf_efficientnet_lite0 with 16 channels; give a list, such as [2, 4, 8, 16]",
        ),
    ],
)
def test_what_a_backbone_cannot_give_is_named(spec: Spec, problem: str) -> None:
    assert [str(found) for found in find_limits_problems(spec)] == [problem]


def test_all_is_named_at_once() -> None:
    spec = make_spec({**DINO, "weights": "offline", "decoder_blocks": [12, 13]}, {"image_size_px": 500})
    paths = [found.path for found in find_limits_problems(spec)]
    assert paths == [
        ("backbone", "weights"),
        ("backbone", "decoder_blocks", 0),
        ("backbone", "decoder_blocks", 1),
        ("data", "image_size_px"),
    ]


@pytest.mark.parametrize(
    ("space", "limit"),
    [
        ({"targets": ["attention"], "adapted_blocks": ["all"]}, 24),  # conv_pwl of stages 1-4: 24, 40, 80, 112
        ({"targets": ["attention"], "adapted_blocks": [2]}, 80),
        ({"targets": ["attention"], "adapted_blocks": [1, 2, 3]}, 40),
        ({"targets": ["attention", "attention_mlp"], "adapted_blocks": [2, "all"]}, 16),
    ],
)
def test_the_limit_is_that_of_the_widest_choice(space: dict[str, Any], limit: int) -> None:
    assert find_limits_problems(make_spec(CNN, rank=[limit], **space)) == []
    assert len(find_limits_problems(make_spec(CNN, rank=[limit + 1], **space))) == 1


@pytest.mark.parametrize(
    "spec",
    [
        make_spec(DINO, {"image_size_px": 518}),
        make_spec(DINO, {"image_size_px": 2072, "aspect": "keep", "tiles": {"size_px": 518}}),
        make_spec(DINO, {"image_size_px": 2030, "tiles": {"size_px": 518, "overlap_px": 14}}),
        make_spec({**VIT, "decoder_blocks": [-12, 11]}, {"image_size_px": 64}),
        make_spec({**OFFLINE_VIT, "name": "vit_small_patch14_dinov2.lvd142m"}),
        make_spec({**OFFLINE_VIT, "name": "vit_small_patch14_dinov2"}),
        make_spec(CNN, {"image_size_px": 97}, rank=[2, 16]),
        make_spec(CNN, {"image_size_px": 97}, rank=[2, 16], image_size_px=[33, 97]),
        make_spec(VIT, {"image_size_px": 64}, image_size_px=[96, 64]),
    ],
)
def test_a_backbone_that_gives_all_is_not_complained_about(spec: Spec) -> None:
    assert find_limits_problems(spec) == []


@pytest.mark.parametrize(
    "spec",
    [
        make_spec({**VIT, "decoder_blocks": [12]}, {"image_size_px": 64}),
        make_spec(VIT, {"image_size_px": 100}),
        make_spec({"name": "resnet18", "weights": "random"}),
        make_spec({"name": "no_such_net", "weights": "random"}),
        make_spec({**VIT, "weights": "offline"}),
    ],
)
def test_the_backbone_itself_refuses_what_is_named(spec: Spec) -> None:
    section = spec.backbone
    assert find_limits_problems(spec)
    with pytest.raises(UsageError):
        Backbone(section.name, section.weights, section.decoder_blocks, None, spec.data.input_size_px)


def test_no_weights_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A giant of 1.1 billion parameters costs 4.5 GB in memory, and nothing without."""
    built: list[Any] = []
    build = measurement.build_network
    monkeypatch.setattr(outlines, "_read_shipped", dict)
    monkeypatch.setattr(
        measurement, "build_network", lambda *arguments: built.append(build(*arguments)) or built[-1]
    )
    giant = {"name": "vit_giant_patch14_dinov2.lvd142m"}
    assert find_limits_problems(make_spec(giant)) == []
    (network,) = built
    assert sum(parameter.numel() for parameter in network.parameters()) > 1e9
    assert {parameter.device for parameter in network.parameters()} == {torch.device("meta")}


def test_the_random_state_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_read_shipped", dict)
    before = torch.random.get_rng_state()
    find_limits_problems(make_spec(DINO))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_references_that_cannot_be_run_are_found_although_the_space_could_be() -> None:
    """Stage 0 has no projecting convolution: nothing for v1.1's attention there."""
    backbone = {**CNN, "decoder_blocks": [0], "patch_blocks": [0]}
    spec = make_spec(backbone, targets=["attention_mlp"], rank=[4])
    (problem,) = find_limits_problems(spec)
    assert problem.path == ("references",)
    assert "v1.1 cannot be run" in problem.message
    assert find_limits_problems(spec.model_copy(update={"references": ("frozen",)})) == []

"""One model of each family that the program claims to adapt, with random weights."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.model.adapter import list_targets, match_targets
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.network import build_network

ATTENTION = ("attn.qkv", "attn.proj")
MLP = ("mlp.fc1", "mlp.fc2")
GATED_MLP = ("mlp.fc1_g", "mlp.fc1_x", "mlp.fc2")


@dataclass(frozen=True)
class Family:
    name: str
    size_px: int
    patch_px: int
    width: int
    n_prefix: int
    has_class_token: bool = True
    mlp: tuple[str, ...] = MLP


FAMILIES = {
    "vit": Family("vit_tiny_patch16_224", 64, 16, 192, 1),
    "dinov2": Family("vit_small_patch14_dinov2.lvd142m", 56, 14, 384, 1),
    "dinov2-registers": Family("vit_small_patch14_reg4_dinov2.lvd142m", 56, 14, 384, 5),
    "dinov3": Family("vit_small_patch16_dinov3.lvd1689m", 64, 16, 384, 5),
    "dinov3-plus": Family("vit_small_plus_patch16_dinov3.lvd1689m", 64, 16, 384, 5, mlp=GATED_MLP),
    "dinov3-biases": Family("vit_tiny_patch16_dinov3_qkvb.eupe_lvd1689m", 64, 16, 192, 5),
    "siglip2": Family("vit_base_patch32_siglip_256.v2_webli", 64, 32, 768, 0, has_class_token=False),
    "eva02": Family("eva02_tiny_patch14_224.mim_in22k", 56, 14, 192, 1),
    "register-only": Family("test_vit3.r160_in1k", 64, 16, 96, 1, has_class_token=False),
}


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> tuple[Family, Backbone]:
    family = FAMILIES[request.param]
    return family, Backbone(family.name, "random", (-2,), (-2, -1), family.size_px)


def draw_images(family: Family) -> Tensor:
    shape = (2, family.size_px, family.size_px, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_maps_hold_one_cell_a_patch_and_no_prefix_token(case: tuple[Family, Backbone]) -> None:
    family, backbone = case
    x = backbone.normalise(draw_images(family))
    with torch.no_grad():
        features, tokens = backbone.features(x), backbone.network.forward_features(x)
    side, network = family.size_px // family.patch_px, backbone.network
    assert network.num_prefix_tokens == family.n_prefix
    assert features.decoder.shape == (2, family.width, side, side)
    assert features.patches.shape == (2, 2 * family.width, side, side)
    assert tokens.shape == (2, family.n_prefix + side * side, family.width)
    last = features.patches[:, family.width :]
    torch.testing.assert_close(last.flatten(2).mT, tokens[:, family.n_prefix :])
    pooled = tokens[:, 0] if family.has_class_token else features.patches.mean(dim=(2, 3))
    torch.testing.assert_close(features.pooled, pooled)
    assert (backbone.map_channels, backbone.pooled_channels) == (family.width, pooled.shape[1])
    assert backbone.n_blocks == len(network.blocks)


def test_a_changed_patch_moves_its_own_cell_most(case: tuple[Family, Backbone]) -> None:
    family, backbone = case
    plain, changed = torch.full((2, 1, family.size_px, family.size_px, 3), 128, dtype=torch.uint8)
    row, column = 0, 1
    corner = slice(row * family.patch_px, (row + 1) * family.patch_px), slice(family.patch_px, 2 * family.patch_px)
    changed[:, corner[0], corner[1]] = 255
    with torch.no_grad():
        maps = [backbone.features(backbone.normalise(images)).decoder[0] for images in (plain, changed)]
    moved = (maps[1] - maps[0]).norm(dim=0)
    assert divmod(int(moved.argmax()), moved.shape[1]) == (row, column)


@pytest.mark.parametrize(
    ("kind", "targets"),
    [(kind, "attention_mlp") for kind in ("rslora", "dora", "adalora")] + [("lora", "attention")],
)
def test_an_adapter_starts_at_zero_learns_everywhere_and_leaves_no_trace(
    case: tuple[Family, Backbone], kind: str, targets: str
) -> None:
    family, backbone = case
    network, images = backbone.network, draw_images(family)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    frozen = Detector(backbone)(images)
    n = backbone.n_blocks
    expected = {
        f"blocks.{block}.{inner}"
        for block in (n - 2, n - 1)
        for inner in (*ATTENTION, *(family.mlp if targets == "attention_mlp" else ()))
    }
    with build_detector(
        backbone, AdapterSettings(kind=kind, rank=2, alpha=4.0, targets=targets, adapted_blocks=2), seed=1
    ) as detector:
        learned = {name for name, p in network.named_parameters() if p.requires_grad}
        assert {name.split(".lora_")[0] for name in learned} == expected
        output = detector(images)
        tolerance = 1e-4 if kind == "dora" else 0.0  # DoRA divides by a norm and multiplies with it again
        torch.testing.assert_close(output.patches, frozen.patches, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(output.pooled, frozen.pooled, rtol=tolerance, atol=tolerance)
        (output.patches.square().mean() + output.pooled.square().mean()).backward()
        first = "lora_E" if kind == "adalora" else "lora_B"  # the others' gradients are zero as long as it is zero
        for name, p in network.named_parameters():
            assert (p.grad is not None) == (name in learned), name
            if first in name:
                assert p.grad.abs().sum() > 0, name
    after = network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    again = Detector(backbone)(images)
    assert torch.equal(again.patches, frozen.patches)
    assert torch.equal(again.pooled, frozen.pooled)


@pytest.mark.parametrize(
    ("name", "mlp"),
    [
        ("vit_giant_patch14_dinov2.lvd142m", MLP),
        ("vit_giant_patch14_reg4_dinov2.lvd142m", MLP),
        ("vit_7b_patch16_dinov3.lvd1689m", GATED_MLP),
        ("vit_so400m_patch14_siglip_224.v2_webli", MLP),
        ("aimv2_large_patch14_224.apple_pt", GATED_MLP),
    ],
)
def test_giants_have_their_layers_where_the_others_have_them(name: str, mlp: tuple[str, ...]) -> None:
    with torch.device("meta"):
        network = build_network(name, {"img_size": 224})
    n = len(network.blocks)
    outline: Any = SimpleNamespace(name=name, network=network, n_blocks=n, is_transformer=True)
    found = list_targets(network, match_targets(outline, "attention_mlp", 1))
    assert set(found) == {f"blocks.{n - 1}.{inner}" for inner in (*ATTENTION, *mlp)}


@pytest.mark.parametrize(
    "name",
    [
        "convnext_tiny.dinov3_lvd1689m",
        "hiera_tiny_224",
        "swin_tiny_patch4_window7_224",
        "cait_xxs24_224",
        "resnet18",
    ],
)
def test_families_without_blocks_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}' has no blocks that can be adapted") as caught:
        Backbone(name, "pretrained", (-1,), None, 224)  # before anything is fetched
    assert "DINOv2, DINOv3, SigLIP 2" in caught.value.hint


def test_layers_of_another_name_are_refused() -> None:
    backbone = Backbone("test_vit", "random", (-1,), None, 32)
    for block in backbone.network.blocks:
        block.mlp.first = block.mlp.fc1
        block.mlp.second = block.mlp.fc2
        del block.mlp.fc1, block.mlp.fc2
    assert len(list_targets(backbone.network, match_targets(backbone, "attention", 1))) == 2
    with pytest.raises(UsageError, match="test_vit has no MLP"):
        match_targets(backbone, "attention_mlp", 1)


@pytest.mark.parametrize(
    ("size_px", "advice"), [(65, "use 64 or 80"), (10, "use 16")], ids=["between two multiples", "below one patch"]
)
def test_an_input_that_patches_do_not_cover_is_refused(size_px: int, advice: str) -> None:
    words = rf"input of {size_px} px \(data.image_size_px, or data.tiles.size_px with tiles\).*patch size 16"
    with pytest.raises(UsageError, match=words) as caught:
        Backbone("test_vit", "random", (-1,), None, size_px)
    assert caught.value.hint == advice

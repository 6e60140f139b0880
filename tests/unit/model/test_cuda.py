"""What only a GPU can show: bfloat16 autocast, and too little memory."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.model.adapter import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

SETTINGS = AdapterSettings("lora", rank=4, alpha=8.0, targets="attention_mlp", adapted_blocks=2)


def draw_images(n: int = 4) -> Tensor:
    return torch.randint(0, 256, (n, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def open_backbone(name: str, device: str) -> Backbone:
    return Backbone(name, "random", (-2,), (-2, -1), 64, device)


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "vit_tiny_patch16_dinov3_qkvb", "tf_efficientnet_lite0"],
)
def test_bfloat16_on_the_gpu_is_close_to_float32_on_the_cpu(name: str) -> None:
    images = draw_images()
    outputs = []
    for device in ("cpu", "cuda"):
        backbone = open_backbone(name, device)
        with build_detector(backbone, SETTINGS, seed=1) as detector, torch.no_grad():
            outputs.append(detector(images))
    cpu, gpu = outputs
    for field in ("patches", "pooled", "image_logit", "mask_logit", "confidence"):
        exact, rounded = getattr(cpu, field), getattr(gpu, field).cpu()
        assert rounded.dtype == torch.float32
        assert rounded.isfinite().all(), field
        assert (rounded - exact).norm() < 0.05 * exact.norm() + 1e-3, field


def test_a_step_on_the_gpu_reaches_adapter_and_heads_in_float32() -> None:
    backbone = open_backbone("vit_tiny_patch16_224", "cuda")
    with build_detector(backbone, SETTINGS, seed=1) as detector:
        output = detector.train()(draw_images())
        assert output.mask_logit is not None
        assert output.image_logit is not None
        assert output.confidence is not None
        parts = (output.mask_logit, output.image_logit, output.confidence)
        torch.stack([part.square().mean() for part in parts]).sum().backward()
        for p in (*detector.adapter_parameters(), *detector.head_parameters()):
            assert p.dtype == torch.float32
            assert p.grad is not None
            assert p.grad.isfinite().all()


def test_weights_hash_equally_on_every_device() -> None:
    hashes = {open_backbone("vit_tiny_patch16_224", device).weights_sha256 for device in ("cpu", "cuda")}
    assert len(hashes) == 1


@pytest.fixture
def small_memory() -> Iterator[None]:
    """A GPU of which this process may use next to nothing more than it has."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 256 * 2**20) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("small_memory")
def test_too_many_images_raise_the_error_that_a_trial_understands() -> None:
    detector = Detector(open_backbone("vit_tiny_patch16_224", "cuda"))
    with pytest.raises(torch.OutOfMemoryError), torch.no_grad():
        detector(draw_images(8192))
    with torch.no_grad():
        assert detector(draw_images()).patches.isfinite().all()  # and the next trial can run

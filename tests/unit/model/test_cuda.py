"""What only a GPU can show: bfloat16 autocast, memory formats, too little memory, a context that is broken."""

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.features import extract_features
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.model.memory import ShrinkingBatch, TrialMemory
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

SETTINGS = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention_mlp", adapted_blocks=2)


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
    named = [{"patches": o.patches, "pooled": o.pooled, **vars(o.heads)} for o in (cpu, gpu)]
    for field, exact in named[0].items():
        rounded = named[1][field].cpu()
        assert rounded.dtype == torch.float32
        assert rounded.isfinite().all(), field
        assert (rounded - exact).norm() < 0.05 * exact.norm() + 1e-3, field


def test_a_step_on_the_gpu_reaches_adapter_and_heads_in_float32() -> None:
    backbone = open_backbone("vit_tiny_patch16_224", "cuda")
    with build_detector(backbone, SETTINGS, seed=1) as detector:
        output = detector.train()(draw_images())
        assert output.heads is not None
        torch.stack([part.square().mean() for part in vars(output.heads).values()]).sum().backward()
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


def make_frames(n: int, side: int = 64) -> Frames:
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return Frames(pixels, np.full((n, 2), side), Geometry.square(side))


@pytest.mark.usefixtures("small_memory")
def test_training_and_scoring_take_fewer_images_at_once_until_they_fit() -> None:
    frames = make_frames(4096)
    masks = (frames.pixels[..., 0] > 200).astype(np.uint8)
    backbone = open_backbone("vit_tiny_patch16_224", "cuda")
    memory = TrialMemory.begin(4096, 4096, backbone.device)
    schedule = Schedule(
        epochs=1,
        steps_per_epoch=2,
        batch_size=4096,
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        warmup_steps=1,
        weight_decay=0.01,
        seed=3,
    )
    with build_detector(backbone, SETTINGS, 1, schedule.steps) as detector:
        images = TrainingSet(frames, frames.pixels, masks)
        losses = finetune(detector, images, schedule, lambda *_: None, micro_batch=memory.micro_batch)
        scored = list(extract_features(detector, frames, memory.scoring_batch).batches)
    assert np.isfinite(losses.by_step).all()
    assert sum(len(batch.pooled) for batch in scored) == 4096
    attributes = memory.describe(is_trained=True)
    assert 1 <= attributes["micro_batch"] < 4096
    assert 1 <= attributes["scoring_batch"] < 4096
    assert 0 < attributes["peak_memory_mib"] < 1024


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_the_network_computes_in_bfloat16_and_channels_last(name: str) -> None:
    backbone = open_backbone(name, "cuda")
    seen: list[Tensor] = []
    layer = next(m for m in backbone.network.blocks[0].modules() if isinstance(m, nn.Linear | nn.Conv2d))
    layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    x = backbone.normalise(draw_images().pin_memory())
    assert x.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        Detector(backbone)(draw_images())
    assert seen[0].dtype == torch.bfloat16
    kernels = [p for p in backbone.network.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    if name == "tf_efficientnet_lite0":
        assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_pixels_go_to_the_gpu_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training and in scoring: a copy that need not be waited for takes pinned memory."""
    seen: list[bool] = []
    normalise = Backbone.normalise

    def look(backbone: Backbone, images: Tensor) -> Tensor:
        seen.append(images.is_pinned())
        return normalise(backbone, images)

    frames = make_frames(8)
    backbone = open_backbone("vit_tiny_patch16_224", "cuda")
    monkeypatch.setattr(Backbone, "normalise", look)
    schedule = Schedule(
        epochs=1,
        steps_per_epoch=1,
        batch_size=4,
        learning_rate=1e-3,
        head_learning_rate=1e-3,
        warmup_steps=1,
        weight_decay=0.01,
        seed=3,
    )
    with build_detector(backbone, SETTINGS, 1, schedule.steps) as detector:
        images = TrainingSet(frames, frames.pixels, frames.pixels[..., 0] // 128)
        finetune(detector, images, schedule, lambda *_: None, micro_batch=ShrinkingBatch(3, backbone.device))
        list(extract_features(detector, frames, ShrinkingBatch(3, backbone.device)).batches)
    assert len(seen) == 2 + 3
    assert all(seen)


_ASSERT = """
import torch
from anomalyvfm_opt.errors import DeviceLostError
from anomalyvfm_opt.model.device_faults import explained_device
device = torch.device("cuda")
for _ in range(2):  # the first index breaks the context, and then nothing works any more
    try:
        with explained_device(device):
            print(torch.zeros(2, device=device)[torch.tensor([5], device=device)].cpu())
    except DeviceLostError:
        print("lost")
"""


def test_a_device_side_assert_is_known_as_a_lost_gpu() -> None:
    """In a process of its own, which it costs its GPU."""
    done = subprocess.run([sys.executable, "-c", _ASSERT], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["lost", "lost"], done.stderr


def test_cuda_visible_devices_decides_which_gpus_there_are() -> None:
    code = "from anomalyvfm_opt.model.device import choose_device; print(choose_device('auto'))"
    for visible, chosen in (("", "cpu"), ("0", "cuda:0")):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == chosen

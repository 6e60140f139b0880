import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from anomalyvfm_opt.errors import EXIT_ENVIRONMENT, DeviceLostError, EnvironmentMissingError
from anomalyvfm_opt.model import memory
from anomalyvfm_opt.model.device_faults import explained_device, is_device_lost
from anomalyvfm_opt.model.memory import (
    PeakMemory,
    Shortage,
    ShrinkingBatch,
    attempt,
    is_out_of_memory,
    read_status_mib,
)

CPU = torch.device("cpu")
FULL = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: ..."),
    RuntimeError("could not create a primitive"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
)
LOST = (
    RuntimeError("CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA` to enable ..."),
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, ...)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
)
OTHERS = (RuntimeError("The size of tensor a (3) must match"), ValueError("CUDA error"), OSError("No space left"))


@pytest.mark.parametrize("error", [*FULL, *LOST, *OTHERS], ids=lambda error: str(error)[:40])
def test_errors_are_told_apart(error: Exception) -> None:
    assert is_out_of_memory(error) == (error in FULL)
    assert is_device_lost(error) == (error in LOST)


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this torch has no class for it")
def test_torchs_own_class_for_a_lost_device_is_known_whatever_it_says() -> None:
    assert is_device_lost(torch.AcceleratorError("unspecified launch failure"))
    assert is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory"))


def test_torch_and_numpy_still_say_it_in_these_words() -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**50)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**50)
    assert is_out_of_memory(of_torch.value)
    assert is_out_of_memory(of_numpy.value)


@pytest.mark.parametrize("error", FULL, ids=lambda error: str(error)[:40])
def test_a_shortage_is_an_answer_and_what_did_not_fit_is_gone(error: Exception) -> None:
    """Also behind an error that was explained to a person."""
    held: list[weakref.ref[torch.Tensor]] = []

    def work(is_explained: bool) -> None:
        large = torch.empty(8)
        held.append(weakref.ref(large))
        if not is_explained:
            raise error
        raise EnvironmentMissingError("it does not fit", "use another device") from error

    for is_explained in (False, True):
        answer = attempt(partial(work, is_explained), CPU)
        assert isinstance(answer, Shortage)
        assert answer.reason == (str(error).splitlines() or ["out of memory"])[0]
        assert held[-1]() is None


@pytest.mark.parametrize("error", [*LOST, *OTHERS, EnvironmentMissingError("no weights")], ids=str)
def test_another_error_is_no_shortage(error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        attempt(fail, CPU)
    assert caught.value is error
    assert attempt(lambda: 3, CPU) == 3


def test_a_lost_device_is_said_with_what_to_do() -> None:
    words = "cpu is lost to this process: CUDA error: device-side"
    with pytest.raises(DeviceLostError, match=words) as caught, explained_device(CPU):
        raise LOST[0]
    assert caught.value.exit_code == EXIT_ENVIRONMENT
    assert "start the worker again" in caught.value.hint
    assert "\n" not in caught.value.message
    with pytest.raises(RuntimeError, match="must match"), explained_device(CPU):
        raise OTHERS[0]


def test_each_try_draws_the_same_random_numbers() -> None:
    drawn, generator = [], torch.Generator().manual_seed(1)

    def work(size: int) -> int:
        drawn.append(torch.rand(1, generator=generator).item())
        if size > 2:
            raise MemoryError
        return size

    assert ShrinkingBatch(8, CPU).run(work, [generator]) == 2
    assert len(drawn) == 3
    assert len(set(drawn)) == 1


def test_what_did_not_fit_is_freed_before_the_next_try() -> None:
    """The error's traceback would keep it: a try's tensors must be gone when the next begins."""

    class Tensors:
        alive = 0

        def __init__(self) -> None:
            Tensors.alive += 1

        def __del__(self) -> None:
            Tensors.alive -= 1

    def work(size: int) -> int:
        assert Tensors.alive == 0
        _kept = Tensors()
        if size > 1:
            raise MemoryError
        return size

    assert ShrinkingBatch(4, CPU).run(work) == 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux keeps the mark")
def test_the_peak_is_that_of_the_trial_and_not_of_an_earlier_one() -> None:
    first = PeakMemory(CPU)
    torch.ones(2**26)  # 256 MiB, used and freed
    before = first.read_mib()
    peak = PeakMemory(CPU)
    small, present = peak.read_mib(), read_status_mib("VmRSS")
    torch.ones(2**25)
    large = peak.read_mib()
    assert before is not None
    assert small is not None
    assert present is not None
    assert large is not None
    assert before > small + 150
    assert small < present + 50
    assert 100 < large - small < 200


def test_where_the_kernel_tells_nothing_the_peak_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "none" / "clear_refs")
    assert PeakMemory(CPU).read_mib() is None
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t  204800 kB\n")
    assert PeakMemory(CPU).read_mib() == 200


_LITTLE_ADDRESS_SPACE = """
import resource, sys
import numpy as np, torch
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import build_detector
from anomalyvfm_opt.model.memory import ShrinkingBatch, read_status_mib
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, finetune

torch.set_num_threads(1)
n, side = 48, 96
pixels = np.random.default_rng(0).integers(0, 255, (n, side, side, 3), dtype=np.uint8)
frames = Frames(pixels, np.tile((side, side), (n, 1)), Geometry.square(side))
images = TrainingSet(frames, pixels, (pixels[..., 0] > 200).astype(np.uint8))
schedule = Schedule(
    epochs=1, steps_per_epoch=2, batch_size=n, learning_rate=1e-3, head_learning_rate=1e-3, warmup_steps=1,
    weight_decay=0.01, seed=3,
)
backbone = Backbone("tf_efficientnet_lite0", "random", (1, 2), None, side)

settings = AdapterSettings(kind="lora", rank=4, alpha=8.0, targets="attention_mlp", adapted_blocks="all")

def train(size):
    batch = ShrinkingBatch(size, backbone.device)
    with build_detector(backbone, settings, 1) as detector:
        return finetune(detector, images, schedule, lambda *_: None, micro_batch=batch).by_epoch[0], batch.size

whole, small = train(n), train(4)
limit = (read_status_mib("VmSize") + int(sys.argv[1])) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(*whole, *small, *train(n))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space can be limited on Linux alone")
@pytest.mark.slow
def test_a_process_with_too_little_memory_trains_all_the_same() -> None:
    for spare_mib in ("60", "90", "120"):  # with very little, Python itself may be refused what it needs
        command = [sys.executable, "-c", _LITTLE_ADDRESS_SPACE, spare_mib]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    whole, full_size, small, small_size, limited, size = (float(word) for word in done.stdout.split())
    assert (full_size, small_size) == (48, 4)
    assert 1 <= size < 48
    assert limited == pytest.approx(whole, rel=1e-5)
    assert small == pytest.approx(whole, rel=1e-5)

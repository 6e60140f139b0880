"""What a worker would compute on: torch, GPUs and CPU threads."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from anomalyvfm_opt.doctor.check import CheckResult, fail, ok, warn
from anomalyvfm_opt.words import counted
from anomalyvfm_opt.worker.cores import count_cores

if TYPE_CHECKING:
    import torch

_DRIVER = Path("/proc/driver/nvidia/version")
_GIB = 2**30
_LEAST_FREE = 0.5  # of a GPU's memory: below, somebody else computes on it


def look_at_torch(device: str) -> CheckResult:
    """Say whether torch can be imported, and whether its build fits the driver of this host."""
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU only"
    driver = read_driver(_DRIVER)
    detail = f"torch {torch.__version__}, {build}; NVIDIA driver {driver or 'not found'}"
    if not driver or device == "cpu":
        return ok(detail)
    if torch.version.cuda is None:
        return warn(f"{detail}: this build cannot use the GPU", "install a torch built for CUDA, see pytorch.org")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:
        return ok(detail)
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return warn(f"{detail}; CUDA_VISIBLE_DEVICES={visible!r} hides all GPUs", "unset it, or name a GPU in it")
    said = "; ".join(str(warning.message).splitlines()[0] for warning in caught) or "no reason given"
    return warn(
        f"{detail}; CUDA does not start: {said}", "update the driver, or install a torch for an older CUDA"
    )


def read_driver(file: Path) -> str:
    """Return the version of NVIDIA's kernel driver; empty if there is none."""
    if not file.is_file():
        return ""
    words = file.read_text(encoding="utf-8", errors="replace").splitlines()[0].split()
    return next((word for word in words if word[0].isdigit() and "." in word), "of an unknown version")


def look_at_device(name: str) -> CheckResult:
    """Look at the device that a worker with this `--device` takes; a GPU is asked to compute something small.

    Raises:
        UsageError: not a device's name.
        EnvironmentMissingError: that GPU is not there.
    """
    import torch

    from anomalyvfm_opt.model.device import choose_device

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the check of torch has said it
        device = choose_device(name)
    if device.type == "cuda":
        return _look_at_gpu(device)
    if name != "auto":
        return ok("cpu, as asked for")
    return warn(
        f"no GPU: a worker takes the CPU ({counted(torch.get_num_threads(), 'thread')})",
        "on a host with a GPU see `torch` above and nvidia-smi; else give --device cpu to say that you want that",
    )


def _look_at_gpu(device: "torch.device") -> CheckResult:
    import torch

    known = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    detail = (
        f"{device}: {known.name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free;"
        f" CUDA_VISIBLE_DEVICES {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}"
        f" ({torch.cuda.device_count()} seen)"
    )
    try:
        ones = torch.ones(8, 8, device=device, dtype=torch.bfloat16)
        is_right = float((ones @ ones).sum()) == 512.0
    except RuntimeError as error:  # torch's only class for what CUDA refuses
        return fail(f"{detail}; it does not compute: {str(error).splitlines()[0]}", _describe_remedy(free))
    if not is_right:
        return fail(
            f"{detail}; it computes wrong sums", "restart the host; if that does not help, replace the GPU"
        )
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return warn(
            f"{detail}; no bfloat16 of its own, so training is slow", "use a GPU of the Ampere generation or newer"
        )
    if free < _LEAST_FREE * total:
        return warn(
            f"{detail}: other processes use it", "see nvidia-smi; choose a free GPU by CUDA_VISIBLE_DEVICES"
        )
    return ok(detail)


def _describe_remedy(free: int) -> str:
    if free < _GIB:
        return "free its memory (nvidia-smi names the processes), or choose another GPU by CUDA_VISIBLE_DEVICES"
    return "install a torch whose CUDA knows this GPU, or use --device cpu"


def look_at_threads() -> CheckResult:
    """Threads of torch and of NumPy's BLAS against the cores that this process may use."""
    import torch
    from threadpoolctl import threadpool_info

    cores = count_cores()
    blas = sorted({f"{info['internal_api']} {info['num_threads']}" for info in threadpool_info()})
    return judge_threads(torch.get_num_threads(), cores, ", ".join(blas))


def judge_threads(threads: int, cores: float, libraries: str) -> CheckResult:
    """Threads that outnumber the cores wait for each other by spinning.

    Args:
        threads: of torch.
        cores: that this process may use.
        libraries: other pools of threads, to be shown.
    """
    detail = f"torch uses {counted(threads, 'thread')} on {counted(cores, 'core')}; {libraries}"
    if threads > max(cores, 1):
        return warn(f"{detail}: too many", f"worker run --threads {max(int(cores), 1)}")
    return ok(f"{detail}; workers of a host that start together share them")

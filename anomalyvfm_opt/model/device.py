"""Which device a detector computes on."""

import os
import platform

import torch

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.words import counted


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU that CUDA_VISIBLE_DEVICES leaves, or the CPU.

    Raises:
        UsageError: not a device's name.
        EnvironmentMissingError: that GPU is not there.
    """
    if name == "auto":
        return _repeatable(torch.device("cuda", 0)) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name!r} is no device", "give auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name!r} is not supported", "give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EnvironmentMissingError(
            f"--device {name}: this process sees {counted(torch.cuda.device_count(), 'GPU')}",
            "check the driver and CUDA_VISIBLE_DEVICES, or use --device cpu",
        )
    return _repeatable(device) if device.type == "cuda" else device


def _repeatable(device: torch.device) -> torch.device:
    """Let the same trial give the same numbers on a GPU, where torch can; it warns where it cannot."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    return device


def name_device(device: torch.device) -> str:
    """Return the kind of a device, by which numbers compare: a GPU's model, or a CPU's architecture."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"

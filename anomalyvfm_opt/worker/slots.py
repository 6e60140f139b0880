"""Where this host's workers go: one slot after the other on each GPU, or a share of the cores each."""

import os

from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.model.device import choose_device
from anomalyvfm_opt.worker.cores import share_cores

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def lay_out(count: int | None, device: str, threads: int | None = None) -> tuple[list[Slot], list[str]]:
    """Return the slots, and what each worker is told of its device and threads.

    Args:
        count: of workers; None for one a GPU, or one without a GPU.
        device: as of `worker run`; `auto` and `cuda` deal out the GPUs that this process sees.
        threads: of each worker; None for a share of the cores, at most what OMP_NUM_THREADS says.

    Raises:
        UsageError: not a device's name.
        EnvironmentMissingError: that GPU is not there.
    """
    choose_device(device)  # what every worker would stumble over is said once
    gpus = _list_gpus() if device in ("auto", "cuda") else []
    if not gpus:
        n = count or 1
        slots = [Slot(number, "cpu" if device == "auto" else device) for number in range(1, n + 1)]
        return slots, ["--device", device, "--threads", str(threads or _share_threads(n))]
    n = count or len(gpus)
    chosen = [gpus[number % len(gpus)] for number in range(n)]
    slots = [Slot(number, f"cuda:{gpu}", {_VISIBLE: gpu}) for number, gpu in enumerate(chosen, 1)]
    return slots, ["--device", "cuda", "--threads", str(threads or _share_threads(n))]


def _share_threads(workers: int) -> int:
    """Return the threads of each worker: its share of the cores, at most what torch takes by OMP_NUM_THREADS."""
    import torch

    return min(share_cores(workers), torch.get_num_threads())


def _list_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES may be set to for each GPU that this process sees."""
    import torch

    n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return named[:n] if len(named) >= n else [str(index) for index in range(n)]

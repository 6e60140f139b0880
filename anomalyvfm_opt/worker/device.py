"""Which device a worker computes on, and with how many threads."""

import os

import torch

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.worker.cores import count_workers, share_cores


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
            f"--device {name}: this process sees {torch.cuda.device_count()} GPUs",
            "check the driver and CUDA_VISIBLE_DEVICES, or use --device cpu",
        )
    return _repeatable(device) if device.type == "cuda" else device


def _repeatable(device: torch.device) -> torch.device:
    """Let the same trial give the same numbers on a GPU, where torch can; it warns where it cannot."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    return device


def limit_threads(threads: int | None) -> int:
    """Use this many CPU threads, or by default this process's share of the cores among the host's workers.

    The share is at most what torch takes by itself: it heeds OMP_NUM_THREADS.

    NumPy's and SciPy's BLAS keep threads of their own, which wait by spinning: where workers share cores, to leave
    them alone made fitting a Gaussian a hundred times slower. One is enough for what we ask of it.
    """
    import scipy.linalg  # noqa: F401 - only a BLAS that is loaded can be limited
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
    if threads is None:
        threads = min(share_cores(count_workers()), torch.get_num_threads())
    torch.set_num_threads(threads)
    return threads

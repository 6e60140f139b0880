"""Which device a worker computes on, and with how many threads."""

import torch

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU that CUDA_VISIBLE_DEVICES leaves, or the CPU.

    Raises:
        UsageError: not a device's name.
        EnvironmentMissingError: that GPU is not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
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
    return device


def limit_threads(threads: int | None) -> None:
    """Use this many CPU threads; several workers on one host should share its cores between them.

    NumPy's and SciPy's BLAS keep threads of their own, which wait by spinning: where workers share cores, to leave
    them alone made fitting a Gaussian a hundred times slower.
    """
    if threads is not None:
        import scipy.linalg  # noqa: F401 - only a BLAS that is loaded can be limited
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(threads)
        threadpool_limits(threads)

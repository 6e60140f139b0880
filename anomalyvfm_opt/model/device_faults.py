"""GPU errors after which this process can compute nothing more on that GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from anomalyvfm_opt.errors import DeviceLostError
from anomalyvfm_opt.model.memory import is_out_of_memory

_SIGNS = ("CUDA error", "CUBLAS_STATUS", "cuDNN error", "device-side assert")


def is_device_lost(error: BaseException) -> bool:
    """Return whether an error is the GPU's own, and not of memory that is used up.

    After one of them every later call on the device fails as well: the CUDA context is broken until the process
    ends. Newer versions of torch have a class for most of them; the libraries' are known by their words.
    """
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    own_class = getattr(torch, "AcceleratorError", None)  # torch 2.8
    return (own_class is not None and isinstance(error, own_class)) or any(sign in str(error) for sign in _SIGNS)


@contextmanager
def explained_device(device: torch.device) -> Iterator[None]:
    """Turn errors of a lost device into one that says what to do.

    Raises:
        DeviceLostError: the device cannot be used any more by this process.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_device_lost(error):
            raise
        raise DeviceLostError(
            f"{device} is lost to this process: {str(error).splitlines()[0]}",
            "start the worker again; if it happens again, look at nvidia-smi and at `dmesg | grep Xid`, and use"
            " another GPU by CUDA_VISIBLE_DEVICES",
        ) from error

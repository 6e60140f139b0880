"""Devices that cannot take what they are given: too small, or lost to this process by an error of the GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from anomalyvfm_opt.errors import DeviceLostError, EnvironmentMissingError
from anomalyvfm_opt.model.memory import Shortage, attempt, is_out_of_memory

_Made = TypeVar("_Made")

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


def make_on_device(name: str, make: Callable[[], _Made], device: torch.device) -> _Made:
    """Return what `make` makes on a device.

    Args:
        name: of what is made, for messages.
        make: makes it.
        device: where it is to live.

    Raises:
        EnvironmentMissingError: it does not fit into the device's memory.
        DeviceLostError: the device cannot be used any more by this process.
    """

    def make_explained() -> _Made:
        with explained_device(device):
            return make()

    made = attempt(make_explained, device)
    if isinstance(made, Shortage):
        raise EnvironmentMissingError(
            f"{name} does not fit into the memory of {device}: {made.reason}",
            "end what else uses that memory (nvidia-smi names the processes of a GPU), or use another device",
        )
    return made

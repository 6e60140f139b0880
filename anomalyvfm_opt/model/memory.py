"""Memory: what it looks like when it is used up, batches that shrink until they fit, and how much a trial took."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import torch

from anomalyvfm_opt.errors import DoesNotFitError, EnvironmentMissingError

_Result = TypeVar("_Result")
_MIB = 2**20
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): the peak resident size becomes the present one
_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",  # Linux
    "DefaultCPUAllocator: not enough memory",  # Windows, macOS
    "could not create a primitive",  # oneDNN, the CPU's convolutions, for want of a buffer
    "std::bad_alloc",
    "CUDA error: out of memory",  # outside of torch's caching allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is used up, a GPU's or the host's.

    Only a GPU's allocator has a class of its own for it; the other parts of torch are known by their words.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def release_cached_memory(device: torch.device) -> None:
    """Give back what torch keeps of a GPU without using it, and what the C library keeps of the host's memory."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # glibc's; without it freed memory of hundreds of MiB stays with the process


@dataclass(frozen=True)
class Shortage:
    """Work that memory did not suffice for.

    Args:
        reason: the first line of the error. The error itself would hold what did not fit, by its traceback.
    """

    reason: str


def attempt(work: Callable[[], _Result], device: torch.device) -> _Result | Shortage:
    """Do work, and answer with a shortage where memory is used up, a GPU's or the host's.

    What did not fit is given back before the answer.

    Args:
        work: an error that stands for another counts by its cause.
        device: that it is done on.

    Returns:
        What `work` returns, or the shortage.
    """
    try:
        return work()
    except (MemoryError, RuntimeError, EnvironmentMissingError) as error:
        reason = _find_reason(error)
        if reason is None:
            raise
        _forget_frames(error)
    release_cached_memory(device)  # behind the `except`, in which the frames of the work are still alive
    return Shortage(reason)


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what did not fit, which the frames of an error and of those behind it hold."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _find_reason(error: BaseException) -> str | None:
    """Return the first line of an error about memory, or of such a cause of it; None for other errors."""
    cause = error.__cause__ if isinstance(error, EnvironmentMissingError) else error
    if cause is None or not is_out_of_memory(cause):
        return None
    return (str(cause).splitlines() or ["out of memory"])[0]  # a MemoryError may say nothing


@dataclass
class ShrinkingBatch:
    """How many images go through a detector at once: halved each time that they do not fit, and never raised.

    Args:
        size: images.
        device: where they are computed on.
    """

    size: int
    device: torch.device

    def run(self, work: Callable[[int], _Result], generators: Sequence[torch.Generator] = ()) -> _Result:
        """Do work with as many images at once as fit.

        Args:
            work: called with the size; done again from its beginning, so it must not build on an earlier try.
            generators: that it draws from; each try begins with the same random numbers.

        Returns:
            What `work` returns.

        Raises:
            DoesNotFitError: not even one image fits.
        """
        states = [generator.get_state() for generator in generators]
        while True:
            done = attempt(partial(work, self.size), self.device)
            if not isinstance(done, Shortage):
                return done
            if self.size == 1:
                raise DoesNotFitError(f"one image at a time does not fit: {done.reason}")
            self.size //= 2
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)


class PeakMemory:
    """The most memory in use since this object was made.

    On a GPU: what tensors took. On a CPU: the process's resident memory with the backbone, torch and pages of
    files; where the kernel does not let the mark be reset, the peak of the process so far.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:
            return  # no Linux, or a container that keeps it closed: then the mark is only ever raised

    def read_mib(self) -> int | None:
        """Return the peak in MiB, or None where nobody counts it."""
        if self._device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self._device) / _MIB)
        return read_status_mib("VmHWM")


def read_status_mib(field: str) -> int | None:
    """Read a size of this process in MiB, such as `VmHWM` (peak resident) or `VmRSS`; None if not known."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return round(int(sizes[0]) / 1024) if sizes else None


@dataclass
class TrialMemory:
    """What one trial may take at once, and what it took.

    Args:
        micro_batch: images of a training step.
        scoring_batch: tiles that are scored together.
        peak: since the trial began.
    """

    micro_batch: ShrinkingBatch
    scoring_batch: ShrinkingBatch
    peak: PeakMemory

    @classmethod
    def begin(cls, batch_size: int, scoring_batch: int, device: torch.device) -> Self:
        """Begin a trial that tries whole batches first, and whose peak counts from now."""
        release_cached_memory(device)
        return cls(ShrinkingBatch(batch_size, device), ShrinkingBatch(scoring_batch, device), PeakMemory(device))

    def describe(self, is_trained: bool) -> dict[str, Any]:
        """Return the trial's attributes: images at once in training and in scoring, and the peak in MiB."""
        return {
            "micro_batch": self.micro_batch.size if is_trained else None,
            "scoring_batch": self.scoring_batch.size,
            "peak_memory_mib": self.peak.read_mib(),
        }

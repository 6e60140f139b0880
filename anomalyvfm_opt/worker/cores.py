"""The CPU cores that a process may use, and this program's workers that share them."""

import os
from pathlib import Path

_PROC = Path("/proc")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_OURS = ("anomalyvfm-opt", "anomalyvfm_opt")  # the installed command, and `python -m`
_WORKER = ["worker", "run"]


def count_cores(quota: Path = _CPU_QUOTA) -> float:
    """Cores that this process may use: by its affinity, and by the quota of its container.

    Args:
        quota: a file as Linux's `cpu.max`: microseconds in a period, and the period's length.
    """
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if quota.is_file():
        allowed, period = quota.read_text().split()[:2]
        if allowed != "max":
            cores = min(cores, int(allowed) / int(period))
    return cores


def count_workers(processes: Path = _PROC) -> int:
    """Return workers that live on this host, this process among them if it is one: at least 1.

    They are looked up among the processes and not among the leases: a worker that was started a second ago has no
    lease yet, and one of another study store takes cores as well. What runs in other containers is not seen.

    Args:
        processes: a folder as Linux's /proc.
    """
    return max(1, sum(is_worker(file) for file in processes.glob("[0-9]*/cmdline")))


def is_worker(cmdline: Path) -> bool:
    """Return whether a file as Linux's /proc/PID/cmdline is that of a worker of this program."""
    try:
        arguments = cmdline.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False  # it has ended meanwhile
    if not Path(arguments[0]).name.startswith("python"):
        return False  # a shell, `timeout` or `docker` that was told to start one, not the worker itself
    start = next((i for i, argument in enumerate(arguments) if Path(argument).name in _OURS), None)
    return start is not None and any(arguments[i : i + 2] == _WORKER for i in range(start + 1, len(arguments)))


def share_cores(workers: int) -> int:
    """Threads of each of so many processes side by side: an equal share of the cores, at least 1."""
    return max(1, int(count_cores() / workers))

"""What Slurm is asked for: the options of `worker launch --engine slurm`, checked before anything is submitted."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.words import counted

DEFAULT_TIME = "4:00:00"
_SETTLE_S = 60  # beside the drain: to write a checkpoint, and since Slurm may be so much off with its notice
_NAME = "anomalyvfm-opt"
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d{1,2}){0,2})")
_OURS = (
    *("array", "error", "no-requeue", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "partition"),
    *("requeue", "signal", "time"),
)


@dataclass(frozen=True)
class Request:
    """What Slurm is asked for.

    Args:
        count: of tasks, each with one worker.
        time_min: limit of one task; then it is put back into the queue.
        drain_s: how long a worker may take to its trial's next step when it is asked to stop.
        partition: None for the cluster's default.
        gpus_per_worker: 0 for none.
        extra: more options of sbatch, without the dashes; True for one without a value.
    """

    count: int
    time_min: int
    drain_s: float = 30.0
    partition: str | None = None
    gpus_per_worker: int = 0
    extra: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def notice_s(self) -> int:
        """How long before the limit the worker is told."""
        return math.ceil(self.drain_s) + _SETTLE_S

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UsageError: a limit that leaves no time to work in.
        """
        least = math.ceil(self.notice_s / 60) + 2
        if self.time_min < least:
            raise UsageError(
                f"--time: {counted(self.time_min, 'minute')} is too short:"
                f" workers are told {self.notice_s} s before",
                f"give at least {counted(least, 'minute')}, better hours",
            )

    def parameters(self) -> dict[str, Any]:
        """Return them as submitit's Slurm executor takes them."""
        asked: dict[str, Any] = {
            "job_name": _NAME,
            "wckey": None,  # submitit's own default is refused by clusters that keep keys
            "time": self.time_min,
            "nodes": 1,
            "ntasks_per_node": 1,
            "signal_delay_s": self.notice_s,
            "array_parallelism": self.count,
            "stderr_to_stdout": True,
            "setup": ["export PYTHONSAFEPATH=1"],  # else submitit imports from the folder that sbatch ran in
            "additional_parameters": {"requeue": True, **self.extra},
        }
        if self.partition:
            asked["partition"] = self.partition
        if self.gpus_per_worker:
            asked["gpus_per_node"] = self.gpus_per_worker
        if "cpus-per-task" in self.extra:  # which srun does not take over from sbatch since Slurm 22.05
            asked["srun_args"] = [f"--cpus-per-task={self.extra['cpus-per-task']}"]
        return asked


def read_minutes(text: str) -> int:
    """Minutes of a time as sbatch writes it: `90`, `1:30:00`, `2-12` (days and hours), `2-12:30:00`.

    Raises:
        UsageError: it is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--time: {text!r} is no time", "write minutes (90), H:MM:SS (1:30:00) or D-HH (2-12)")
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return int(match["days"]) * 1440 + hours * 60 + minutes + math.ceil(seconds / 60)
    if len(parts) == 3:
        return parts[0] * 60 + parts[1] + math.ceil(parts[2] / 60)
    return parts[0] + (math.ceil(parts[1] / 60) if len(parts) == 2 else 0)


def read_extra(given: Sequence[str]) -> dict[str, str | bool]:
    """Options of sbatch as `KEY=VALUE`, or `KEY` for one without a value.

    Raises:
        UsageError: not such an option, or one that we set ourselves.
    """
    extra: dict[str, str | bool] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.removeprefix("--").replace("_", "-")
        if not re.fullmatch(r"[a-z][a-z-]*", key) or "\n" in value or (equals and not value):
            raise UsageError(f"--sbatch: {text!r} is no option of sbatch", "write KEY=VALUE, as in account=vision")
        if key in _OURS:
            raise UsageError(f"--sbatch: {key} is set by this program", "use --time, --partition and --count")
        extra[key] = value if equals else True
    return extra


def read_request(
    count: int,
    drain_s: float,
    time_limit: str | None,
    partition: str | None,
    gpus_per_worker: float | None,
    sbatch: list[str] | None,
) -> Request:
    """Return what to ask Slurm for, by the options of the command line.

    Args:
        count: of workers.
        drain_s: how long a worker may take to give its trial back.
        time_limit: of one job, as of sbatch; None for 4 hours.
        partition: None for the cluster's default.
        gpus_per_worker: a whole number; None for none.
        sbatch: more of its options, as `KEY=VALUE`.

    Raises:
        UsageError: one of them cannot be right.
    """
    if gpus_per_worker is not None and gpus_per_worker != int(gpus_per_worker):
        hint = "give a whole number; for parts of a GPU see --sbatch gres=shard:1 or gres=mps:50"
        raise UsageError(f"--gpus-per-worker {gpus_per_worker:g}: Slurm gives whole GPUs", hint)
    minutes, extra = read_minutes(time_limit or DEFAULT_TIME), read_extra(sbatch or [])
    request = Request(count, minutes, drain_s, partition, int(gpus_per_worker or 0), extra)
    request.check()
    return request

"""Workers as the tasks of a Slurm job array, submitted through submitit.

Slurm places them and puts them back into the queue when their time is up; the database dispatches.
"""

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from anomalyvfm_opt.errors import EXIT_BUG, EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch.task import WorkerTask
from anomalyvfm_opt.words import counted

_SETTLE_S = 60  # beside the drain: to write a checkpoint, and since Slurm may be so much off with its notice
_MOST_REQUEUES = 1000  # the end of the studies ends them, not a count
_NAME = "anomalyvfm-opt"
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d{1,2}){0,2})")
_OURS = (
    *("array", "error", "no-requeue", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output", "partition"),
    *("requeue", "signal", "time"),
)
# sbatch takes these before the script's own lines
_VARIABLES = (
    "ARRAY_INX",
    "ERROR",
    "EXPORT",
    "NO_REQUEUE",
    "OPEN_MODE",
    "OUTPUT",
    "REQUEUE",
    "SIGNAL",
    "TIMELIMIT",
)
# the variables of a job that we are in reach the new one's srun, which takes them for its own; but not these
_NOT_OF_A_JOB = ("SLURM_CLUSTERS", "SLURM_CONF", "SLURM_JWT")
_AWAY = re.compile(
    r"contact|timed out|connect|authentication|munge|zero bytes|currently unavailable"
    r"|configuration source|fetch_config|resolve_ctls",
    re.IGNORECASE,
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


def check_host() -> None:
    """Refuse a host from which nothing can be submitted.

    Raises:
        EnvironmentMissingError: submitit or Slurm's commands are not there.
        UsageError: a password in the environment, which Slurm would keep in its own files.
    """
    try:
        import submitit  # noqa: F401
    except ImportError:
        hint = "pip install 'anomalyvfm-opt[slurm]'"
        raise EnvironmentMissingError("--engine slurm needs the package submitit", hint) from None
    for program in ("sbatch", "srun", "squeue"):
        if shutil.which(program) is None:
            hint = "run this on a host of the cluster that submits jobs, with Slurm's commands in PATH"
            raise EnvironmentMissingError(f"--engine slurm: there is no {program} on this host", hint)
    if "PGPASSWORD" in os.environ:
        hint = "unset it; write the password into a file of mode 0600, named by PGPASSFILE, that all nodes see"
        raise UsageError("PGPASSWORD is set: Slurm would store it with the job", hint)


def make_executor(folder: Path, request: Request) -> Any:
    """Return submitit's executor for a request; what it writes goes into a folder that only its owner may enter.

    Args:
        folder: not there yet; all nodes must see it.
        request: what to ask for.
    """
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = "USR2"  # read at the import, and in the job: workers know no other
    from submitit import SlurmExecutor

    make_private(folder)
    executor = SlurmExecutor(folder, max_num_timeout=_MOST_REQUEUES)
    executor.update_parameters(**request.parameters())
    return executor


def make_private(folder: Path) -> None:
    """Make a folder for the pickles: who can write there can run code as its owner."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)


@dataclass(frozen=True)
class Array:
    """Submitted tasks.

    Args:
        job_id: of the array.
        jobs: submitit's, one a task.
    """

    job_id: str
    jobs: tuple[Any, ...]

    def read_codes(self) -> list[int | None]:
        """Return the exit code of each task that has come to its end by itself, and None for the others.

        From its file, not by submitit's `result`, which would wait for it and ask sacct.
        """
        return [self._read_code(job.paths.result_pickle) for job in self.jobs]

    @staticmethod
    def _read_code(path: Path) -> int | None:
        from submitit.core.utils import pickle_load

        if not path.exists():
            return None
        outcome, value = pickle_load(path)  # of a private folder
        return int(value) if outcome == "success" else EXIT_BUG


def submit(executor: Any, arguments: Sequence[str], count: int) -> Array:
    """Submit `count` tasks, each of which runs a worker.

    Args:
        executor: of submitit.
        arguments: of `worker run`.
        count: of tasks.

    Raises:
        UsageError: sbatch refuses what it was asked for.
        EnvironmentMissingError: Slurm does not answer.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with _prepared(["PARTITION", *_VARIABLES] if "partition" in executor.parameters else _VARIABLES):
            jobs = executor.submit_array([WorkerTask(tuple(arguments)) for _ in range(count)])
    except (FailedJobError, FailedSubmissionError) as error:
        raise _explain(str(error)) from None
    return Array(jobs[0].job_id.partition("_")[0], tuple(jobs))


@contextmanager
def _prepared(overruling: Sequence[str]) -> Iterator[None]:
    """Within the `with`, files are private, and neither settings of sbatch nor a job that we are in overrule ours.

    What submitit prints of its errors is left out: they say it, too.
    """
    hidden = {f"SBATCH_{name}" for name in overruling}
    if "SLURM_JOB_ID" in os.environ:
        hidden |= {name for name in os.environ if name.startswith("SLURM_") and name not in _NOT_OF_A_JOB}
    kept = {name: value for name in hidden if (value := os.environ.pop(name, None)) is not None}
    old_mask = os.umask(0o077)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        os.umask(old_mask)
        os.environ.update(kept)


def read_queue(job_id: str) -> dict[str, str]:
    """Return the states of an array's tasks in the queue, which those that ended left: `17_3` -> `RUNNING`.

    squeue and not sacct, which submitit asks: a cluster need not have an accounting.

    Raises:
        EnvironmentMissingError: Slurm does not answer.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={job_id}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - Slurm's
    if (
        done.returncode and "invalid job id" not in done.stderr.lower()
    ):  # which it forgets some minutes after its end
        raise _explain(done.stderr)
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())


def cancel(job_id: str) -> bool:
    """Have Slurm end all tasks of an array: SIGTERM, and 30 s later, or as the cluster says, SIGKILL.

    Returns:
        False if Slurm did not take it; it has said why on stderr.
    """
    return subprocess.run(["scancel", job_id], check=False).returncode == 0  # noqa: S603, S607 - Slurm's


def _explain(message: str) -> EnvironmentMissingError | UsageError:
    said = [line.strip() for line in message.splitlines()]
    errors = [line for line in said if re.search(r"\b(error|fatal):", line)]
    lines = [line for line in errors if "fatal:" in line] or errors
    reason = re.sub(r"^\w+: (error|fatal): ", "", lines[0]) if lines else message.strip() or "no answer"
    if _AWAY.search(" ".join(errors) or reason):
        return EnvironmentMissingError(f"Slurm does not answer: {reason}", "try `sinfo`, and again later")
    return UsageError(f"sbatch refuses: {reason}", "see `sinfo` for partitions and their limits")

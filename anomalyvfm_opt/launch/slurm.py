"""Workers as the tasks of a Slurm job array, submitted through submitit.

Slurm places them and puts them back into the queue when their time is up; the database dispatches.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from anomalyvfm_opt.errors import EXIT_BUG, EnvironmentMissingError, UsageError
from anomalyvfm_opt.launch.slurm_request import Request
from anomalyvfm_opt.launch.task import WorkerTask

_MOST_REQUEUES = 1000  # the end of the studies ends them, not a count
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


def submit_workers(folder: Path, request: Request, arguments: Sequence[str]) -> Array:
    """Submit as many workers as are asked for; where that fails, nothing is left of their folder.

    Args:
        folder: of their pickles and logs: not there yet, and all nodes must see it.
        request: what to ask for.
        arguments: of each `worker run`.

    Raises:
        UsageError: sbatch refuses what it was asked for.
        EnvironmentMissingError: Slurm does not answer.
    """
    executor = make_executor(folder, request)
    try:
        return submit(executor, arguments, request.count)
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise


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

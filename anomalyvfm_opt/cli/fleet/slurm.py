"""`worker launch --engine slurm`: an array of jobs, each with one worker."""

import secrets
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyvfm_opt.cli.output import say
from anomalyvfm_opt.errors import (
    EXIT_DONE,
    EXIT_TERMINATED,
    EnvironmentMissingError,
    UsageError,
)
from anomalyvfm_opt.signals import EXIT_CODES, hear
from anomalyvfm_opt.words import counted

if TYPE_CHECKING:
    from anomalyvfm_opt.launch.slurm import Request

_LOOK_S = 2.0
_FILES_S = 60.0  # a result may be seen this late on a network file system
_DEFAULT_TIME = "4:00:00"

TimeOption = Annotated[
    str | None,
    typer.Option("--time", metavar="T", help=f"Slurm: limit of a job, as of sbatch; else {_DEFAULT_TIME}."),
]
PartitionOption = Annotated[
    str | None, typer.Option("--partition", metavar="P", help="Slurm: partition; else the cluster's default.")
]
SbatchOption = Annotated[
    list[str] | None,
    typer.Option("--sbatch", metavar="KEY=VALUE", help="Slurm: one more option of sbatch; may be repeated."),
]


def read_request(
    count: int,
    drain_s: float,
    time_limit: str | None,
    partition: str | None,
    gpus_per_worker: float | None,
    sbatch: list[str] | None,
) -> "Request":
    """Return Slurm's options, checked as far as this host can.

    Args:
        count: of workers.
        drain_s: how long a worker may take to give its trial back.
        time_limit: of one job, as of sbatch.
        partition: None for the cluster's default.
        gpus_per_worker: a whole number; None for none.
        sbatch: more of its options, as `KEY=VALUE`.

    Raises:
        UsageError: one of them cannot be right.
        EnvironmentMissingError: nothing can be submitted from here.
    """
    from anomalyvfm_opt.launch.slurm import Request, check_host, read_extra, read_minutes

    if gpus_per_worker is not None and gpus_per_worker != int(gpus_per_worker):
        hint = "give a whole number; for parts of a GPU see --sbatch gres=shard:1 or gres=mps:50"
        raise UsageError(f"--gpus-per-worker {gpus_per_worker:g}: Slurm gives whole GPUs", hint)
    minutes, extra = read_minutes(time_limit or _DEFAULT_TIME), read_extra(sbatch or [])
    request = Request(count, minutes, drain_s, partition, int(gpus_per_worker or 0), extra)
    request.check()
    check_host()
    return request


def launch_on_slurm(request: "Request", arguments: Sequence[str], is_detached: bool, outage_s: float) -> int:
    """Submit workers; wait for them if not detached.

    Args:
        request: what to ask Slurm for.
        arguments: of each `worker run`.
        is_detached: whether to leave them alone once they are submitted.
        outage_s: how long Slurm may be silent while they are waited for.

    Returns:
        0 if detached or if all workers ended with 0; else the first other exit code, or what we were told.

    Raises:
        UsageError: sbatch refuses what it was asked for.
        EnvironmentMissingError: Slurm does not answer.
    """
    from anomalyvfm_opt.launch.slurm import make_executor, submit
    from anomalyvfm_opt.store.home import state_folder
    from anomalyvfm_opt.store.url import read_variable

    if "--db" not in arguments and read_variable() is None:
        say("the database is this host's own: jobs on other hosts will not reach it, see docs/slurm.md")
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    folder = state_folder() / "slurm" / name
    executor = make_executor(folder, request)
    try:
        array = submit(executor, arguments, request.count)
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    typer.echo(array.job_id)
    say(f"submitted {counted(request.count, 'worker')} as Slurm job {array.job_id}; logs in {folder}")
    if is_detached:
        say(f"see them: anomalyvfm-opt worker list, or squeue --jobs={array.job_id}")
        say(f"end them: anomalyvfm-opt worker drain all, and what does not run yet: scancel {array.job_id}")
        return EXIT_DONE
    return _Watch(array.job_id, array.read_codes, folder, outage_s).run()


class _Watch:
    """Waits for an array, says how its tasks' states change, and cancels it when this process is to end.

    Args:
        job_id: of the array.
        read_codes: the exit codes of its tasks so far.
        folder: of their logs.
        outage_s: how long Slurm may be silent; the jobs do not need this process.
    """

    def __init__(
        self, job_id: str, read_codes: Callable[[], list[int | None]], folder: Path, outage_s: float
    ) -> None:
        self._outage_s = outage_s
        self._silent_since: float | None = None
        self._job_id = job_id
        self._read_codes = read_codes
        self._folder = folder
        self._stop_code: int | None = None

    def run(self) -> int:
        """Watch until no task is in the queue."""
        hear(self._stop)
        said = ""
        while True:
            states = self._read_queue()
            if states is None:
                if self._stop_code is not None:
                    return self._stop_code
                time.sleep(_LOOK_S)
                continue
            codes = self._read_codes()
            counts = Counter(states.values())
            counts.update("DONE" if code == EXIT_DONE else f"EXIT {code}" for code in codes if code is not None)
            line = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
            if line != said:
                say(f"{datetime.now():%H:%M:%S} {line}")
                said = line
            if not states:
                return self._finish()
            time.sleep(_LOOK_S)

    def _read_queue(self) -> dict[str, str] | None:
        """Return the states of the array's tasks; None while Slurm does not answer.

        Raises:
            EnvironmentMissingError: it has not for too long.
        """
        from anomalyvfm_opt.launch.slurm import read_queue

        try:
            states = read_queue(self._job_id)
        except EnvironmentMissingError as error:
            now = time.monotonic()
            if self._silent_since is None:
                self._silent_since = now
                say(f"{error.message}; the jobs go on without it")
            if now - self._silent_since < self._outage_s:
                return None
            raise EnvironmentMissingError(
                f"{error.message}, for {self._outage_s:.0f} s",
                f"the jobs go on; see them: squeue --jobs={self._job_id}, and their logs in {self._folder}",
            ) from None
        self._silent_since = None
        return states

    def _finish(self) -> int:
        deadline = time.monotonic() + (_FILES_S if self._stop_code is None else 0.0)
        while None in (codes := self._read_codes()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if self._stop_code is not None:
            return self._stop_code
        if lost := codes.count(None):
            say(f"{lost} of {counted(len(codes), 'job')} left no result: cancelled or killed; see {self._folder}")
        return next((code for code in codes if code), EXIT_TERMINATED if lost else EXIT_DONE)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        from anomalyvfm_opt.launch.slurm import cancel

        self._stop_code = self._stop_code or EXIT_CODES[signal.Signals(number)]
        if not cancel(self._job_id):
            say(f"the jobs go on: Slurm did not take scancel {self._job_id}; repeat it")

"""What one job of a batch system runs: one worker, started again when it crashes, handed on when its time is up.

submitit loads this from a pickle, so it holds arguments of `worker run` and nothing else. submitit's own handlers
would leave SIGTERM unheard and would requeue at once on SIGUSR2, under the worker's feet; ours let the worker give
its trial back first, and then call submitit's.
"""

import atexit
import os
import secrets
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any

from anomalyvfm_opt.errors import EXIT_DONE, EXIT_TERMINATED
from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.local import LocalLauncher
from anomalyvfm_opt.launch.supervise import SlotState, Supervisor
from anomalyvfm_opt.signals import hear

_LATE_S = 1.0


@dataclass(frozen=True)
class WorkerTask:
    """A worker for one job.

    Args:
        arguments: of `worker run`, without `--name` and `--threads`; they stand in a file, so no password in them.
    """

    arguments: tuple[str, ...]

    def __call__(self) -> int:
        """Run the worker to its end; to be called by submitit, in the job.

        SIGTERM (`scancel`), SIGINT and SIGHUP are passed on to the worker, and the job ends with it. So is
        SIGUSR2, the notice before the time limit; then the job is put back into the queue and goes on elsewhere.

        Returns:
            The exit code of the worker, which the job's process ends with, too.
        """
        hand_on = signal.getsignal(signal.SIGUSR2)
        heard: list[int] = []
        supervisor = Supervisor(LocalLauncher(_print_line), [Slot(1, "job")], self._name, _print_note)

        def stop(number: int, _frame: FrameType | None) -> None:
            heard.append(number)
            supervisor.stop(number, EXIT_TERMINATED)

        hear(stop)
        code = supervisor.run()
        if code == EXIT_TERMINATED and not heard:
            time.sleep(_LATE_S)  # a batch system signals one process after the other: ours may be the last
        if supervisor.states[0].last_code == EXIT_DONE:
            return EXIT_DONE  # nothing was left to do, whatever we were told meanwhile
        if signal.SIGUSR2 in heard and callable(hand_on):  # some clusters send SIGTERM before it
            hand_on(signal.SIGUSR2, None)  # ends this process
        if code != EXIT_DONE:
            atexit.register(os._exit, code)  # submitit ends with 0 whatever we return
        return code

    def checkpoint(self) -> Any:
        """Return what submitit is to run when the job starts again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _name(self, _slot: Slot, start: int) -> list[str]:
        """Begin the worker's name with the job's id, so that `worker list` and `squeue` read side by side."""
        name = f"slurm-{read_job_id()}-{start}-{secrets.token_hex(2)}"
        cores = os.environ.get("SLURM_CPUS_ON_NODE", "")  # of this job, also where nothing binds it to them
        return [*self.arguments, "--name", name, *(["--threads", cores] if cores.isdigit() else [])]


def read_job_id() -> str:
    """Return the id of the job that this process runs in: `17_3` is task 3 of array 17."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return os.environ.get("SLURM_JOB_ID") or str(os.getpid())


def _print_line(_slot: Slot, line: str) -> None:
    print(f"{line}\n", end="", flush=True)  # in one piece: notes come from another thread


def _print_note(state: SlotState) -> None:
    print(f"worker {state.note}\n", end="", flush=True)

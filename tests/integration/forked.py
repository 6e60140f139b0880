"""The program in a process of its own, forked from one that has imported it: as `subprocess.Popen` has it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TextIO

_ROOT = Path(__file__).parents[2]


class ForkedProcess:
    """One process, with the methods of `subprocess.Popen` that tests use.

    Args:
        arguments: of the program.
        pid: of the process.
        stdout: what it writes.
        stderr: likewise.
        answer: where the server writes its status, once it has ended.
    """

    def __init__(self, arguments: Sequence[str], pid: int, stdout: TextIO, stderr: TextIO, answer: FileIO) -> None:
        self.args = ["anomalyvfm-opt", *arguments]
        self.pid = pid
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self._answer = answer
        self._read: dict[str, str] = {}
        self._readers: list[threading.Thread] = []

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        if not self._readers:
            for name in ("stdout", "stderr"):
                self._readers.append(threading.Thread(target=self._collect, args=(name,), daemon=True))
                self._readers[-1].start()
        self.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
            if reader.is_alive():  # a child of its own has the pipe
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._read["stdout"], self._read["stderr"]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _collect(self, name: str) -> None:
        with getattr(self, name) as stream:
            self._read[name] = stream.read()

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._answer], [], [], timeout)[0]:
            with self._answer:
                self.returncode = int(self._answer.readline())
        return self.returncode


class ForkServer:
    """The process that forks; started when it is first asked, and ended with this one."""

    @cached_property
    def _control(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                [sys.executable, "-m", "tests.integration.fork_server", str(theirs.fileno())],
                cwd=_ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        return ours

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> ForkedProcess:
        """Start the program with these variables alone."""
        request = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())})
        (out, their_out), (err, their_err), (answer, their_answer) = os.pipe(), os.pipe(), os.pipe()
        with Path(os.devnull).open() as nothing:
            theirs = [nothing.fileno(), their_out, their_err, their_answer]
            socket.send_fds(self._control, [request.encode()], theirs)
        for file in theirs[1:]:
            os.close(file)
        answered = FileIO(answer)  # not buffered: it is asked whether more is there
        return ForkedProcess(arguments, int(answered.readline()), os.fdopen(out), os.fdopen(err), answered)


SERVER = ForkServer()

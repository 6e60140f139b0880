"""Runs the program in forks of a process that has imported all of it: torch alone takes seconds to import.

    python -m tests.integration.fork_server FD

On the socket FD comes a request a message: JSON with `arguments`, `environment` and `folder`, and four files: what
is to be stdin, stdout and stderr, and a pipe on which the server answers with the process' id, and with its status
once it has ended. The fork goes on to the program's own `run`, and ends as its interpreter does.
"""

import gc
import importlib
import importlib.util
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path

_PRELOADED = ("anomalyvfm_opt.worker.serve", "anomalyvfm_opt.cli.fleet.run", "anomalyvfm_opt.store.store", "peft")
_LONGEST = 1 << 20  # bytes of a request


def serve(control: socket.socket) -> bool:
    """Fork for each request until nobody can ask any more; return whether this is a fork, by then."""
    running: dict[int, tuple[int, int]] = {}  # pidfd -> process id, and the pipe to answer on
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is control:
                    message, files, _, _ = socket.recv_fds(control, _LONGEST, 4)
                    if not message:
                        return False
                    pid = _fork(control, json.loads(message), files)
                    if pid == 0:
                        return True
                    answer = files[3]
                    os.write(answer, f"{pid}\n".encode())
                    pidfd = os.pidfd_open(pid)
                    running[pidfd] = pid, answer
                    selector.register(pidfd, selectors.EVENT_READ)
                else:
                    selector.unregister(key.fd)
                    pid, answer = running.pop(key.fd)
                    _, status = os.waitpid(pid, 0)
                    os.write(answer, f"{os.waitstatus_to_exitcode(status)}\n".encode())
                    os.close(answer)
                    os.close(key.fd)


def _fork(control: socket.socket, request: dict[str, object], files: list[int]) -> int:
    pid = os.fork()
    if pid:
        for file in files[:3]:
            os.close(file)
        return pid
    control.close()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[arg-type,call-overload]
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        _customize(Path(folder) / "sitecustomize.py")
    sys.argv = ["anomalyvfm-opt", *request["arguments"]]  # type: ignore[misc]
    return 0


def _customize(path: Path) -> None:
    """Run a `sitecustomize`, as Python does when it starts."""
    if path.is_file():
        spec = importlib.util.spec_from_file_location("sitecustomize", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def main(number: int) -> None:
    """Import what the program imports, then serve on that socket."""
    for name in _PRELOADED:
        importlib.import_module(name)
    from anomalyvfm_opt.cli.main import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.freeze()  # so that collecting what is there already copies no memory
    if serve(socket.socket(fileno=number)):
        run()


if __name__ == "__main__":
    main(int(sys.argv[1]))

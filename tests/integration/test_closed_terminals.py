"""A terminal that is closed, and SIGHUP: what runs gives its trials back, ends with 143, leaves nothing behind."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.studies import list_studies
from tests.integration.program import CATEGORY, FinishedStudy, Program, wait_for, write_spec

Hangup = Callable[["Terminal"], None]


class Terminal:
    """A command as the leader of a terminal's session, as after a shell's `exec`, and a reader of what it says."""

    def __init__(self, program: Program, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._is_open = threading.Event()
        self._is_open.set()
        self._said = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "anomalyvfm_opt", *arguments],
            env=program.surround({"TERM": "xterm", **environment}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while self._is_open.is_set():
            if select.select([self._master], [], [], 0.05)[0]:
                try:
                    self._said.extend(os.read(self._master, 4096))
                except OSError:  # the other end has gone
                    break
        os.close(self._master)

    @property
    def said(self) -> str:
        return self._said.decode(errors="replace")

    def close(self) -> None:
        """Close the window: the kernel sends SIGHUP, and whatever is written there fails from now on."""
        self._is_open.clear()
        self._reader.join()


def _take_terminal() -> None:
    """Make the terminal this process's own, and hear SIGHUP also where the tests run under `nohup`."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def close_window(terminal: Terminal) -> None:
    terminal.close()


def send_hangup(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGHUP)


@contextmanager
def opened(program: Program, *arguments: str, **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(program, arguments, environment)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
        terminal.process.wait()
        terminal.close()


def list_processes(program: Program) -> list[str]:
    """The commands of this program that run on that state folder, but for the database's."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            variables = (folder / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):  # no process, or one that has gone
            continue
        if "-m anomalyvfm_opt" in command and f"ANOMALYVFM_OPT_HOME={program.cluster.home}" in variables:
            found.append(command)
    return found


both = pytest.mark.parametrize("hang_up", [close_window, send_hangup])


@pytest.fixture
def study(program: Program, request: pytest.FixtureRequest) -> str:
    """Trials that train for longer than a busy machine needs to look at them, after the frozen one."""
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 60, "high": 60}}
    changes = {"training": {"steps_per_epoch": 20}, "search": {"trials": 5, "space": space}}
    return program.create_here(f"closed-{abs(hash(request.node.name))}", references=["frozen"], **changes)


@both
@pytest.mark.parametrize(
    "command", [("run",), pytest.param(("launch", "--engine", "local", "--count", "2"), marks=pytest.mark.slow)]
)
def test_workers_give_their_trials_back(
    program: Program, study: str, command: tuple[str, ...], hang_up: Hangup
) -> None:
    with opened(program, "worker", *command, "--study", study) as terminal:
        wait_for_training(program, study, terminal)
        assert_it_ends(program, terminal, hang_up)
    usage = program.usage(study)
    assert (usage.running, usage.held) == (0, 0)
    assert usage.waiting >= 1


@pytest.mark.slow
def test_confirm_ends_with_its_workers(program: Program) -> None:
    study = program.create_here("closed-confirm", references=["v1.1"], search={"trials": 3})
    assert program.run_here("worker", "run", "--study", study, "--threads", "1").returncode == 0
    sibling = f"{study}#replicates"
    with opened(program, "confirm", study, "--workers", "1") as terminal:
        wait_for(lambda: terminal.process.poll() is not None or sibling in program.list_names())
        wait_for(lambda: terminal.process.poll() is not None or program.usage(sibling).running > 0)
        assert_it_ends(program, terminal, close_window)
    usage = program.usage(sibling)
    assert (usage.running, usage.held) == (0, 0)


@pytest.mark.slow
@both
def test_demo_ends_with_its_workers(program: Program, hang_up: Hangup) -> None:
    def count_running() -> int:  # by id, as `--fresh` deletes the studies of an earlier demo meanwhile
        engine = program.store.engine
        studies = [study.study_id for study in list_studies(engine) if study.name.startswith("demo/")]
        return sum(count_usage(engine, study).running for study in studies)

    with opened(program, "demo", "--fresh") as terminal:
        wait_for(lambda: terminal.process.poll() is not None or count_running() > 0)
        assert_it_ends(program, terminal, hang_up)
    assert count_running() == 0


def test_plan_leaves_no_folder(program: Program, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "planned")
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = ("study", "plan", str(spec), "--data", str(program.data), "--category", CATEGORY)
    with opened(program, *command, TMPDIR=str(folder)) as terminal:
        wait_for(lambda: terminal.process.poll() is not None or any(folder.glob("anomalyvfm-opt-plan-*")))
        assert_it_ends(program, terminal, close_window)
    assert not any(folder.glob("anomalyvfm-opt-plan-*"))


def test_an_export_leaves_no_folder(program: Program, finished_study: FinishedStudy, tmp_path: Path) -> None:
    command = ("model", "export", finished_study.name, str(tmp_path / "detector"))
    with opened(program, *command) as terminal:
        wait_for(lambda: terminal.process.poll() is not None or any(tmp_path.iterdir()))
        assert_it_ends(program, terminal, send_hangup)
    assert list(tmp_path.iterdir()) == []


def wait_for_training(program: Program, name: str, terminal: Terminal) -> None:
    def is_training() -> bool:
        assert terminal.process.poll() is None, terminal.said
        return any(t.state.name == "RUNNING" and t.intermediate_values for t in program.trials(name))

    wait_for(is_training)


def assert_it_ends(program: Program, terminal: Terminal, hang_up: Hangup) -> None:
    hang_up(terminal)
    assert terminal.process.wait(60) == 143, terminal.said
    wait_for(lambda: list_processes(program) == [], 5)
    assert "Traceback" not in terminal.said
    assert "bug" not in terminal.said

"""A kept command ends with SIGTERM when its holder, or its keeper, is gone; else its end is seen from outside."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KEEPER = (sys.executable, "-m", "anomalyvfm_opt.launch.keeper")
# says its number when it is ready, and leaves word of a SIGTERM
COMMAND = """trap 'echo term > "$1"; exit 143' TERM; trap 'exit 130' INT; trap 'exit 129' HUP
echo $$; while :; do sleep 0.05; done"""


def keep(word: Path) -> tuple["subprocess.Popen[str]", int]:
    process = subprocess.Popen(
        [*KEEPER, "sh", "-c", COMMAND, "sh", str(word)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def run(script: str) -> int:
    with subprocess.Popen([*KEEPER, "sh", "-c", script], stdin=subprocess.PIPE) as process:
        return process.wait(20)


def wait_for_file(word: Path) -> None:
    deadline = time.monotonic() + 20
    while not word.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", -9), ("kill -11 $$", -11)]
)
def test_the_end_of_the_command_is_that_of_its_keeper(script: str, code: int) -> None:
    assert run(script) == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_signals_are_passed_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process, _ = keep(tmp_path / "word")
    process.send_signal(number)
    assert process.wait(20) == code


def test_a_holder_that_dies_ends_the_command(tmp_path: Path) -> None:
    process, _ = keep(tmp_path / "word")
    assert process.stdin is not None
    process.stdin.close()  # as the kernel does for a process that dies, however
    assert process.wait(20) == 143
    assert (tmp_path / "word").read_text() == "term\n"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")
def test_a_killed_keeper_ends_the_command(tmp_path: Path) -> None:
    process, pid = keep(tmp_path / "word")
    assert os.getpgid(pid) != os.getpgid(process.pid)  # whoever kills the keeper's group does not meet it
    process.kill()
    process.wait(20)
    wait_for_file(tmp_path / "word")

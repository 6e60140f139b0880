"""Signals that end a worker, in a process of their own: once, twice at once, twice, and with nobody to tell."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

_PROGRAM = """
import time
from anomalyvfm_opt.worker.signals import heed_signals
from anomalyvfm_opt.trial.outcome import InterruptedTrialError
from anomalyvfm_opt.trial.pulse import StopRequest
stop = StopRequest()
heed_signals(stop)
print("ready", flush=True)
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    time.sleep(0.02)
try:
    stop.check()
except InterruptedTrialError as interruption:
    print("asked", interruption.exit_code, flush=True)
"""

_PREPARING = """
import time
from anomalyvfm_opt.worker.signals import heed_signals
from anomalyvfm_opt.trial.outcome import InterruptedTrialError
from anomalyvfm_opt.trial.pulse import StopRequest
stop = StopRequest()
heed_signals(stop)
try:
    with stop.heard_at_once():
        print("ready", flush=True)
        while True:
            time.sleep(0.02)  # one long one does not see a signal that comes just before it
except InterruptedTrialError as interruption:
    print("asked", interruption.exit_code, flush=True)
"""


def start(stderr: int, *before: str, program: str = _PROGRAM) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [*before, sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR2, 143), (signal.SIGHUP, 143)],
)
def test_a_group_that_is_signalled_twice_at_once_is_asked_once(number: signal.Signals, code: int) -> None:
    """As by systemd, and by a launcher that passes the signal on."""
    process = start(subprocess.PIPE)
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, f"asked {code}\n")
    assert stderr.count("stopping: a trial that runs is given back") == 1


def test_what_nohup_had_ignored_stays_ignored() -> None:
    process = start(subprocess.PIPE, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)  # which is heard, and is the first
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "asked 143\n")
    assert stderr.count("stopping: a trial that runs is given back") == 1


def test_a_signal_ends_at_once_what_no_trial_waits_for() -> None:
    process = start(subprocess.PIPE, program=_PREPARING)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (0, "asked 130\n", "stopping\n")


def test_on_a_terminal_it_takes_the_place_of_how_far_the_trial_is() -> None:
    leader, terminal = pty.openpty()
    process = start(terminal)
    os.close(terminal)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert os.read(leader, 1000).startswith(b"\r\x1b[Kstopping: a trial that runs is given back")
    os.close(leader)


def test_a_second_signal_after_a_while_ends_at_once() -> None:
    process = start(subprocess.DEVNULL)
    process.send_signal(signal.SIGINT)
    time.sleep(1.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT


def test_a_signal_is_heard_although_nobody_reads_what_is_said() -> None:
    reading, writing = os.pipe()
    process = start(writing)
    os.close(reading)
    os.close(writing)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (0, "asked 143\n")


def test_what_nobody_reads_is_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = (
        "from anomalyvfm_opt.cli.output import say\nfrom anomalyvfm_opt.streams import prepare_streams\n"
        "prepare_streams()\nsay('into the void')\nprint('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=writing, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"goes on\n")

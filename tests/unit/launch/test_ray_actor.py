"""What runs on a node, without Ray: the worker's own mistakes stand for its life."""

import signal
import time
from collections.abc import Callable

import pytest

from anomalyvfm_opt.launch import ray_actor, ray_cluster
from anomalyvfm_opt.launch.base import Slot
from anomalyvfm_opt.launch.ray_actor import DetachedWorker, HeldWorker


def read_to_the_end(worker: HeldWorker) -> tuple[list[str], int]:
    lines: list[str] = []
    for _ in range(60):
        more, code = worker.read()
        lines += more
        if code is not None:
            return lines, code
    raise AssertionError(lines)


def test_the_lines_and_the_exit_code_of_the_worker_are_handed_over() -> None:
    worker = HeldWorker()
    assert worker.start(Slot(1, "ray"), ["--no-such-option"]).startswith("on ")
    lines, code = read_to_the_end(worker)
    assert code == 2
    assert any("no-such-option" in line for line in lines)
    assert worker.read() == ([], 2)  # the first answer may have got lost


def test_a_signal_reaches_the_worker() -> None:
    worker = HeldWorker()
    worker.start(Slot(1, "ray"), ["--help"])
    worker.signal(signal.SIGKILL)  # its keeper
    assert read_to_the_end(worker)[1] == -signal.SIGKILL


def test_what_the_node_sets_itself_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/of/the/node")
    slot = Slot(1, "ray", {"PGPASSFILE": "/of/the/launcher", "OTHER": "1"})
    assert ray_actor._at_home(slot).environment == {"OTHER": "1"}


def test_a_detached_worker_ends_its_actor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(ray_actor, "_end_this_actor", lambda: ended.append(True))
    DetachedWorker(Slot(7, "ray"), ["--no-such-option"], "family")
    wait_for(lambda: bool(ended))
    assert "[7] exit 2; not started again" in capfd.readouterr().err


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: HeldWorker\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"{DIED}The actor died because its node has died. Node Id: 1", "its node died"),
        (f"{DIED}The actor is dead because its worker process has died. Worker exit type: ...", "its actor died"),
        ("The actor 9736b3 is unavailable: The actor is temporarily unavailable", "its actor cannot be reached"),
        ("\n  No module named x\nmore", "No module named x"),
    ],
)
def test_what_ray_says_of_a_loss_is_shortened(said: str, shown: str) -> None:
    """As Ray 2.60 wrote it."""
    assert ray_cluster.describe_loss(RuntimeError(said)) == shown

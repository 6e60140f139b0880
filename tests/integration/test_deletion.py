"""`study delete` under a worker, at each moment of its turns: it is done with the study, and speaks of no bug.

A study is deleted before the first statement that a worker sends to the database, the next one before the second,
and so on, until a worker ends before its study is deleted. Where it holds a lock that the deletion waits for, the
deletion comes before the first statement after that.
"""

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from optuna.exceptions import StorageInternalError
from sqlalchemy import Engine, event

from anomalyvfm_opt.store.artifacts import ArtifactFolder
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import delete_study, list_names, list_studies
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder
from anomalyvfm_opt.trial.outcome import Outcome
from anomalyvfm_opt.trial.pulse import StopRequest, Times
from anomalyvfm_opt.worker.serve import Worker, WorkerOptions
from tests.integration.families import Families, Family, plan_looks
from tests.integration.program import run_in_process
from tests.integration.trial_states import die_after_asking, expire_leases

_IMPATIENT = "&options=-c%20lock_timeout%3D50ms"
_MOST = 100  # statements of a worker with two trials, and then some


@dataclass
class Deletion:
    """Deletes a study before the n-th statement of this process."""

    store: Store
    name: str
    n: int
    seen: int = 0
    is_done: bool = False

    def __post_init__(self) -> None:
        assert self.store.storage  # whose statements are no worker's

    def hear(self, *_: Any) -> None:
        self.seen += 1
        if self.is_done or self.seen < self.n:
            return
        self.is_done = True  # first: its own statements come here as well
        try:
            delete_study(self.store, self.name)
        except StorageInternalError:  # it does not get a lock
            self.is_done = False


@contextmanager
def coming(deletion: Deletion) -> Iterator[None]:
    event.listen(Engine, "before_cursor_execute", deletion.hear)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", deletion.hear)


def make_worker(family: Family, folder: Path, said: list[str]) -> Worker:
    """A worker that serves that family alone, by trainings that cost nothing."""

    def select() -> list[Any]:
        return [record for record in list_studies(family.engine) if record.family == family.name]

    options = WorkerOptions(
        data=None,
        weights=None,
        arrays=None,  # type: ignore[arg-type]
        max_trials=None,
        keep_running=False,
        device=torch.device("cpu"),
        times=Times(),
        name="w",
        checkpoints=CheckpointFolder(folder / "checkpoints"),
        artifacts=ArtifactFolder(folder),
    )
    worker = Worker(family.store, options, select, StopRequest(), said.append)
    benches: Any = SimpleNamespace(run=family.trainings.run)
    worker._build_benches = lambda _record: benches  # type: ignore[method-assign]
    return worker


def found(store: Families, name: str, end: str) -> Family:
    """A study of two trials that end like that."""
    family = store.found(name, references=["frozen"], search={"trials": 2})
    if end == "bug":
        family.trainings.fault = lambda _request: ValueError("ours")
    if end == "lost":
        die_after_asking(family.bench)
        expire_leases(family.bench)
    if end == "look":
        family.search()
        plan_looks(family, count=1)
    return family


@pytest.mark.parametrize(
    "end",
    [
        "completed",
        "look",
        pytest.param("bug", marks=pytest.mark.slow),
        pytest.param("lost", marks=pytest.mark.slow),
    ],
)
def test_whenever_it_comes_the_worker_is_done_with_the_study(
    store: Families, end: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deleter = Store.at(store.url + _IMPATIENT)
    for n in range(1, _MOST):
        family = found(store, f"{end}-{n}", end)
        deletion = Deletion(deleter, family.name, n)
        said: list[str] = []
        caplog.clear()
        with coming(deletion), caplog.at_level(logging.WARNING):
            worker = make_worker(family, tmp_path, said)
            worker._serve()
        if not deletion.is_done:
            assert n > 20
            return
        assert "could not be settled" not in caplog.text, n
        done_with = [line for line in said if "was deleted; this worker is done with it" in line]
        assert len(done_with) == len(set(done_with)), (n, said)
        assert done_with or n == 1, said  # of which the worker never heard
        for ended in worker.ended:
            if ended.outcome is Outcome.FENCED:
                assert ended.message == "its study was deleted", (n, said)
            else:
                assert ended.outcome is (Outcome.BUG if end == "bug" else Outcome.COMPLETED), (n, said)
    raise AssertionError("a worker never came to its end")


COMMANDS = {
    "show": ("study", "show", "{}"),
    "verdict": ("verdict", "{}"),
    "confirm": ("confirm", "{}", "--no-wait"),
    "pause": ("study", "pause", "{}", "--now"),
    "resume": ("study", "resume", "{}"),
    "delete": ("study", "delete", "{}", "--yes"),
    "export": ("study", "export", "{}", "--output", "{folder}/study.json", "--force"),
    "predict": ("forecast", "add", "{}", "0.1"),
    "reap": ("worker", "reap"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_whenever_it_comes_a_command_speaks_of_no_bug(store: Families, name: str, tmp_path: Path) -> None:
    deleter = Store.at(store.url + _IMPATIENT)
    environment = {**os.environ, "ANOMALYVFM_OPT_HOME": str(tmp_path), "ANOMALYVFM_OPT_DB_URL": store.url}
    for n in range(1, _MOST):
        family = store.found(f"{name}-{n}", references=["frozen", "v1.1"], search={"trials": 3})
        family.search()
        if name in ("pause", "verdict"):
            family.plan()
        deletion = Deletion(deleter, family.name, n)
        with coming(deletion):
            done = run_in_process(
                [word.format(family.name, folder=tmp_path) for word in COMMANDS[name]], environment
            )
        gc.collect()  # engines of commands that have ended hold connections
        assert done.returncode in (0, 2, 3), (n, done.stderr)
        assert "bug:" not in done.stderr
        if not deletion.is_done:
            assert done.returncode == 0 or name == "verdict", done.stderr
            delete_study(deleter, family.name)
            return
        left = [other for other in list_names(store.engine) if other.startswith(family.name)]
        assert left == [], (n, left, done.stderr)
    raise AssertionError("the command never came to its end")

"""Workers that sleep, a database that restarts or is cut off, and a seeded storm of all of it."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from anomalyvfm_opt.store.store import Store, open_store
from tests.chaos.cable import plugged_in
from tests.chaos.invariants import assert_books_are_right, assert_study_is_whole
from tests.integration.databases import execute
from tests.integration.external_server import ExternalServer
from tests.integration.program import CATEGORY, Process, Program, finish, wait_for

_NAME = f"tiny/{CATEGORY}"
_WORK = ("worker", "run", "--threads", "1", "--grace-s", "3")
_RUNNING = "SELECT count(*) FROM trials WHERE state = 'RUNNING' AND number > 0"
_REPORTED = """
    SELECT count(*) FROM trials t JOIN trial_intermediate_values v ON v.trial_id = t.trial_id
     WHERE t.state = 'RUNNING'
"""
_STORM_S = 60
_SEED = 20261125


@dataclass(frozen=True)
class Team(Program):
    """The program on the team's server, with a folder of artifacts of its own."""

    server: ExternalServer
    artifacts: Path

    @cached_property
    def store(self) -> Store:
        return open_store(self.server.local_url)

    def surround(self, environment: dict[str, str]) -> dict[str, str]:
        ours = {**self.server.environment, "ANOMALYVFM_OPT_ARTIFACTS": str(self.artifacts)}
        return super().surround({**ours, **environment})

    def wait_for_training(self, worker: Process) -> None:
        wait_for(lambda: worker.poll() is not None or execute(self.server.local_url, _RUNNING)[0][0] > 0)

    def wait_for_an_epoch(self, worker: Process) -> None:
        """Wait for what a worker reports: by then it holds no lock on what the host's workers share."""
        wait_for(lambda: worker.poll() is not None or execute(self.server.local_url, _REPORTED)[0][0] > 0)


@pytest.fixture
def team(program: Program, external_server: ExternalServer, tmp_path: Path) -> Iterator[Team]:
    external_server.empty()
    yield Team(program.cluster, program.data, external_server, tmp_path / "artifacts")
    external_server.empty()


def create(team: Team, trials: int, steps: int = 6) -> None:
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 3, "high": 3}}
    search = {"trials": trials, "space": space}
    team.create_here("tiny", references=["frozen"], training={"steps_per_epoch": steps}, search=search)


def end_the_study(team: Team) -> None:
    assert_books_are_right(team.store, _NAME, team.artifacts)
    done = team.run_here(*_WORK)
    assert done.returncode == 0, done.stderr
    assert_study_is_whole(team.store, _NAME, team.artifacts)


@pytest.mark.slow
def test_a_worker_that_sleeps_past_its_grace_is_taken_over_and_drops_its_trial(team: Team) -> None:
    create(team, trials=2, steps=40)
    sleeper = team.start(*_WORK)
    team.wait_for_an_epoch(sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    try:
        rival = team.run(*_WORK)
        assert rival.returncode == 0, rival.stderr
        assert "its worker died; given back" in rival.stderr
    finally:
        sleeper.send_signal(signal.SIGCONT)
    woken = finish(sleeper)
    assert woken.returncode == 0, woken.stderr
    assert "trial 1 fenced" in woken.stderr
    assert_study_is_whole(team.store, _NAME, team.artifacts)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_restarts_under_load(team: Team, mode: str) -> None:
    create(team, trials=6)
    workers = [team.start(*_WORK) for _ in range(2)]
    team.wait_for_training(workers[0])
    for _ in range(3):
        time.sleep(2)
        team.server.stop(mode)
        team.server.start()
    for done in map(finish, workers):
        assert done.returncode == 0, done.stderr
    end_the_study(team)


@pytest.mark.slow
def test_a_worker_that_is_cut_off_past_its_grace(team: Team) -> None:
    create(team, trials=2, steps=40)
    with plugged_in(team.server.port) as cable:
        url = make_url(team.server.url).set(port=cable.port)
        passfile = team.artifacts.parent / "passfile"
        shutil.copy(team.server.passfile, passfile)
        passfile.write_text(passfile.read_text().replace(f":{team.server.port}:", f":{cable.port}:"))
        far = {"ANOMALYVFM_OPT_DB_URL": url.render_as_string(), "PGPASSFILE": str(passfile)}
        # the worker cannot know whether its bytes were lost or are late: both ends must cope with either
        cut_off = team.start(*_WORK, **far)
        team.wait_for_training(cut_off)
        cable.pull()
        rival = team.run_here(*_WORK)
        assert rival.returncode == 0, rival.stderr
        assert "its worker died; given back" in rival.stderr
        cable.plug()
        back = finish(cut_off)
    assert back.returncode == 0, back.stderr
    assert "fenced" in back.stderr
    assert_study_is_whole(team.store, _NAME, team.artifacts)


@pytest.mark.slow
def test_a_storm(team: Team) -> None:
    """For a minute, at random times: kill -9, SIGTERM, SIGSTOP and SIGCONT, restarts of the database."""
    create(team, trials=30)
    draw = random.Random(_SEED)  # noqa: S311 - a storm that can be had again
    workers = [team.start(*_WORK) for _ in range(2)]
    sleeping: list[Process] = []
    deadline = time.monotonic() + _STORM_S
    try:
        while time.monotonic() < deadline:
            time.sleep(draw.uniform(0.5, 4))
            hit = draw.choice(("kill", "term", "stop", "wake", "restart", "crash"))
            _hit(team, hit, workers, sleeping, draw)
            for i, worker in enumerate(workers):
                if worker.poll() is not None:
                    finish(worker)
                    workers[i] = team.start(*_WORK)
    finally:
        for worker in [*sleeping, *workers]:
            worker.send_signal(signal.SIGCONT)
    for worker in [*sleeping, *workers]:
        done = finish(worker, 400)
        assert "Traceback" not in done.stderr, done.stderr
    end_the_study(team)


def _hit(team: Team, hit: str, workers: list[Any], sleeping: list[Any], draw: random.Random) -> None:
    i = draw.randrange(len(workers))
    if hit in ("kill", "term"):
        workers[i].send_signal(signal.SIGKILL if hit == "kill" else signal.SIGTERM)
    elif hit == "stop" and len(sleeping) < 2:
        workers[i].send_signal(signal.SIGSTOP)
        sleeping.append(workers[i])
        workers[i] = team.start(*_WORK)
    elif hit == "wake" and sleeping:
        sleeping[0].send_signal(signal.SIGCONT)
    elif hit in ("restart", "crash"):
        team.server.stop("fast" if hit == "restart" else "immediate")
        time.sleep(draw.uniform(0, 4))
        team.server.start()

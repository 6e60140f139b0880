"""The team's PostgreSQL goes away while a worker runs: it waits, or ends with exit 3; no trial is lost."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from optuna.trial import FrozenTrial, TrialState

from anomalyvfm_opt.store.budget import Usage
from anomalyvfm_opt.store.store import Store, open_store
from tests.integration.databases import execute
from tests.integration.external_server import ExternalServer
from tests.integration.program import CATEGORY, Process, Program, assert_one_error, finish, wait_for

_BUDGET = 3
_NAME = f"tiny/{CATEGORY}"
_WORK = ("worker", "run", "--threads", "1", "--grace-s", "4")
_FILL_DISK = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file "base/5/16397": No space left on device' USING ERRCODE = '53100';
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON trial_values EXECUTE FUNCTION refuse();
"""


@dataclass(frozen=True)
class Team(Program):
    """The program on the team's server."""

    server: ExternalServer

    @cached_property
    def store(self) -> Store:
        return open_store(self.server.local_url)

    def surround(self, environment: dict[str, str]) -> dict[str, str]:
        return super().surround({**self.server.environment, **environment})


@pytest.fixture
def team(program: Program, external_server: ExternalServer) -> Iterator[Team]:
    """A tiny study in the team's database, which is empty otherwise."""
    external_server.empty()
    team = Team(program.cluster, program.data, external_server)
    team.create_here("tiny", references=["frozen"], search={"trials": _BUDGET})
    yield team
    external_server.empty()


def assert_budget_is_exact(team: Team, before: list[FrozenTrial]) -> None:
    """A worker ends the study: as many trials as the budget says, each seed once, finished ones untouched."""
    done = team.run_here(*_WORK)
    assert done.returncode == 0, done.stderr
    usage, trials = team.usage(_NAME), team.trials(_NAME)
    exact = Usage(complete=_BUDGET, pruned=0, failed=0, running=0, waiting=0, held=0, budget=_BUDGET)
    assert replace(usage, given_back=0) == exact
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    seeds = Counter(trial.user_attrs["training_seed"] for trial in complete)
    assert set(seeds.values()) == {1}
    kept = {trial.number: trial for trial in trials}
    for trial in before:
        if trial.state is TrialState.COMPLETE:
            assert kept[trial.number] == trial


def start_and_wait(team: Team, *options: str) -> Process:
    """A worker in the middle of a trial that trains."""
    worker = team.start(*_WORK, *options)
    running = "SELECT count(*) FROM trials WHERE state = 'RUNNING' AND number > 0"
    wait_for(lambda: worker.poll() is not None or execute(team.server.local_url, running)[0][0] > 0)
    return worker


def test_a_server_that_comes_back_costs_nothing(team: Team) -> None:
    """It is away for longer than the grace, and still the running trial is not run again."""
    worker = start_and_wait(team)
    team.server.stop("immediate")
    time.sleep(6)
    team.server.start()
    done = finish(worker)
    assert done.returncode == 0, done.stderr
    assert "waiting up to 900 s for it" in done.stderr
    assert [trial.state for trial in team.trials(_NAME)] == [TrialState.COMPLETE] * _BUDGET
    assert_budget_is_exact(team, team.trials(_NAME))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_server_that_stays_away(team: Team, mode: str) -> None:
    worker = start_and_wait(team, "--outage-s", "2", "--drain-s", "2")
    team.server.stop(mode)
    try:
        shown = assert_one_error(finish(worker), 3)
    finally:
        team.server.start()
    assert "cannot use the database" in shown
    assert 1 <= team.usage(_NAME).complete < _BUDGET
    assert_budget_is_exact(team, team.trials(_NAME))


def test_a_server_whose_disk_is_full(team: Team) -> None:
    execute(team.server.local_url, _FILL_DISK)
    shown = assert_one_error(team.run_here(*_WORK), 3)
    assert "the server's disk is full" in shown
    assert (team.usage(_NAME).used, team.usage(_NAME).waiting) == (0, 1)  # given back


def test_a_server_that_takes_no_writes_any_more(team: Team) -> None:
    team.server.admin("ALTER ROLE engineer SET default_transaction_read_only = on")
    try:
        shown = assert_one_error(team.run_here(*_WORK), 3)
    finally:
        team.server.admin("ALTER ROLE engineer RESET default_transaction_read_only")
    assert "the server takes no writes" in shown
    assert [trial.state for trial in team.trials(_NAME)] == [TrialState.WAITING]

"""The team's PostgreSQL goes away while a worker runs: exit 3, and no trial is lost or counted twice."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from anomalyvfm_opt.cli.store import Store, open_store
from anomalyvfm_opt.trial.budget import Usage
from tests.integration.databases import execute
from tests.integration.external_server import ExternalServer
from tests.integration.program import CATEGORY, Program, assert_one_error, finish, wait_for

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

    def start(self, *arguments: str, **environment: str) -> Any:
        return super().start(*arguments, **{**self.server.environment, **environment})


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
    done = team.run(*_WORK)
    assert done.returncode == 0, done.stderr
    usage, trials = team.usage(_NAME), team.trials(_NAME)
    assert usage == Usage(complete=_BUDGET, pruned=0, failed=0, running=0, waiting=0, held=0)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    seeds = Counter(trial.user_attrs["training_seed"] for trial in complete)
    assert set(seeds.values()) == {1}
    kept = {trial.number: trial for trial in trials}
    for trial in before:
        if trial.state is TrialState.COMPLETE:
            assert kept[trial.number] == trial


@pytest.mark.parametrize("mode", ["immediate", pytest.param("fast", marks=pytest.mark.slow)])
def test_a_server_that_goes_away_during_a_trial(team: Team, mode: str) -> None:
    worker = team.start(*_WORK)
    running = "SELECT count(*) FROM trials WHERE state = 'RUNNING' AND number > 0"
    wait_for(lambda: worker.poll() is not None or execute(team.server.local_url, running)[0][0] > 0)
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
    shown = assert_one_error(team.run(*_WORK), 3)
    assert "the server's disk is full" in shown
    assert (team.usage(_NAME).used, team.usage(_NAME).waiting) == (0, 1)  # given back


def test_a_server_that_takes_no_writes_any_more(team: Team) -> None:
    team.server.admin("ALTER ROLE engineer SET default_transaction_read_only = on")
    try:
        shown = assert_one_error(team.run(*_WORK), 3)
    finally:
        team.server.admin("ALTER ROLE engineer RESET default_transaction_read_only")
    assert "the server takes no writes" in shown
    assert [trial.state for trial in team.trials(_NAME)] == [TrialState.WAITING]

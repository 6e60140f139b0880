"""Three hosts with addresses of their own: the database on one, a worker on each of the others."""

from pathlib import Path

import pytest

from anomalyvfm_opt.store.store import open_store
from tests.chaos.hosts import NEEDS_NAMESPACES, Site, network_of
from tests.chaos.invariants import assert_study_is_whole
from tests.integration.databases import execute
from tests.integration.program import CATEGORY, Program, finish, wait_for, write_spec

pytestmark = [pytest.mark.slow, NEEDS_NAMESPACES]
_NAME = f"hosts/{CATEGORY}"
_GRACE_S = 3
_LOST = "SELECT count(*) FROM anomalyvfm_opt.trial_outcome WHERE outcome = 'lost'"
_RUNS_ON = "SELECT count(*) FROM anomalyvfm_opt.lease WHERE worker = '{}' AND trial_id IS NOT NULL"


def test_a_host_that_is_cut_off_past_its_grace_loses_nothing_and_doubles_nothing(
    open_folder: Path, program: Program
) -> None:
    with network_of("db", "one", "two") as hosts:
        database, *workers = (Site(host, open_folder) for host in hosts)
        team = database.invite("db", "up", "--listen", database.host.address)
        try:
            space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": 3, "high": 3}}
            search = {"trials": 6, "space": space}
            file = write_spec(
                open_folder, "hosts", references=["frozen"], training={"steps_per_epoch": 12}, search=search
            )
            database.run("study", "create", str(file), "--data", str(program.data), "--category", CATEGORY)
            work = ("worker", "run", "--threads", "1", "--grace-s", str(_GRACE_S), "--name")
            running = {site.host: site.start(*work, site.host.namespace, **team) for site in workers}
            here = "{ANOMALYVFM_OPT_DB_URL}?passfile={PGPASSFILE}".format_map(team)
            lonely = workers[0].host
            wait_for(lambda: bool(execute(here, _RUNS_ON.format(lonely.namespace))[0][0]))
            lonely.cut_off()
            wait_for(lambda: bool(execute(here, _LOST)[0][0]))  # the other host has taken the trial over
            lonely.join()
            for process in running.values():
                done = finish(process)
                assert done.returncode == 0, done.stderr
            assert_study_is_whole(open_store(here), _NAME, open_folder / "artifacts")
        finally:
            database.run("db", "down")

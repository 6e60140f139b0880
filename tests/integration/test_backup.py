"""A backup of a store that is being worked on, restored elsewhere: workers go on, budgets exact."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from anomalyvfm_opt.store.budget import Usage, count_usage
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.embedded.binaries import find_installation
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.roles import Roles, apply_roles
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.store.url import normalise_url
from tests.docs.pages import ROOT, list_blocks
from tests.integration.external_server import ADMIN, DATABASE, USER, ExternalServer, run_external_server
from tests.integration.program import CATEGORY, Program, finish, wait_for, write_spec

WHOLE, HALF = f"whole/{CATEGORY}", f"half/{CATEGORY}"
BUDGET = 5
_RUNNING = "SELECT count(*) FROM trials WHERE state = 'RUNNING'"


@pytest.fixture
def other_server() -> Iterator[ExternalServer]:
    """Where it is restored: another server, which knows neither our roles nor their passwords."""
    with run_external_server() as server:
        yield server


def find_block(containing: str) -> str:
    """A command of docs/database.md."""
    page = ROOT / "docs" / "database.md"
    (block,) = [b.text for b in list_blocks(page) if b.language == "sh" and containing in b.text]
    return block


def run_block(block: str, server: ExternalServer, folder: Path) -> None:
    """Run it against a server, with the programs of the wheel, as the page says."""
    place = f"-h 127.0.0.1 -p {server.port} -U {USER}"
    command = block.replace("-h db.example.org -p 5432 -U anomalyvfm_opt", place)
    command = re.sub(r"(?<= )anomalyvfm_opt\b(?!\.)", DATABASE, command)
    path = os.pathsep.join([f"{find_installation().folder}/bin", os.environ["PATH"]])
    environment = {"PATH": path, "PGPASSFILE": str(server.passfile), "HOME": str(folder)}
    done = subprocess.run(["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def read_trials(server: ExternalServer, name: str) -> list[dict[str, Any]]:
    storage = open_storage(normalise_url(server.local_url))
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.engine.dispose()
    return [vars(trial) for trial in trials]


def read_usage(server: ExternalServer, name: str) -> Usage:
    engine = make_engine(server.local_url)
    usage = count_usage(engine, load_study(engine, name).study_id)
    engine.dispose()
    return usage


def create(program: Program, server: ExternalServer, folder: Path, name: str, epochs: int, trials: int) -> None:
    space = {"adapter": ["lora"], "rank": [4], "epochs": {"low": epochs, "high": epochs}}
    changes = {"training": {"steps_per_epoch": 20}, "search": {"trials": trials, "space": space}}
    spec = write_spec(folder, name, references=["frozen"], **changes)
    data = ("--data", str(program.data), "--category", CATEGORY)
    made = program.run_here("study", "create", str(spec), *data, **server.environment)
    assert made.returncode == 0, made.stderr


def work(program: Program, server: ExternalServer, study: str, *options: str) -> str:
    done = program.run_here("worker", "run", "--study", study, "--threads", "1", *options, **server.environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_a_store_that_is_worked_on_is_dumped_and_restored_elsewhere_and_workers_go_on(
    program: Program, external_server: ExternalServer, other_server: ExternalServer, tmp_path: Path
) -> None:
    server = external_server
    server.empty()
    create(program, server, tmp_path, "whole", epochs=1, trials=2)
    work(program, server, "whole")
    create(program, server, tmp_path, "half", epochs=4, trials=BUDGET)
    work(program, server, "half", "--max-trials", "2")
    admin = make_engine(f"{server.url_of(ADMIN, DATABASE)}?passfile={server.passfile}")
    apply_roles(admin, Roles(USER, "backup_hands", "backup_eyes"))  # whom the other server does not know
    admin.dispose()
    try:
        worker = program.start("worker", "run", "--study", "half", "--threads", "1", **server.environment)
        wait_for(lambda: worker.poll() is not None or server.admin(_RUNNING, DATABASE) == [(1,)])
        run_block(find_block("pg_dump"), server, tmp_path)  # while it works
        running = server.admin(_RUNNING, DATABASE)
        worker.send_signal(signal.SIGTERM)
        finish(worker)
        assert running == [(1,)], "the worker had no trial during the dump"
        before = {name: read_trials(server, name) for name in (WHOLE, HALF)}
    finally:
        server.admin("DROP OWNED BY backup_hands, backup_eyes", DATABASE)
        server.admin("DROP ROLE backup_hands, backup_eyes")

    run_block(find_block("pg_restore"), other_server, tmp_path)
    assert read_trials(other_server, WHOLE) == before[WHOLE]
    assert read_trials(other_server, HALF)[:2] == before[HALF][:2]
    assert read_usage(other_server, HALF).running == 1  # in the hands of nobody
    listed = program.run_here("study", "list", "--json", **other_server.environment)
    budgets = {study["name"]: study["budget"] for study in json.loads(listed.stdout)["studies"]}
    assert budgets[WHOLE] == {"trials": 2, "used": 2}

    said = work(program, other_server, "half", "--grace-s", "60")
    assert "worker done" in said
    usage = read_usage(other_server, HALF)
    assert (usage.complete, usage.used, usage.running, usage.held) == (BUDGET, BUDGET, 0, 0)
    assert read_usage(other_server, WHOLE).used == 2
    engine = make_engine(other_server.local_url)
    assert len(list_images(engine, load_study(engine, HALF).study_id)) == 128
    engine.dispose()
    # ... and the server that the backup was made of goes on as if nothing had been.
    work(program, server, "half")
    usage = read_usage(server, HALF)
    assert (usage.complete, usage.used, usage.running, usage.held) == (BUDGET, BUDGET, 0, 0)

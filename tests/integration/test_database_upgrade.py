"""Older and newer databases: refused with an advice, upgraded without a loss, safe to interrupt and to repeat."""

import re
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import HEAD, Versions, prepare_database, upgrade_database
from anomalyvfm_opt.store.scores import read_metrics, read_scores
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import list_studies, load_study
from anomalyvfm_opt.store.versions import list_optuna_versions
from tests.integration.conftest import Bench
from tests.integration.databases import OPTUNA_2_10, OURS_0001, execute, load, read_versions
from tests.integration.program import Process, Program, assert_one_error, finish, wait_for
from tests.integration.trial_states import run_to_end

OPTUNA_HEAD = list_optuna_versions()[0]
_COMMANDS = (("study", "list"), ("worker", "run"), ("db", "url"))


def finished(url: str, name: str) -> list[dict[str, Any]]:
    """What a study's trials came to, as it has to survive."""
    trials = optuna.load_study(study_name=name, storage=open_storage(url)).get_trials()
    kept = ("number", "state", "values", "params", "distributions", "user_attrs", "intermediate_values")
    return [{key: repr(getattr(trial, key)) for key in kept} for trial in trials]


@pytest.mark.parametrize("arguments", _COMMANDS, ids=" ".join)
def test_an_older_store_is_refused_with_the_advice(
    program: Program, database_url: str, arguments: tuple[str, ...]
) -> None:
    load(OURS_0001, database_url)
    shown = assert_one_error(program.run_here(*arguments, "--db", database_url), 3)
    assert "schema version 0001, this program needs" in shown
    assert "anomalyvfm-opt db upgrade" in shown
    assert read_versions(database_url) == ("0001", OPTUNA_HEAD)


def test_an_older_store_is_upgraded_and_worked_on(program: Program, database_url: str) -> None:
    load(OURS_0001, database_url)
    before = finished(database_url, "tiny/brick")
    assert [trial["state"] for trial in before] == [repr(TrialState.COMPLETE)] * 3
    done = program.run_here("db", "upgrade", "--db", database_url)
    assert done.returncode == 0, done.stderr
    assert f"schema version 0001 -> {HEAD}" in done.stderr
    assert f"Optuna's tables {OPTUNA_HEAD} -> {OPTUNA_HEAD}" in done.stderr
    assert finished(database_url, "tiny/brick") == before
    assert "tiny/brick" in program.run_here("study", "list", "--db", database_url).stdout
    engine = make_engine(database_url)
    record = load_study(engine, "tiny/brick")
    images = list_images(engine, record.study_id)
    assert len(images) == 128
    assert record.masks_sha256 is None
    assert {image.mask_sha256 for image in images.values()} == {None}
    assert (record.method, record.is_spec_intact) == (1, True)
    assert len(read_scores(engine, 1, "mahalanobis")) == 31
    assert read_metrics(engine, 1)["mahalanobis"].image_auroc == pytest.approx(0.8042, abs=1e-4)
    bench = Bench(Store(database_url, engine), record)
    run_to_end(bench.loop())
    after = finished(database_url, "tiny/brick")
    assert after[:3] == before
    assert [trial["state"] for trial in after] == [repr(TrialState.COMPLETE)] * 4  # the budget
    assert record.spec.search.space.dropout == (0.0,)  # a parameter that there was not when the study was stored
    assert ["dropout" in trial["params"] for trial in after] == [False, False, False, True]


def test_a_second_upgrade_is_a_no_op(program: Program, database_url: str) -> None:
    load(OURS_0001, database_url)
    engine = make_engine(database_url)
    assert upgrade_database(engine) == (Versions("0001", OPTUNA_HEAD), Versions(HEAD, OPTUNA_HEAD))
    assert upgrade_database(engine) == (Versions(HEAD, OPTUNA_HEAD), Versions(HEAD, OPTUNA_HEAD))
    assert "nothing to do" in program.run_here("db", "upgrade", "--db", database_url).stderr


def test_a_new_database_is_upgraded_from_nothing(database_url: str) -> None:
    engine = make_engine(database_url)
    assert upgrade_database(engine) == (Versions(None, None), Versions(HEAD, OPTUNA_HEAD))
    prepare_database(engine)
    assert list_studies(engine) == []


def test_a_database_of_an_older_optuna_is_refused_and_left_alone(program: Program, database_url: str) -> None:
    load(OPTUNA_2_10, database_url)
    shown = assert_one_error(program.run_here("study", "list", "--db", database_url), 3)
    assert f"Optuna's tables of version v2.6.0.a, this program needs {OPTUNA_HEAD}" in shown
    assert "anomalyvfm-opt db upgrade" in shown
    assert read_versions(database_url) == (None, "v2.6.0.a")


def test_a_database_of_an_older_optuna_is_upgraded(program: Program, database_url: str) -> None:
    load(OPTUNA_2_10, database_url)
    done = program.run("db", "upgrade", "--db", database_url)
    assert done.returncode == 0, done.stderr
    assert f"schema version (none) -> {HEAD}" in done.stderr
    assert f"Optuna's tables v2.6.0.a -> {OPTUNA_HEAD}" in done.stderr
    assert "Warning" not in done.stderr
    study = optuna.load_study(study_name="by_hand", storage=open_storage(database_url))
    trials = study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "WAITING"]
    assert [trial.value for trial in trials[:2]] == pytest.approx([0.60431171, 0.60240311])
    assert trials[3].value == float("inf")
    assert trials[0].params == pytest.approx(
        {"rank": 8, "lr": 0.00043117100586, "epochs": 10, "mix": 0.64589411306666}
    )
    assert repr(trials[1].intermediate_values) == "{1: 0.5, 2: nan}"
    assert trials[0].user_attrs == {"note": "rank 8"}
    assert study.user_attrs == {"owner": "quality team"}
    asked = study.ask()
    assert (asked.number, asked.suggest_categorical("rank", [4, 8, 16])) == (4, 16)
    study.tell(asked, 0.5)
    assert program.run_here("study", "list", "--db", database_url).returncode == 0  # it has none of ours
    assert upgrade_database(make_engine(database_url))[0] == Versions(HEAD, OPTUNA_HEAD)


@pytest.mark.parametrize("table", ["anomalyvfm_opt.schema_version", "alembic_version"])
def test_a_newer_store_is_refused_by_every_command(bench: Bench, table: str) -> None:
    with bench.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET version_num = 'v9999'")  # noqa: S608
    for use in (prepare_database, upgrade_database):
        with pytest.raises(EnvironmentMissingError, match=r"v9999, this program needs .*upgrade this program"):
            use(bench.engine)


def test_another_programs_tables_are_left_alone(database_url: str) -> None:
    execute(database_url, "CREATE TABLE alembic_version (version_num text)")
    execute(database_url, "INSERT INTO alembic_version VALUES ('a1b2c3')")
    for use in (prepare_database, upgrade_database):
        with pytest.raises(UsageError, match=r"tables of another program.*createdb"):
            use(make_engine(database_url))
    assert execute(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


@pytest.mark.parametrize(("dump", "blocked"), [(OURS_0001, "anomalyvfm_opt.study_image"), (OPTUNA_2_10, "trials")])
def test_an_upgrade_that_is_killed_leaves_all_as_it_was(
    program: Program, database_url: str, dump: Path, blocked: str
) -> None:
    """Held up at a late step by a lock on the table that it changes, then killed."""
    load(dump, database_url)
    before = read_versions(database_url)
    engine = make_engine(database_url)
    with engine.connect() as holder:
        holder.exec_driver_sql(f"LOCK TABLE {blocked} IN ROW EXCLUSIVE MODE")
        process = program.start("db", "upgrade", "--db", database_url)
        wait_for(lambda: process.poll() is not None or _is_waiting(database_url), 60)
        process.send_signal(signal.SIGKILL)
        finish(process)
        holder.rollback()
    wait_for(lambda: not _is_waiting(database_url), 30)
    assert read_versions(database_url) == before
    assert process.returncode == -signal.SIGKILL
    upgrade_database(engine)
    assert read_versions(database_url) == (HEAD, OPTUNA_HEAD)


def _is_waiting(url: str) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(execute(url, sql)[0][0])


def test_two_upgrades_at_once(program: Program, database_url: str) -> None:
    load(OPTUNA_2_10, database_url)
    processes: list[Process] = [program.start("db", "upgrade", "--db", database_url) for _ in range(2)]
    done = [finish(process) for process in processes]
    assert [each.returncode for each in done] == [0, 0], done
    steps = sorted(re.findall(r"Optuna's tables (\S+) ->", "".join(each.stderr for each in done)))
    assert steps == ["v2.6.0.a", OPTUNA_HEAD]

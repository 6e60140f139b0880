"""A study moves to another store and loses nothing, also while it runs, and also if the move is interrupted."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb import models
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from sqlalchemy import text

from anomalyvfm_opt.errors import DoesNotFitError, UsageError
from anomalyvfm_opt.report.summary import summarise, to_json
from anomalyvfm_opt.store.budget import count_usage
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.store import Store, open_store
from anomalyvfm_opt.store.studies import load_study
from anomalyvfm_opt.store.transfer.file import write_file
from anomalyvfm_opt.store.transfer.move import export_study
from anomalyvfm_opt.store.transfer.reading import check_file
from anomalyvfm_opt.store.transfer.rows import TABLES
from anomalyvfm_opt.trial.outcome import InterruptedTrialError
from anomalyvfm_opt.trial.result import Progress, TrialRequest, TrialResult
from anomalyvfm_opt.trial.seeds import derive_seed
from tests.conftest import fresh_database
from tests.integration.conftest import Bench, run_quickly, sha256
from tests.integration.databases import execute
from tests.integration.program import Program, wait_for
from tests.integration.transfers import NAME, OF_FAMILIES, dump, open_bench, read_file, receive, send
from tests.integration.trial_states import die_after_asking, fail_with, run_to_end


@pytest.fixture
def other_url(postgres_url: str, template: str) -> Iterator[str]:
    """A second store, empty."""
    with fresh_database(postgres_url, template) as url:
        yield url


def get_url(bench: Bench) -> str:
    return bench.engine.url.render_as_string(hide_password=False)


def fill_with_all_kinds(bench: Bench) -> None:
    """Trials of every end, and everything that may hang on them."""
    bench.loop().take_turn()
    bench.loop(fail_with(DoesNotFitError("80 GB"))).take_turn()
    bench.loop(fail_with(ValueError("a bug"))).take_turn()
    with pytest.raises(InterruptedTrialError):
        bench.loop(fail_with(InterruptedTrialError(143))).take_turn()
    bench.loop().take_turn()
    execute(get_url(bench), "UPDATE anomalyvfm_opt.study SET masks_sha256 = spec_sha256")
    kept = f"SELECT trial_id, 'detector', '{sha256('file')}', 5 FROM trials WHERE number = 0"  # noqa: S608
    execute(get_url(bench), f"INSERT INTO anomalyvfm_opt.artifact {kept}")
    study = bench.study()
    study.set_user_attr("ünï \U0001f600", {"a": [1e-300, None, "\"'{}%s:x"]})
    odd = study.ask({"x": optuna.distributions.CategoricalDistribution([True, None, 0.1, "ä"])})
    odd.report(math.nan, 1)
    odd.report(-math.inf, 2)
    odd.report(0.1 + 0.2, 3)
    study.tell(odd, math.inf)
    for trial_id, body in ((None, "of the study"), (odd._trial_id, "of 5"), (study.trials[0]._trial_id, "of 0")):
        save_note_with_version(study._storage, study._study_id, trial_id, 1, body)


def read_note(bench: Bench, number: int | None) -> str:
    study = bench.study()
    trial_id = None if number is None else study.trials[number]._trial_id
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return str(get_note_from_system_attrs(attributes, trial_id)["body"])


def test_every_row_arrives_and_goes_back(bench: Bench, other_url: str, tmp_path: Path) -> None:
    fill_with_all_kinds(bench)
    there, back = tmp_path / "there.json.gz", tmp_path / "back.json"
    assert send(bench, there).requeued == 0
    assert receive(other_url, there)
    rows, arrived = dump(get_url(bench)), dump(other_url)
    notes = rows.pop("public.study_system_attributes"), arrived.pop("public.study_system_attributes")
    assert arrived == rows
    empty = {name for name, found in rows.items() if not found}
    assert empty == {f"anomalyvfm_opt.{name}" for name in OF_FAMILIES}  # see test_transfer_family.py
    assert len(notes[0]) == len(notes[1]) == 6  # their keys hold ids
    other = open_bench(other_url)
    for before, after in zip(bench.study().trials, other.study().trials, strict=True):
        assert repr(vars(before) | {"_trial_id": 0}) == repr(vars(after) | {"_trial_id": 0})
    assert [read_note(other, number) for number in (None, 0, 1, 5)] == ["of the study", "of 0", "", "of 5"]
    send(other, back)
    assert list(read_file(back)) == list(read_file(there))


def test_ids_that_are_taken_in_the_other_store_do_not_matter(bench: Bench, other_url: str, tmp_path: Path) -> None:
    foreign = optuna.create_study(storage=open_storage(other_url), study_name="foreign")
    foreign.enqueue_trial({"x": 1})
    fill_with_all_kinds(bench)
    send(bench, tmp_path / "s.json")
    receive(other_url, tmp_path / "s.json")
    other = open_bench(other_url)
    assert other.record.study_id != bench.record.study_id
    assert [t._trial_id for t in other.study().trials] != [t._trial_id for t in bench.study().trials]
    assert [read_note(other, number) for number in (0, 5)] == ["of 0", "of 5"]
    assert len(foreign.trials) == 1
    assert not receive(other_url, tmp_path / "s.json")


def test_a_running_trial_waits_in_the_other_store_for_the_same_run(
    bench: Bench, other_url: str, tmp_path: Path
) -> None:
    """It is exported in the middle of its run, which then ends here; there it is run once more."""
    path, here, there = tmp_path / "s.json", list[TrialRequest](), list[TrialRequest]()

    def export_while_running(request: TrialRequest, progress: Progress) -> TrialResult:
        here.append(request)
        progress.report(0, 0.5)
        assert send(bench, path).requeued == 1
        return run_quickly(request, progress)

    def note(request: TrialRequest, progress: Progress) -> TrialResult:
        there.append(request)
        return run_quickly(request, progress)

    bench.loop().take_turn()
    with pytest.raises(InterruptedTrialError):
        bench.loop(fail_with(InterruptedTrialError(143))).take_turn()
    bench.loop(export_while_running).take_turn()  # the retry: its seed is that of its first number
    receive(other_url, path)
    other = open_bench(other_url)
    waiting = other.study().trials[-1]
    assert (waiting.state.name, waiting.number, waiting.params) == ("WAITING", 2, {})
    assert (waiting.datetime_start, waiting.intermediate_values) == (None, {})
    assert waiting.user_attrs == {"retry_of": 1, "first_number": 1, "times_lost": 0}
    assert waiting.system_attrs == {"fixed_params": bench.study().trials[2].params}
    usage = count_usage(other.engine, other.record.study_id)
    assert (usage.complete, usage.waiting, usage.running, usage.used) == (1, 1, 0, 1)
    other.loop(note).take_turn()
    assert there == here
    assert other.study().trials[2].value == bench.study().trials[2].value
    run_to_end(other.loop())
    assert count_usage(other.engine, other.record.study_id).used == other.record.budget


def test_a_trial_without_parameters_yet_and_one_given_back_halfway_are_taken_up(
    bench: Bench, other_url: str, tmp_path: Path
) -> None:
    die_after_asking(bench)
    bench.loop(fail_with(ValueError("a bug"))).take_turn()
    execute(get_url(bench), "DELETE FROM anomalyvfm_opt.trial_outcome")  # failed, and not yet given back
    assert send(bench, tmp_path / "s.json").requeued == 1
    receive(other_url, tmp_path / "s.json")
    other = open_bench(other_url)
    assert other.study().trials[0].user_attrs == {"reference": "frozen"}
    run_to_end(other.loop())
    trials = other.study().trials
    assert [t.state.name for t in trials].count("COMPLETE") == other.record.budget
    assert trials[2].user_attrs["retry_of"] == 1


def test_an_export_is_of_one_moment_whatever_workers_write_meanwhile(
    bench: Bench, other_url: str, tmp_path: Path
) -> None:
    bench.loop().take_turn()
    before = dump(get_url(bench))

    def write_slowly(lines: Iterable[bytes]) -> None:
        iterator = iter(lines)
        first = [next(iterator), next(iterator)]
        run_to_end(bench.loop())
        write_file(str(tmp_path / "s.json"), [*first, *iterator])

    assert export_study(bench.engine, NAME, write_slowly).trials == 1
    assert len(bench.study().trials) == 6
    receive(other_url, tmp_path / "s.json")
    assert dump(other_url) == before


def test_the_same_study_again_is_a_no_op_and_another_one_is_refused(
    bench: Bench, other_url: str, tmp_path: Path
) -> None:
    bench.loop().take_turn()
    send(bench, tmp_path / "s.json.gz")
    with ThreadPoolExecutor(2) as pool:
        imports = [pool.submit(receive, other_url, tmp_path / "s.json.gz") for _ in range(2)]
    assert sorted(done.result() for done in imports) == [False, True]
    open_bench(other_url).loop().take_turn()
    before = dump(other_url)
    with pytest.raises(UsageError, match="with another content"):
        receive(other_url, tmp_path / "s.json.gz")
    assert dump(other_url) == before


def test_an_optuna_study_of_that_name_is_left_alone(bench: Bench, other_url: str, tmp_path: Path) -> None:
    optuna.create_study(storage=open_storage(other_url), study_name=NAME)
    send(bench, tmp_path / "s.json")
    with pytest.raises(UsageError, match="not ours"):
        receive(other_url, tmp_path / "s.json")
    assert len(dump(other_url)["public.studies"]) == 1


def test_a_killed_import_leaves_nothing_and_can_be_repeated(
    bench: Bench, program: Program, other_url: str, tmp_path: Path
) -> None:
    fill_with_all_kinds(bench)
    path, engine = tmp_path / "s.json.gz", make_engine(other_url)
    send(bench, path)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE anomalyvfm_opt.image_score"))  # nearly at its end
        halfway = program.start("study", "import", str(path), "--db", other_url)
        held = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'anomalyvfm_opt.image_score'::regclass"
        )
        wait_for(lambda: execute(other_url, held)[0][0] == 1)
        halfway.send_signal(signal.SIGKILL)
        halfway.communicate()
        assert halfway.returncode == -signal.SIGKILL
    engine.dispose()
    wait_for(lambda: execute(other_url, held)[0][0] == 0)
    assert not any(dump(other_url).values())
    assert receive(other_url, path)
    rows, arrived = dump(get_url(bench)), dump(other_url)
    assert arrived["anomalyvfm_opt.image_score"] == rows["anomalyvfm_opt.image_score"]


def test_every_table_of_optuna_is_thought_of() -> None:
    """One that a newer Optuna has must travel too."""
    known = {table.name for table in TABLES if table.schema is None}
    others = {"studies", "trial_heartbeats", "version_info"}  # the name; of the run; of the store
    assert models.BaseModel.metadata.tables.keys() == known | others
    assert models.StudyModel.__table__.columns.keys() == ["study_id", "study_name"]


@pytest.mark.slow
def test_a_study_goes_on_in_another_store(program: Program, other_url: str, tmp_path: Path) -> None:
    """From the command line, with real trials."""
    name = program.create_here("moved", references=["frozen"], search={"trials": 3})
    here, there, file = program.store, open_store(other_url), str(tmp_path / "moved.json.gz")

    def show(store: Store) -> dict[str, Any]:
        return to_json(summarise(store, load_study(store.engine, name)))

    commands = (
        ("worker", "run", "--study", name, "--threads", "1", "--max-trials", "2"),
        ("study", "export", "moved", "-o", file),
        ("study", "import", file, "--db", other_url),
    )
    for command in commands:
        done = program.run_here(*command)
        assert done.returncode == 0, done.stderr
    assert f"imported {name}: 2 trials" in done.stderr
    before = show(here)
    assert before["budget"] == {"trials": 3, "used": 2}
    assert show(there) == before
    finished = program.run_here("worker", "run", "--study", name, "--threads", "1", "--db", other_url)
    assert finished.returncode == 0, finished.stderr
    assert (show(there)["state"], show(there)["budget"]["used"]) == ("finished", 3)
    trials = optuna.load_study(study_name=name, storage=there.storage).trials
    for old, new in zip(program.trials(name), trials[:2], strict=True):
        assert (old.number, old.params, old.value, old.user_attrs) == (
            new.number,
            new.params,
            new.value,
            new.user_attrs,
        )
    assert trials[2].user_attrs["training_seed"] == derive_seed("trial", 0, name, 2)


def test_an_export_to_stdout_is_a_file_too(bench: Bench, other_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "anomalyvfm_opt", "study", "export", NAME, "-o", "-", "--db", get_url(bench)]
    done = subprocess.run(command, capture_output=True, check=True)
    (tmp_path / "s").write_bytes(done.stdout)
    assert json.loads(done.stdout.splitlines()[0])["schema"] == 1
    assert check_file(tmp_path / "s").header.study == NAME
    assert receive(other_url, tmp_path / "s")

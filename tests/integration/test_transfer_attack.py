"""Hostile files at a real database: what is refused wrote nothing, and what is taken can be read."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Engine, text

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.studies import list_studies
from anomalyvfm_opt.store.transfer import move
from anomalyvfm_opt.store.transfer.file import Header
from anomalyvfm_opt.store.transfer.move import import_study
from anomalyvfm_opt.store.transfer.reading import check_file
from tests.exported import Chunks, change_export, cut_export, find_rows, write_export
from tests.integration.databases import execute
from tests.integration.program import assert_one_error, run_in_process
from tests.integration.transfers import dump

_EMPTY = text("TRUNCATE studies, anomalyvfm_opt.look, anomalyvfm_opt.look_image CASCADE")


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = make_engine(store_url)
    yield engine
    engine.dispose()


def get_url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def count_rows(engine: Engine) -> dict[str, int]:
    return {table: len(rows) for table, rows in dump(get_url(engine)).items()}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=change_export())
def test_a_changed_export_is_imported_whole_or_not_at_all(
    engine: Engine, tmp_path: Path, changed: tuple[Header, Chunks]
) -> None:
    file = check_file(write_export(tmp_path / "s", *changed))
    try:
        is_taken = import_study(engine, file)
    except UsageError:
        assert sum(count_rows(engine).values()) == 0
        return
    assert is_taken
    assert [record.family for record in list_studies(engine)].count(file.header.study) >= 1
    storage = open_storage(get_url(engine))
    assert sum(len(storage.get_all_trials(s._study_id)) for s in storage.get_all_studies()) == file.header.trials
    with engine.begin() as connection:
        connection.execute(_EMPTY)


def test_what_only_the_database_refuses_is_said_of_the_file(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, chunks = cut_export()
    find_rows(chunks, "study_image")[0]["role"] = "admin"
    file = check_file(write_export(tmp_path / "s", header, chunks))
    monkeypatch.setattr(move, "check_content", lambda _file: None)  # a check that our own should have made
    with pytest.raises(UsageError, match=r"has rows that the database refuses: .*study_image_role"):
        import_study(engine, file)
    assert sum(count_rows(engine).values()) == 0


def test_the_command_names_line_table_and_column_and_leaves_with_2(engine: Engine, tmp_path: Path) -> None:
    header, chunks = cut_export()
    find_rows(chunks, "trial_values")[0]["value"] = "x" * 1000
    path = write_export(tmp_path / "s", header, chunks)
    done = run_in_process(["study", "import", str(path)], {"ANOMALYVFM_OPT_DB_URL": get_url(engine)})
    shown = assert_one_error(done, 2)
    assert f"{path}:7: table trial_values: row 1, column value: should be a finite number, not 'xxx" in shown
    assert len(shown) < 500


def test_a_file_that_is_another_when_it_is_written_is_taken_back(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, chunks = cut_export()
    path = write_export(tmp_path / "s", header, chunks)
    file = check_file(path)

    def change(_file: object) -> None:
        write_export(path, replace(header, study="other/brick"), chunks)

    monkeypatch.setattr(move, "check_content", change)
    with pytest.raises(UsageError, match="was changed while it was read"):
        import_study(engine, file)
    assert execute(get_url(engine), "SELECT count(*) FROM studies") == [(0,)]

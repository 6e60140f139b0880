"""Studies and tables in a real PostgreSQL."""

import threading
from dataclasses import replace

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from optuna.trial import TrialState
from sqlalchemy import text

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.report.summary import summarise, tabulate, to_json
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.engine import make_engine
from anomalyvfm_opt.store.schema import prepare_database
from anomalyvfm_opt.store.storage import open_storage
from anomalyvfm_opt.store.store import Store
from anomalyvfm_opt.store.studies import create_study, delete_study, list_studies, load_study
from tests.integration.conftest import REFERENCES, Bench, make_new_study, make_spec


def test_the_migrations_make_the_tables_that_the_code_describes(database_url: str) -> None:
    engine = make_engine(database_url)
    # not a copy of tables that are there: Alembic's default schema would be the user's, who is named like ours
    prepare_database(engine)
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == tables.SCHEMA,
            "include_object": lambda _o, name, *_: name != "schema_version",
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_several_processes_prepare_a_new_database_at_once(database_url: str) -> None:
    errors: list[BaseException] = []

    def prepare() -> None:
        try:
            prepare_database(make_engine(database_url))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert list_studies(make_engine(database_url)) == []


def test_the_same_study_again_is_a_no_op(bench: Bench) -> None:
    assert create_study(bench.store, make_new_study(make_spec()), REFERENCES) is False
    assert len(bench.study().get_trials()) == 1


def test_a_changed_spec_is_refused_with_the_difference(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"search\.trials: 6 -> 9"):
        create_study(bench.store, make_new_study(make_spec(trials=9)), REFERENCES)
    changed = replace(make_new_study(make_spec()), split_sha256="other")
    with pytest.raises(UsageError, match=r"images \(content hash\): [0-9a-f]{12} -> other"):
        create_study(bench.store, changed, REFERENCES)


def test_changed_masks_are_refused_where_both_sides_are_known(database_url: str) -> None:
    engine = make_engine(database_url)
    prepare_database(engine)
    new = make_new_study(make_spec())
    known = replace(new, masks_sha256="masks", images=tuple(replace(i, mask_sha256="11") for i in new.images))
    assert create_study(Store(database_url, engine), known, REFERENCES)
    record = load_study(engine, new.name)
    assert record.masks_sha256 == "masks"
    assert {image.mask_sha256 for image in list_images(engine, record.study_id).values()} == {"11"}
    assert create_study(Store(database_url, engine), known, REFERENCES) is False
    with pytest.raises(UsageError, match=r"masks \(content hash\): masks -> other"):
        create_study(Store(database_url, engine), replace(known, masks_sha256="other"), REFERENCES)


def test_masks_that_nobody_hashed_are_not_compared(bench: Bench) -> None:
    assert bench.record.masks_sha256 is None
    new = replace(make_new_study(make_spec()), masks_sha256="masks")
    assert create_study(bench.store, new, REFERENCES) is False


def test_two_creations_at_once_make_one_study(database_url: str) -> None:
    engine = make_engine(database_url, pool_size=5)
    prepare_database(engine)
    created: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: created.append(
                create_study(Store(database_url, engine), make_new_study(make_spec()), REFERENCES)
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(created) == [False, False, True]
    study = optuna.load_study(study_name="tiny/tile", storage=database_url)
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]


def test_an_interrupted_creation_is_completed(database_url: str) -> None:
    engine = make_engine(database_url)
    prepare_database(engine)
    storage = open_storage(database_url)
    optuna.create_study(storage=storage, study_name="tiny/tile", direction="maximize")
    assert create_study(Store(database_url, engine), make_new_study(make_spec()), REFERENCES) is True
    assert len(optuna.load_study(study_name="tiny/tile", storage=storage).get_trials()) == 1


def test_a_foreign_study_of_the_same_name_is_left_alone(database_url: str) -> None:
    engine = make_engine(database_url)
    prepare_database(engine)
    storage = open_storage(database_url)
    optuna.create_study(storage=storage, study_name="tiny/tile").ask()
    with pytest.raises(UsageError, match="not ours"):
        create_study(Store(database_url, engine), make_new_study(make_spec()), REFERENCES)


def test_an_unknown_study_says_which_there_are(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"no study 'tiny/tyle'.*tiny/tile"):
        load_study(bench.engine, "tiny/tyle")


def test_deleting_a_study_through_optuna_takes_our_rows_along(bench: Bench) -> None:
    bench.loop().take_turn()
    delete_study(bench.store, bench.record.name)
    assert list_studies(bench.engine) == []
    assert list_images(bench.engine, bench.record.study_id) == {}
    with bench.engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            assert connection.scalar(text(f"SELECT count(*) FROM {table.fullname}")) == 0, table.fullname  # noqa: S608


def test_a_summary_counts_and_names_the_best(bench: Bench) -> None:
    loop = bench.loop()
    loop.take_turn()
    loop.take_turn()
    summary = summarise(bench.store, bench.record)
    values = [trial.value for trial in bench.study().get_trials()]
    json = to_json(summary)
    assert (json["state"], json["budget"]) == ("active", {"trials": 6, "used": 2})
    assert json["references"]["frozen"] == {"number": 0, "value": values[0]}
    assert json["best"]["value"] == max(value for value in values if value is not None)
    assert json["split"] == {
        "lock": "half",
        "search_images": 2,
        "lock_images": 0,
        "hash": bench.record.split_sha256,
    }
    row = tabulate([summary])[0]
    assert (row.category, row.frozen, row.v1_1) == ("tile", f"{values[0]:.4f}", "-")
    assert row.change == f"{json['best']['value'] - json['references']['frozen']['value']:+.4f}"  # the baseline
    while summarise(bench.store, bench.record).state != "finished":
        loop.take_turn()
    assert to_json(summarise(bench.store, bench.record))["trials"]["complete"] == 6


def test_the_same_weights_in_another_place_are_the_same_study(bench: Bench) -> None:
    """Weights are known by their hash; where the file lies is no part of a study."""
    new = make_new_study(make_spec())
    backbone = new.spec.backbone.model_copy(update={"weights": "/elsewhere/model.safetensors"})
    moved = replace(new, spec=new.spec.model_copy(update={"backbone": backbone}))
    assert create_study(bench.store, moved, REFERENCES) is False
    with pytest.raises(UsageError, match=r"backbone.weights: pretrained -> /elsewhere"):
        create_study(bench.store, replace(moved, weights_sha256="other"), REFERENCES)

"""A study travels with its siblings, its confirmation, its predictions and the looks at its locked images."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.evaluation.au_pro_resample import AU_PRO
from anomalyvfm_opt.report.verdict_json import category_to_json
from anomalyvfm_opt.store import tables
from anomalyvfm_opt.store.scores import read_resampled
from anomalyvfm_opt.store.transfer.file import Header, write_file
from anomalyvfm_opt.store.transfer.move import export_study, import_study
from anomalyvfm_opt.store.transfer.reading import check_file
from anomalyvfm_opt.verdict.judge import judge
from anomalyvfm_opt.verdict.read_case import read_case
from anomalyvfm_opt.verdict.read_ledger import predict, read_ledger
from tests.integration.families import Families, Family, better
from tests.integration.transfers import read_file


@pytest.fixture(scope="module")
def confirmed(store: Families) -> Family:
    family = store.found("moved", worth=better)
    family.search()
    predict(family.engine, family.bench.record, 0.05, "a hope")
    family.confirm()
    run = family.runs("confirm")[0]
    with family.engine.begin() as connection:
        values = {"trial_id": run.trial_id, "metric": AU_PRO, "draws": [0.1, 0.3]}
        connection.execute(insert(tables.trial_resample).values(values))
    family.advance(again=True)  # the second round waits
    return family


@pytest.fixture
def elsewhere(store_url: str) -> Iterator[Families]:
    other = Families(store_url)
    yield other
    other.engine.dispose()


def send(family: Family, path: Path) -> Header:
    return export_study(family.engine, family.name, partial(write_file, str(path)))


def test_the_verdict_on_the_other_side_is_the_same(confirmed: Family, elsewhere: Families, tmp_path: Path) -> None:
    header = send(confirmed, tmp_path / "s.json.gz")
    counts = [len(confirmed.runs(kind)) for kind in ("replicates", "confirm")]
    assert header.trials == 6 + sum(counts)
    assert import_study(elsewhere.engine, check_file(tmp_path / "s.json.gz"))
    there = elsewhere.open(confirmed.name)
    assert [len(there.runs(kind)) for kind in ("replicates", "confirm")] == counts
    scored = there.runs("confirm")[0]
    assert read_resampled(there.engine, scored.trial_id, AU_PRO) == pytest.approx([0.1, 0.3], abs=0)
    verdicts = [judge(read_case(one.store, one.bench.record, 1)) for one in (confirmed, there)]
    assert category_to_json(verdicts[0]) == category_to_json(verdicts[1])


def test_rounds_looks_and_predictions_arrive(confirmed: Family, elsewhere: Families, tmp_path: Path) -> None:
    send(confirmed, tmp_path / "s.json")
    assert import_study(elsewhere.engine, check_file(tmp_path / "s.json"))
    there = elsewhere.open(confirmed.name)
    assert there.look_rows() == confirmed.look_rows()
    assert len(there.look_rows()) > 0
    ledgers = [read_ledger(one.store, [one.bench.record]) for one in (confirmed, there)]
    assert ledgers[0] == ledgers[1]
    waiting = [run for run in there.runs("confirm") if run.is_open]
    assert {run.planned.round for run in waiting} == {2}
    there.work("confirm")  # workers of the other store go on with it
    verdict = judge(read_case(there.store, there.bench.record))
    assert category_to_json(verdict)["round"] == 2


def test_the_same_again_is_a_no_op_and_looks_are_not_doubled(
    confirmed: Family, elsewhere: Families, tmp_path: Path
) -> None:
    send(confirmed, tmp_path / "s.json")
    file = check_file(tmp_path / "s.json")
    assert import_study(elsewhere.engine, file)
    assert not import_study(elsewhere.engine, file)
    there = elsewhere.open(confirmed.name)
    there.delete()
    assert there.look_rows() == confirmed.look_rows()  # they outlive the study
    assert import_study(elsewhere.engine, file)
    assert there.look_rows() == confirmed.look_rows()


def test_a_foreign_study_in_a_siblings_place_stops_all_of_it(
    confirmed: Family, elsewhere: Families, tmp_path: Path
) -> None:
    import optuna

    optuna.create_study(storage=elsewhere.storage, study_name=f"{confirmed.name}#replicates")
    send(confirmed, tmp_path / "s.json")
    with pytest.raises(UsageError, match="is in this database already"):
        import_study(elsewhere.engine, check_file(tmp_path / "s.json"))
    assert optuna.get_all_study_names(elsewhere.storage) == [f"{confirmed.name}#replicates"]


def test_a_file_of_one_study_reads_as_before(store: Families, elsewhere: Families, tmp_path: Path) -> None:
    lonely = store.found("lonely")
    lonely.search()
    send(lonely, tmp_path / "s.json")
    chunks = list(read_file(tmp_path / "s.json"))
    assert not {chunk["table"] for chunk in chunks} & {"studies", "anomalyvfm_opt.look"}
    assert "planned" not in str(chunks)
    assert import_study(elsewhere.engine, check_file(tmp_path / "s.json"))

"""The attributes of a trial keep the names and the JSON that dashboards and old stores know."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anomalyvfm_opt
from anomalyvfm_opt.evaluation.linter.findings import Finding, Severity
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.store.planned import Planned
from anomalyvfm_opt.store.trial_record import BEFORE_THE_RUN, NAMES, TrialRecord, fits

STORED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "trial_attributes.json").read_text()
)
V1_1 = reference_parameters("v1.1", "tile", 64)

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_NESTED = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers() | _NUMBERS | st.text(max_size=5), max_size=3
)
_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": st.text(),
    "int": st.integers(),
    "float": _NUMBERS,
    "tuple[float, ...]": st.lists(_NUMBERS, max_size=4).map(tuple),
    "tuple[int, ...]": st.lists(st.integers(), max_size=4).map(tuple),
}


_BY_VALUE = {
    "str": st.text(max_size=5),
    "int": st.integers(),
    "float": _NUMBERS,
    "float | None": st.none() | _NUMBERS,
    "int | str": st.integers() | st.text(max_size=5),
}


def draw(annotation: str) -> st.SearchStrategy[Any]:
    kind = annotation.replace("typing.", "").removesuffix(" | None")
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    of_values = re.fullmatch(r"collections.abc.Mapping\[str, (.*)\]", kind)
    if of_values is not None and of_values[1] in _BY_VALUE:
        return st.dictionaries(st.text(max_size=5), _BY_VALUE[of_values[1]], max_size=3)
    return st.lists(_NESTED, max_size=3).map(tuple) if kind.startswith("tuple[") else _NESTED


def name_type(annotation: Any) -> str:
    return str(annotation).replace("<class '", "").replace("'>", "")


RECORDS = st.builds(
    TrialRecord, **{each.name: st.none() | draw(name_type(each.type)) for each in fields(TrialRecord)}
)


def store(record: TrialRecord) -> dict[str, Any]:
    """The attributes, as they come back out of the database."""
    found: dict[str, Any] = json.loads(json.dumps(record.to_attributes()))
    return found


@given(RECORDS)
def test_it_comes_back_as_it_was(record: TrialRecord) -> None:
    assert TrialRecord.from_attributes(store(record)) == record


@pytest.mark.parametrize("name", STORED)
def test_what_real_trials_have_stored_is_written_the_same(name: str) -> None:
    again = TrialRecord.from_attributes(STORED[name]).to_attributes()
    assert json.dumps(again) == json.dumps(STORED[name])


def test_a_record_of_nothing_stores_nothing_and_what_is_not_ours_is_left_out() -> None:
    assert TrialRecord().to_attributes() == {}
    assert TrialRecord.from_attributes({"note": "of a colleague"}) == TrialRecord()


def test_a_trial_begins_with_its_seed_and_what_optuna_does_not_show() -> None:
    assert V1_1 is not None
    assert TrialRecord.of_request(7, None).to_attributes() == {"training_seed": 7}
    record = TrialRecord.of_request(7, V1_1)
    assert record.read_parameters(64) == V1_1
    shown = ("training_seed", "alpha", "texture", "structural", "contextual", "parameters")
    assert tuple(record.to_attributes()) == shown
    assert record.alpha == V1_1.alpha


@given(RECORDS, st.integers(0, 99), st.integers(0, 3))
def test_a_copy_begins_with_what_was_decided_and_where_it_comes_from(
    record: TrialRecord, number: int, times_lost: int
) -> None:
    copy = record.start_again(number, times_lost)
    assert (copy.reference, copy.planned) == (record.reference, record.planned)
    assert (copy.retry_of, copy.times_lost) == (number, times_lost)
    assert copy.first_number == (number if record.first_number is None else record.first_number)
    assert set(copy.to_attributes()) <= set(BEFORE_THE_RUN)
    assert copy.start_again(number + 1, times_lost).first_number == copy.first_number


def test_an_export_carries_what_a_trial_had_before_it_ran() -> None:
    assert BEFORE_THE_RUN == ("reference", "planned", "retry_of", "first_number", "times_lost")


def test_nested_values_are_read_as_what_they_are() -> None:
    planned = Planned("finalist", V1_1, 5, 1, "patch_knn")
    findings = (Finding("flat_loss", Severity.BROKEN, "the loss is flat"),)
    assert TrialRecord(planned=planned.to_json()).read_planned(64) == planned
    assert TrialRecord.from_attributes(store(TrialRecord.of_result({}, findings))).read_findings() == findings
    assert TrialRecord.of_result({}, ()).to_attributes() == {"findings": []}
    nothing = TrialRecord()
    assert (nothing.read_planned(64), nothing.read_parameters(64), nothing.read_findings()) == (None, None, ())


def test_a_trial_of_an_older_version_has_the_parameters_that_it_had_then() -> None:
    record = TrialRecord.from_attributes(STORED["before there was a dropout, a memory or a second objective"])
    parameters = record.read_parameters(64)
    assert parameters is not None
    assert (parameters.dropout, parameters.image_size_px) == (0.0, 64)
    assert (record.read_findings(), record.objectives, record.peak_memory_mib) == ((), None, None)


def test_seconds_that_were_not_stored_are_none_spent() -> None:
    assert (TrialRecord().spent_s, TrialRecord(seconds=2.5).spent_s) == (0.0, 2.5)


def test_statements_ask_for_attributes_that_there_are() -> None:
    """SQL names attributes by their text: `a.key = 'planned'`."""
    package = Path(anomalyvfm_opt.__file__).parent
    asked = {
        name
        for file in package.rglob("*.py")
        for name in re.findall(r"\.key = '(\w+)'", file.read_text(encoding="utf-8"))
    }
    assert {"planned", "retry_of", "resumed_from_epoch", "versions"} <= asked <= set(NAMES)


def test_an_attribute_that_no_field_is_for_is_refused_and_not_lost() -> None:
    with pytest.raises(TypeError, match="secondz"):
        TrialRecord.of_result({"secondz": 3.0}, ())


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("reference", ["v1.1"], [1, [1], {}, None, True]),
        ("retry_of", [0, 3], ["3", 1.5, [3], True]),
        ("seconds", [1, 1.5], ["1", True, [1.0], None]),
        ("parameters", [{}, {"rank": 4, "x": None}], [[], "x", 1]),
        ("epoch_losses", [[], [1, 0.5]], [["x"], {}, "x", [None]]),
        ("objectives", [{"synthetic": 0.5, "labelled": None}], [{"synthetic": "x"}, [0.5]]),
        ("findings", [[{"check": "x"}], []], [["x"], {"check": "x"}]),
        ("parts", [[{"from_epoch": 3}]], [[3]]),
    ],
)
def test_a_value_fits_the_type_of_its_field(name: str, good: list[object], bad: list[object]) -> None:
    assert [fits(name, value) for value in good] == [True] * len(good)
    assert [fits(name, value) for value in bad] == [False] * len(bad)
    for value in bad:
        assert getattr(TrialRecord.from_attributes({name: value}), name) is None


def test_what_cannot_be_read_is_left_out_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    record = TrialRecord(planned={"arm": 1}, parameters={"rank": 1}, findings=({"check": "x"},))
    assert record.read_planned(64) is None
    assert record.read_parameters(64) is None
    assert record.read_findings() == ()
    assert [word in caplog.text for word in ("planned", "parameters", "findings")] == [True] * 3

"""What a file may say: each hostile file is one small change of a real export, and one clear error."""

import gzip
import hashlib
import json
import re
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.store.transfer.content import check_content
from anomalyvfm_opt.store.transfer.file import to_lines
from anomalyvfm_opt.store.transfer.reading import check_file
from anomalyvfm_opt.store.transfer.row_schema import SCHEMAS
from tests.exported import EXPORT, Change, Chunks, cut_export, find_rows, put, refuse, write_export

NESTED: Any = json.loads("[" * 100 + "]" * 100)


def drop(table: str, column: str) -> Change:
    """Take a column out of the first row of a table."""
    return lambda chunks: find_rows(chunks, table)[0].pop(column)


def note(key: str, text: str) -> Change:
    """Add an attribute to the last trial in the first chunk of attributes."""

    def change(chunks: Chunks) -> None:
        rows = find_rows(chunks, "trial_user_attributes")
        rows[:] = [row for row in rows if row["key"] != key]
        rows.append({"key": key, "trial": rows[-1]["trial"], "value_json": text})

    return change


def note_of_dashboard(key: str, text: str) -> Change:
    """Put a note of optuna-dashboard's into the study that searches."""

    def change(chunks: Chunks) -> None:
        place = [chunk["table"] for chunk in chunks].index("trial_user_attributes")
        rows = [{"key": key, "value_json": text}]
        chunks.insert(place, {"table": "study_system_attributes", "rows": rows})

    return change


def move(chunks: Chunks) -> None:
    chunks.insert(0, chunks.pop(3))


def put_spec(name: str, value: Any) -> Change:
    return lambda chunks: find_rows(chunks, "opt.study")[0]["spec"].update({name: value})


ENDLESS = '{"name": "FloatDistribution", "attributes": {"low": 0, "high": 1e999}}'
SIBLING = {"table": "studies", "rows": [{"study_name": "kept/brick#confirm"}]}
HOSTILE: dict[str, tuple[Change, str]] = {
    # what it may be about
    "a foreign study's sibling": (put("studies", "study_name", "other/x#confirm", 1), "a study beside kept"),
    "an Optuna study": (put("studies", "study_name", "mine", 1), "a study beside kept/brick should be"),
    "a sibling twice": (lambda c: c.append(SIBLING) or c.append(SIBLING), "should not come here: looks are last"),
    "a sibling with an id": (put("studies", "study_id", 1, 1), "a study beside kept/brick should be"),
    "looks of another": (put("look", "study_name", "other/x#confirm", 2), "study_name: should be kept/brick#"),
    "images of another's lock": (put("look_image", "lock_sha256", "0" * 64, 2), "should be a lock of a look"),
    "an image more for a lock": (put("look_image", "image_sha256", "0" * 64, 2), "are not those that its hash"),
    "leases": (lambda c: c.append({"table": "anomalyvfm_opt.lease", "rows": [{}]}), "is no table that travels"),
    "catalogues": (lambda c: c.append({"table": "pg_authid", "rows": [{}]}), "'pg_authid' is no table"),
    "a table that is a list": (lambda c: c.append({"table": [], "rows": [{}]}), "[] is no table"),
    "another's spec": (put_spec("name", "other"), "column spec: name and category should be those of kept/brick"),
    "another category": (put("opt.study", "category", "can"), "name and category should be those of"),
    "a spec of no version": (put_spec("surprise", 1), "which this one cannot read"),
    # lines
    "no rows": (lambda c: c.append({"table": "trials", "rows": []}), "should be a list of 1 to 500"),
    "rows that are none": (lambda c: c.append({"table": "trials", "rows": {"a": 1}}), "a list of 1 to 500"),
    "a line too much": (lambda c: c.append({"table": "trials"}), "a line has table and rows, not ['table']"),
    "too many rows": (lambda c: find_rows(c, "trials").extend([{}] * 500), "should be a list of 1 to 500"),
    "a row that is a number": (lambda c: find_rows(c, "trials").insert(0, 5), "row 1: should be a mapping, not 5"),
    "values before their trials": (move, "is of a trial that is not there, 0"),
    "a table twice": (lambda c: c.insert(2, c[0]), "should not come here"),
    # types and ranges
    "an unknown column": (put("trials", "owner", 1), "column 'owner': is none of number, state"),
    "an id": (put("trials", "trial_id", 1), "column 'trial_id': is none of"),
    "a column missing": (drop("trials", "state"), "column state: is missing"),
    "null": (put("trials", "state", None), "column state: should be"),
    "a default for some": (drop("trial_outcome", "message"), "message: should be in all rows of a line"),
    "a number that is text": (put("trials", "number", "0"), "column number: should be a whole number"),
    "a number that is true": (put("trials", "number", True), "column number: should be a whole number"),
    "a number too large": (put("trials", "number", 2**31), "column number: should be a whole number"),
    "a number below zero": (put("trials", "number", -1), "column number: should be a whole number from 0"),
    "an unknown state": (put("trials", "state", "DONE"), "should be RUNNING or COMPLETE or PRUNED"),
    "a trial that runs": (put("trials", "state", "RUNNING"), "column state: should be"),
    "a time that is a word": (put("trials", "datetime_start", "infinity"), "should be a time like"),
    "a time with a zone": (put("trials", "datetime_start", "2026-01-01T00:00:00+00:00"), "without a time zone"),
    "a time without one": (put("opt.study", "created_at", "2026-01-01T00:00:00"), "with a time zone"),
    "the year 1": (put("trials", "datetime_start", "0001-01-01T00:00:00"), "should be a time like"),
    "no time of the end": (drop("trials", "datetime_complete"), "should have a datetime_complete"),
    "a trial twice": (put("trials", "number", 1), "is there twice, with number [1]"),
    "a trial missing": (put("trials", "number", 70), "has no trial 0, and later ones"),
    "rows of no trial": (put("trial_values", "trial", 77), "column trial: is of a trial that is not there, 77"),
    "a complete one without value": (lambda c: find_rows(c, "trial_values").pop(), "is complete and has no value"),
    "a value twice": (lambda c: find_rows(c, "trial_values").extend(find_rows(c, "trial_values")[-1:]), "twice"),
    "a value that is text": (put("trial_values", "value", "nan"), "column value: should be a finite number"),
    "a value without end": (put("trial_values", "value", 10**400), "column value: should be a finite number"),
    "a finite infinity": (put("trial_values", "value_type", "INF_POS"), "should have a value where value_type"),
    "an unknown kind": (put("trial_values", "value_type", "ODD"), "should be FINITE or INF_POS or INF_NEG"),
    "another objective": (put("trial_values", "objective", 1), "column objective: should be 0"),
    "the other direction": (put("study_directions", "direction", "MINIMIZE"), "should be MAXIMIZE"),
    "a step below zero": (put("trial_intermediate_values", "step", -1), "column step: should be a whole number"),
    "a score without end": (put("image_score", "score", "inf"), "column score: should be a finite number"),
    "a label of three": (put("image_score", "label", 3), "column label: should be 0 or 1"),
    "an AUROC of 7": (put("trial_metric", "image_auroc", 7.0), "image_auroc: should be a finite number from"),
    "a draw that is text": (lambda c: find_rows(c, "trial_resample", 2)[0]["draws"].append("x"), "column draws"),
    "a path upwards": (put("study_image", "image_key", "brick/../../etc"), "column image_key: should be a path"),
    "a path from the root": (put("study_image", "image_key", "/etc/passwd"), "column image_key: should be a path"),
    "a role of ours": (put("study_image", "role", "admin"), "should be fit or held_out or search or locked"),
    "a hash upwards": (put("artifact", "sha256", "../" * 21 + "a", 2), "column sha256: should be a SHA-256"),
    "a hash in capitals": (put("study_image", "sha256", "A" * 64), "column sha256: should be a SHA-256"),
    "a hash of two lines": (put("study_image", "sha256", "a" * 64 + "\n"), "column sha256: should be a SHA-256"),
    "a size below zero": (put("artifact", "size_bytes", -1, 2), "column size_bytes: should be a whole number"),
    "a state of ours": (put("opt.study", "state", "wild"), "should be active or paused or stopped"),
    "a lock of ours": (put("opt.study", "lock", "none"), "column lock: should be all or half"),
    "a plan that is a list": (put("confirmation", "plan", [], 2), "column plan: should be a mapping"),
    "a gain without end": (put("prediction", "gain", 1e308), "column gain: should be a finite number from -10"),
    "a score beyond numbers": (put("image_score", "score", 1e305), "column score: should be a finite number from"),
    "a text with NUL": (put("trial_outcome", "worker", "a\0b"), "should be text without NUL"),
    "half a character": (put("trial_outcome", "worker", "\ud800"), "without half a character"),
    "NUL in a spec": (put_spec("description", "a\0b"), "column spec: should be text without NUL"),
    "a spec without bottom": (put_spec("description", NESTED), "column spec: should be nested at most"),
    "a key too long": (put("trial_user_attributes", "key", "k" * 600), "should be text of at most 512"),
    # JSON within
    "an attribute that is no JSON": (put("trial_user_attributes", "value_json", "{"), "should be JSON"),
    "JSON without bottom": (note("x", "[" * 100_000), "should be JSON"),
    "a reference that is a number": (note("reference", "5"), "should be what 'reference' holds"),
    "seconds that are a list": (note("seconds", "[1]"), "should be what 'seconds' holds"),
    "a plan of a trial without arm": (note("planned", '{"parameters": null}'), "should be what 'planned' holds"),
    "a plan with a rank of text": (
        note("planned", '{"parameters": null, "arm": 5, "seed": 1, "round": 0, "scorer": null}'),
        "should be what 'planned' holds",
    ),
    "seconds without end": (note("seconds", "1e308"), "should be what 'seconds' holds"),
    "seconds that are none": (note("seconds", "NaN"), "should be what 'seconds' holds: should be a finite number"),
    "an objective above 1": (note("objectives", '{"labelled": 7}'), "should be what 'objectives' holds"),
    "a loss without end": (note("epoch_losses", "[Infinity]"), "should be what 'epoch_losses' holds"),
    "memory below zero": (note("peak_memory_mib", "-5"), "should be what 'peak_memory_mib' holds"),
    "parameters of rank 0": (lambda c: next(row for row in find_rows(c, "trial_user_attributes")
                                            if row["key"] == "parameters").update(value_json=json.dumps({
        **json.loads(next(row for row in find_rows(c, "trial_user_attributes") if row["key"] == "parameters")
                     ["value_json"]), "rank": 0})), "should be greater than 0, and rank is 0"),
    "too few parameters": (note("parameters", '{"rank": 4}'), "should be what 'parameters' holds"),
    "a finding of no severity": (
        note("findings", '[{"check": "x", "severity": "odd", "message": ""}]'),
        "should be what 'findings' holds",
    ),
    "a note of no version": (note_of_dashboard("dashboard:note_ver", '"x"'), "a whole number at 'dashboard:"),
    "an artifact that is a number": (note_of_dashboard("artifacts:x", "5"), "should be text"),
    "an artifact of a list": (note_of_dashboard("artifacts:x", '"[1]"'), "the JSON of a mapping at 'artifacts:x'"),
    "fixed parameters that are a list": (put("trial_system_attributes", "value_json", "[]"), "parameters by name"),
    "a fixed parameter that is a list": (
        put("trial_system_attributes", "value_json", '{"rank": [1]}'),
        "should be a number or a word at 'rank'",
    ),
    "a distribution of none": (put("trial_params", "distribution_json", "{}"), "should be a distribution"),
    "a distribution of a class": (
        put("trial_params", "distribution_json", '{"name": "os.system", "attributes": {}}'),
        "should be a distribution",
    ),
    "a distribution without end": (
        put("trial_params", "distribution_json", ENDLESS),
        "should hold finite numbers only",
    ),
    "a parameter outside": (put("trial_params", "param_value", 7.0), "should be inside its distribution"),
    "half a choice": (put("trial_params", "param_value", 0.5), "should be inside its distribution"),
    "the choice before the first": (put("trial_params", "param_value", -1.0), "should be inside its distribution"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_line_table_and_column(tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    header, chunks = cut_export()
    change(chunks)
    error = refuse(tmp_path / "s.jsonl", header, chunks)
    assert message in str(error)
    if "spec of another version" not in str(error):
        assert re.search(r"s\.jsonl:\d+: ", str(error))


def test_a_note_names_a_trial_of_its_own_or_none(tmp_path: Path) -> None:
    for key, more, is_refused in (
        ("dashboard:{}:note_str:0", {"trial": 1}, False),
        ("dashboard:note_str:0", {}, False),
        ("dashboard:5:note_str:0", {}, True),
        ("dashboard:{}:note_str:0", {}, True),
        ("anything", {"trial": 1}, True),
        ("dashboard:{}:note_str:0", {"trial": 99}, True),
    ):
        header, chunks = cut_export()
        row = {"key": key, "value_json": '"x"', **more}
        chunks.insert(2, {"table": "study_system_attributes", "rows": [row]})
        if is_refused:
            refuse(tmp_path / "s.jsonl", header, chunks)
        else:
            check_content(check_file(write_export(tmp_path / "s.jsonl", header, chunks)))


def test_what_the_header_says_is_compared(tmp_path: Path) -> None:
    header, chunks = cut_export()
    for wrong in (replace(header, trials=header.trials + 1), replace(header, requeued=5)):
        assert "the header tells of" in str(refuse(tmp_path / "s.jsonl", wrong, chunks))
    assert "those of kept2/brick" in str(
        refuse(tmp_path / "s.jsonl", replace(header, study="kept2/brick"), chunks)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"schema": -1}, {"schema": True}, {"schema": 1.0}, {"study": "noslash"}, {"study": "a/b#confirm"},
        {"study": "a\0/b"}, {"study": 5}, {"study": "a/" + "b" * 1000}, {"trials": -1}, {"trials": "1"},
        {"program": "\u001b[2J"}, {"program": None}, {"exported_at": "yesterday"}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_no_export_writes_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    header, chunks = cut_export()
    lines = list(to_lines(header, chunks))[:-1]
    lines[0] = json.dumps({**json.loads(lines[0]), **change}).encode() + b"\n"
    content = b"".join(lines)
    seal = json.dumps({"sha256": hashlib.sha256(content).hexdigest()}, separators=(",", ":"))
    (tmp_path / "s").write_bytes(content + seal.encode() + b"\n")
    with pytest.raises(UsageError, match=r"is not an exported study|the header's"):
        check_file(tmp_path / "s")


def test_a_line_without_end_takes_no_memory_and_a_bomb_no_time(tmp_path: Path) -> None:
    header = next(to_lines(cut_export()[0], []))
    path, before = tmp_path / "bomb.gz", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line, times, message in (
        (b'{"table": "' + b"x" * 2**20, 40, "line 2 is longer than"),
        (b'{"table":"%s"}\n' % (b"x" * 2**20), 70, "is no study's: over"),
        (b'{"a":[' + b"[]," * 2**20 + b"1]}\n", 1, "more than 2,000,000 values"),
    ):
        with gzip.open(path, "wb") as file:
            file.write(header)
            for _ in range(times):
                file.write(line)
        with pytest.raises(UsageError, match=message):
            check_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def test_a_real_export_is_checked_and_every_table_that_travels_is_known() -> None:
    check_content(check_file(EXPORT))
    assert len(SCHEMAS) == 20
    assert all(schema.checks for schema in SCHEMAS.values())

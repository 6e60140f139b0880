"""`submission check` on a tree with the server's numbers of files, and mistakes in a call of `submit`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from anomalyvfm_opt.inference.submission.archive import name_archive, pack_archive
from anomalyvfm_opt.inference.submission.layout import list_places
from anomalyvfm_opt.inference.submission.tiff import pack_map
from tests.integration.program import Finished, assert_one_error, run_in_process
from tests.unit.inference.submissions import write_data, write_submission

MAP = "anomaly_images/rice/test_private/276_regular.tiff"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 8,180 files, with their archive; a test that spoils one puts it right again."""
    made = write_submission(tmp_path_factory.mktemp("official") / "mine", dict.fromkeys(list_places(), (2, 3)))
    pack_archive(made, name_archive(made))
    return made


def run(*arguments: str) -> Finished:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANOMALYVFM_OPT_")}
    return run_in_process(arguments, kept)


def test_a_whole_submission_has_no_fault(root: Path) -> None:
    done = run("submission", "check", str(root))
    assert done.returncode == 0, done.stderr
    assert f"{root}: no fault; sizes are not compared with the images'; give --data" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:] if line.strip() and "─" not in line]
    assert ["can", "test_private", "321", "321"] in rows
    assert ["walnuts", "test_private_mixed", "228", "228"] in rows
    assert sum(int(row[2]) for row in rows if len(row) == 4 and row[2].isdigit()) == 4090


def test_every_fault_is_named_and_the_exit_code_is_2(root: Path) -> None:
    whole = (root / MAP).read_bytes()
    (root / MAP).write_bytes(pack_map(np.array([[1, np.nan, 2]] * 2, np.float16)))
    (root / "notes.txt").touch()
    try:
        done = run("submission", "check", str(root))
        as_json = run("submission", "check", str(root), "--json")
    finally:
        (root / MAP).write_bytes(whole)
        (root / "notes.txt").unlink()
    assert done.returncode == as_json.returncode == 2
    problems = [line for line in done.stderr.splitlines() if line.startswith("problem: ")]
    wanted = [
        "notes.txt: file that does not belong here",
        f"{MAP}: has 2 values not a number, and 0 infinite",
        f"mine.tar.gz: mine/{MAP}: is not what is in the folder",
        "mine.tar.gz: mine/notes.txt: missing",
    ]
    assert problems == [f"problem: {one}" for one in wanted]
    assert f"{root}: 4 faults" in done.stderr
    answer = json.loads(as_json.stdout)
    assert answer["schema"] == 1
    assert answer["faults"] == wanted
    assert {"category": "rice", "set": "test_private", "maps": 276, "thresholded": 277} in answer["counts"]


def test_many_faults_are_counted(tmp_path: Path, root: Path) -> None:
    few = write_submission(tmp_path / "few", dict.fromkeys(list_places({"can": 1}), (2, 3)))
    done = run("submission", "check", str(few))
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("problem: ")]) == 51
    assert "more, which --json shows" in done.stderr
    assert "note: there is no archive few.tar.gz beside it" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("submission", "check", "nowhere"), 2, "nowhere is no folder"),
        (("submission", "check", "FEW", "--data", "nowhere"), 3, "cannot read the data folder nowhere"),
        (("submission", "check", "FEW", "--data", "DATA"), 2, "lacks 320 of 321 images, first 001_regular.png"),
        (("submit", "--data", "DATA", "--out", "x"), 2, "give a spec or --detectors DIR, one of them"),
        (("submit", "s", "--detectors", "d", "--data", "DATA", "--out", "x"), 2, "give a spec or --detectors"),
        (("submit", "--detectors", "d", "--frozen", "--data", "DATA", "--out", "x"), 2, "choose of a spec's"),
        (("submit", "s", "--frozen", "--baseline", "--data", "DATA", "--out", "x"), 2, "name different trials"),
        (("submit", "s", "--data", "DATA", "--out", "x", "--false-positives", "2"), 2, "no share between 0 and 1"),
        (
            ("submit", "--detectors", "d", "--data", "nowhere", "--out", "FEW/x"),
            3,
            "cannot read the data folder nowhere",
        ),
        (("submit", "--detectors", "d", "--data", "DATA", "--out", "FEW"), 2, "is there already"),
        (("submit", "--detectors", "d", "--data", "DATA", "--out", "FEW/x"), 2, "lacks 320 of 321 images"),
        (("submit", "s", "--out", "x"), 2, "--data"),
        (("submit", "s", "--data", "DATA"), 2, "--out"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    tmp_path: Path, arguments: tuple[str, ...], exit_code: int, said: str
) -> None:
    few = write_submission(tmp_path / "few")
    data = write_data(tmp_path / "data", {"can": 1}, (2, 3))
    places = {"FEW": str(few), "FEW/x": str(few / "x"), "DATA": str(data)}
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == exit_code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug:" not in done.stderr
    assert not (few / "x").exists()
    if said[0] != "-":
        assert_one_error(done, exit_code)

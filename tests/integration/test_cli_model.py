"""`model export` and `model check`: from a finished study to a folder that proves itself."""

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from anomalyvfm_opt.store.engine import autocommit
from tests.integration.program import FinishedStudy, Program, assert_one_error

ELSEWHERE = {"ANOMALYVFM_OPT_DB_URL": "postgresql://nobody@127.0.0.1:9/nowhere"}


def read_card(folder: Path) -> dict[str, object]:
    card: dict[str, object] = json.loads((folder / "detector.json").read_text())
    return card


def test_the_best_trial_is_exported_and_checks_without_a_database(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    folder = tmp_path / "best"
    done = program.run_here("model", "export", finished_study.name, str(folder))
    assert done.returncode == 0, done.stderr
    best = program.run_json("study", "show", finished_study.name)["best"]
    assert f"trial {best['number']}, the best trial, which no confirmation has judged" in done.stderr
    assert f"scores by {best['scorer']}" in done.stderr
    assert "There is no threshold" in done.stderr  # 16 scenes
    assert done.stdout == ""
    proof = read_card(folder)["proof"]
    assert isinstance(proof, dict)
    assert proof["images"] == 31
    assert proof["largest_difference"] < 1e-5
    provenance = read_card(folder)["provenance"]
    assert isinstance(provenance, dict)
    assert f"{finished_study.name} is not confirmed yet" in provenance["verdict"]["missing"]
    assert "No confirmation has judged it" in (folder / "README.md").read_text()
    checked = program.run("model", "check", str(folder), **ELSEWHERE, ANOMALYVFM_OPT_HOME="/nowhere")
    assert checked.returncode == 0, checked.stderr
    assert "all files are whole" in checked.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--frozen",), "trial 0, the frozen network"),
        (("--baseline", "--with-backbone"), "the baseline, v1.1"),
        (("--trial", "3", "--scorer", "ensemble", "--false-positives", "0.1"), "trial 3, as asked for"),
    ],
)
def test_another_trial_is_exported_when_asked_for(
    program: Program, finished_study: FinishedStudy, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    folder = tmp_path / "made"
    done = program.run_here("model", "export", finished_study.name, str(folder), *options, "--json")
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    card = json.loads(done.stdout)
    assert card["schema"] == 1
    assert (card["adapter"] is None) == ("--frozen" in options)
    assert ("backbone.safetensors" in card["files"]) == ("--with-backbone" in options)
    if "ensemble" in options:
        assert card["thresholds"]["score"] is not None  # 16 scenes promise 10 %
        assert "approximate" in card["thresholds"]["caveat"]
        assert card["thresholds"]["best_f1"]["bad"] == 16
    checked = program.run_here("model", "check", str(folder), "--json", **ELSEWHERE)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["is_close"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--trial", "99"), "has no trial 99"),
        (("--trial", "-1"), "has no trial -1"),
        (("--trial", "1", "--frozen"), "--trial and --frozen name different trials"),
        (("--baseline", "--frozen"), "--baseline and --frozen"),
        (("--frozen", "--scorer", "decoder"), "has no scorer 'decoder'"),
        (("--scorer", "nonsense"), "no stored scores|has no scorer 'nonsense'"),
        (("--false-positives", "0"), "no share between 0 and 1"),
        (("--false-positives", "nan"), "no share between 0 and 1"),
        (("--device", "abacus"), "is no device"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    program: Program, finished_study: FinishedStudy, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = program.run_here("model", "export", finished_study.name, str(tmp_path / "made"), *options)
    shown = assert_one_error(done, 2)
    assert any(one in shown for one in said.split("|"))
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_not_there_is_refused(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    done = program.run_here("model", "export", "nowhere/brick", str(tmp_path / "made"))
    assert "no study 'nowhere/brick'" in assert_one_error(done, 2)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_name_that_is_taken_is_refused(
    program: Program, finished_study: FinishedStudy, tmp_path: Path, kind: str
) -> None:
    taken = tmp_path / "made"
    {"folder": taken.mkdir, "file": taken.touch, "link": lambda: taken.symlink_to("nowhere")}[kind]()
    done = program.run_here("model", "export", finished_study.name, str(taken))
    assert "is there already" in assert_one_error(done, 2)


def test_a_place_that_is_not_there_is_refused(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    done = program.run_here("model", "export", finished_study.name, str(tmp_path / "nowhere" / "made"))
    assert "is no folder" in assert_one_error(done, 3)


def test_other_scores_than_the_stored_ones_are_refused_with_both_numbers(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    with autocommit(program.store.engine) as connection:
        changed = text(
            "UPDATE anomalyvfm_opt.image_score SET score = score + :by WHERE scorer = 'patch_knn' AND trial_id ="
            " (SELECT trial_id FROM trials t JOIN studies s ON s.study_id = t.study_id"
            " WHERE study_name = :name AND number = 0)"
        )
        connection.execute(changed, {"by": 0.5, "name": finished_study.name})
    try:
        done = program.run_here("model", "export", finished_study.name, str(tmp_path / "made"), "--frozen")
    finally:
        with autocommit(program.store.engine) as connection:
            connection.execute(changed, {"by": -0.5, "name": finished_study.name})
    shown = assert_one_error(done, 3)
    assert "does not give here the scores that the trial stored" in shown
    assert "by patch_knn, and should have" in shown
    assert list(tmp_path.iterdir()) == []


def test_changed_images_are_refused(program: Program, finished_study: FinishedStudy, tmp_path: Path) -> None:
    shutil.copytree(program.data, tmp_path / "data")
    image = next((tmp_path / "data" / "brick" / "train" / "good").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    done = program.run_here(
        "model", "export", finished_study.name, str(tmp_path / "made"), "--data", str(tmp_path / "data")
    )
    assert "are not those of the study" in assert_one_error(done, 2)


def test_a_trial_whose_detector_is_gone_is_refused(
    program: Program, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    done = program.run_here(
        "model",
        "export",
        finished_study.name,
        str(tmp_path / "made"),
        "--baseline",  # the best may be the frozen network, which left no file
        ANOMALYVFM_OPT_ARTIFACTS=str(tmp_path / "no"),
    )
    assert "of a trial cannot be read" in assert_one_error(done, 3)


def test_a_folder_that_is_none_is_refused(program: Program, tmp_path: Path) -> None:
    done = program.run_here("model", "check", str(tmp_path))
    assert "detector.json is missing" in assert_one_error(done, 2)

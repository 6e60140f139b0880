"""Images whose names are in another Unicode form than the study's, as in a copy that a Mac made."""

import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from anomalyvfm_opt.data.check import check_folder
from anomalyvfm_opt.store.division import list_images
from anomalyvfm_opt.store.optuna_private import read_trial_id
from anomalyvfm_opt.store.scores import read_scores
from anomalyvfm_opt.worker.images import find_images
from tests.integration.program import CATEGORY, Program, make_tiny
from tests.unit.data.folders import write_mvtec_ad

LIGHT = "übergänge"  # composed, as this file holds it
CATEGORY_NAME = "größe"


def copy(source: Path, target: Path, rename: Callable[[str], str]) -> Path:
    """Copy a folder of images, each file and folder under the name that `rename` gives it."""
    for path in source.rglob("*"):
        if path.is_file():
            place = target.joinpath(*map(rename, path.relative_to(source).parts))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return target


def decompose(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.fixture(scope="module")
def composed(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bricks as a category whose name, and whose lights' names, are not ASCII."""
    folder = tmp_path_factory.mktemp("composed")
    copy(program.data / CATEGORY, folder / CATEGORY_NAME, lambda name: name.replace("regular", LIGHT))
    return folder


@pytest.fixture(scope="module")
def decomposed(composed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a Mac writes it."""
    folder = copy(composed, tmp_path_factory.mktemp("decomposed"), decompose)
    assert not (folder / CATEGORY_NAME).exists()
    return folder


def test_a_study_is_found_by_either_form_of_its_name_and_never_created_twice(
    program: Program, tmp_path: Path, composed: Path, decomposed: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    content = make_tiny("either", references=["frozen", "v1.1"], search={"trials": 2}, verdict={"noise_seeds": 3})
    content["data"]["categories"] = [CATEGORY_NAME]
    spec.write_text(json.dumps(content))
    name, other = f"either/{CATEGORY_NAME}", decompose(f"either/{CATEGORY_NAME}")
    assert name != other
    for data, category, state in (
        (composed, CATEGORY_NAME, "created"),
        (composed, decompose(CATEGORY_NAME), "is there already, unchanged"),
        (decomposed, CATEGORY_NAME, "is there already, unchanged"),
    ):
        given = ("--data", str(data), "--category", category)
        created = program.run_here("study", "create", str(spec), *given)
        assert created.returncode == 0, created.stderr
        assert f"{name} {state}" in created.stderr
    image = next((decomposed / decompose(CATEGORY_NAME)).rglob("*.png"))
    content_before = image.read_bytes()
    Image.new("RGB", (64, 64), "red").save(image)
    refused = program.run_here("study", "create", str(spec), "--data", str(decomposed))
    image.write_bytes(content_before)
    assert refused.returncode == 2
    assert "images (content hash)" in refused.stderr
    shown = [program.run_json("study", "show", typed) for typed in (name, other)]
    assert shown[0] == shown[1]
    done = program.run_here("worker", "run", other, "--data", str(composed), "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert program.usage(name).complete == 2
    assert program.usage(f"{name}#replicates").complete > 0  # siblings as well
    deleted = program.run_here("study", "delete", other, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert program.run_here("study", "show", name).returncode == 2


def test_a_category_that_is_there_in_both_forms_is_refused_before_anything_is_written(
    program: Program, tmp_path: Path, composed: Path, decomposed: Path
) -> None:
    for folder in (composed / CATEGORY_NAME, decomposed / decompose(CATEGORY_NAME)):
        (tmp_path / folder.name).symlink_to(folder)
    checked = program.run_here("data", "check", str(tmp_path))
    assert checked.returncode == 2
    assert checked.stderr.count("two folders have this name, in two Unicode forms") == 2
    spec = tmp_path / "spec.yaml"
    for categories in ("all", [CATEGORY_NAME, decompose(CATEGORY_NAME)]):
        content = make_tiny("twins", references=["frozen"], search={"trials": 2})
        content["data"]["categories"] = categories
        spec.write_text(json.dumps(content))
        refused = program.run_here("study", "create", str(spec), "--data", str(tmp_path))
        assert refused.returncode == 2
        assert f"category '{CATEGORY_NAME}' is there twice, in two Unicode forms" in refused.stderr
        assert program.run_here("study", "show", "twins").returncode == 2


@pytest.mark.parametrize("is_made_on_a_mac", [False, True], ids=["made composed", "made decomposed"])
def test_a_worker_runs_on_a_copy_in_the_other_form(
    program: Program, tmp_path: Path, composed: Path, decomposed: Path, is_made_on_a_mac: bool
) -> None:
    first, second = (decomposed, composed) if is_made_on_a_mac else (composed, decomposed)
    name = f"form{int(is_made_on_a_mac)}"
    spec = tmp_path / "spec.yaml"
    content = make_tiny(name, references=["frozen"], search={"trials": 2})
    content["data"]["categories"] = [CATEGORY_NAME]
    spec.write_text(json.dumps(content))
    created = program.run_here("study", "create", str(spec), "--data", str(first))
    assert created.returncode == 0, created.stderr
    for data in (first, second):
        done = program.run_here(
            "worker", "run", "--study", name, "--data", str(data), "--threads", "1", "--max-trials", "1"
        )
        assert done.returncode == 0, done.stderr
    study = f"{name}/{CATEGORY_NAME}"
    assert program.usage(study).complete == 2
    record = program.record(study)
    stored = list_images(program.store.engine, record.study_id)
    divisions = [find_images(record, stored, folder) for folder in (first, second)]
    assert [{role: [r.key for r in part] for role, part in one.roles.items()} for one in divisions] == [
        {
            role: sorted(key for key, image in stored.items() if image.role == role != "locked")
            for role in one.roles
        }
        for one in divisions
    ]
    for trial in program.trials(study):
        scores = read_scores(program.store.engine, read_trial_id(trial), "patch_knn")
        assert scores
        assert scores.keys() <= stored.keys()


@pytest.mark.parametrize("name", [CATEGORY_NAME, decompose(CATEGORY_NAME)], ids=["composed", "decomposed"])
def test_a_category_is_found_by_either_form_of_its_name(
    program: Program, composed: Path, decomposed: Path, name: str
) -> None:
    for folder in (composed, decomposed):
        assert len(program.run_json("data", "split", str(folder), name)["fit"]) == 48


def test_masks_are_found_in_a_folder_of_the_other_form(tmp_path: Path) -> None:
    base = write_mvtec_ad(tmp_path, defects={LIGHT: 3})
    (base / "ground_truth" / LIGHT).rename(base / "ground_truth" / decompose(LIGHT))
    (bottle,) = check_folder(tmp_path).categories
    assert bottle.masks == 3
    assert bottle.problems == []


def test_two_names_that_look_the_same_are_told(tmp_path: Path) -> None:
    base = write_mvtec_ad(tmp_path)
    for seed, name in enumerate((f"{LIGHT}.png", decompose(f"{LIGHT}.png"))):
        shutil.copyfile(base / f"train/good/00{seed}.png", base / "train/good" / name)
    (bottle,) = check_folder(tmp_path).categories
    assert any("differ in the Unicode form of their names alone" in line for line in bottle.warnings)

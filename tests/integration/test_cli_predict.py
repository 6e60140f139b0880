"""`predict`: from an exported folder to scores and pictures, in a process that knows nothing but the folder."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.evaluation.metrics import auroc
from anomalyvfm_opt.store.scores import read_scores
from tests.integration.program import Finished, FinishedStudy, Program, assert_one_error

NOWHERE = {"ANOMALYVFM_OPT_DB_URL": "postgresql://nobody@127.0.0.1:9/nowhere", "ANOMALYVFM_OPT_HOME": "/nowhere"}


@pytest.fixture(scope="module")
def detector(program: Program, finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detectors") / "best"
    done = program.run_here("model", "export", finished_study.name, str(folder), "--false-positives", "0.1")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)).save(path)
    return path


def predict(program: Program, *arguments: str) -> Finished:
    return program.run_here("predict", *arguments, **NOWHERE)


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_another_process_without_database_and_study_gives_the_stored_scores(
    program: Program, finished_study: FinishedStudy, detector: Path, tmp_path: Path
) -> None:
    best = program.run_json("study", "show", finished_study.name)["best"]
    trial = program.trials(finished_study.name)[best["number"]]
    stored = read_scores(program.store.engine, trial._trial_id, best["scorer"])
    images = [str(program.data / key) for key in stored]
    done = program.run("predict", str(detector), *images, "--out", str(tmp_path / "out"), **NOWHERE)
    assert done.returncode == 0, done.stderr
    rows = read_table(tmp_path / "out")
    assert [row["image"] for row in rows] == images
    found = np.array([float(row["score"]) for row in rows])
    wanted = np.array([score for _, score in stored.values()])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    labels = np.array([label for label, _ in stored.values()])
    assert auroc(found, labels) == pytest.approx(best["value"], abs=1e-6)


def test_a_folder_with_results_is_refused_before_the_detector_is_looked_at(
    program: Program, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "scores.csv").touch()
    refused = program.run_here("predict", str(tmp_path / "nothing"), str(image), "--out", str(tmp_path))
    assert "scores.csv is there already" in assert_one_error(refused, 2)


def test_pictures_have_the_size_of_their_image(
    program: Program, detector: Path, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = predict(
        program,
        str(detector),
        str(image),
        str(image),
        "--out",
        str(out),
        "--maps",
        "--overlays",
        "--masks",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first.keys() == {"image", "score", "p_normal", "is_anomalous", "map"}
    assert first["map"] == str(out / "maps" / "one.tiff")
    assert second["map"] == str(out / "maps" / "one-2.tiff")
    heat = np.asarray(Image.open(first["map"]))
    assert (heat.dtype, heat.shape) == (np.float32, (40, 70))
    assert np.asarray(Image.open(out / "overlays" / "one.png")).shape == (40, 70, 3)
    mask = np.asarray(Image.open(out / "masks" / "one.png"))
    assert mask.shape == (40, 70)
    assert set(np.unique(mask)) <= {0, 255}
    card = json.loads((detector / "detector.json").read_text())
    np.testing.assert_array_equal(mask == 255, heat > card["thresholds"]["pixel"])
    assert "2 images in" in done.stderr


def test_folders_patterns_and_lists_name_the_same_images(program: Program, detector: Path) -> None:
    folder = program.data / "brick" / "test_public" / "good"
    by_folder = predict(program, str(detector), str(folder))
    by_pattern = predict(program, str(detector), str(folder / "*.png"))
    lines = "\n".join(map(str, sorted(folder.iterdir()))) + "\n\n"
    by_list = subprocess.run(
        [sys.executable, "-m", "anomalyvfm_opt", "predict", str(detector), "-"],
        input=lines,
        env=program.surround(NOWHERE),
        capture_output=True,
        text=True,
        check=True,
    )
    assert by_folder.returncode == 0, by_folder.stderr
    assert len(by_folder.stdout.splitlines()) == len(list(folder.iterdir()))
    assert by_folder.stdout == by_pattern.stdout == by_list.stdout


def test_what_cannot_be_read_is_named_and_the_rest_has_scores(
    program: Program, detector: Path, image: Path, tmp_path: Path
) -> None:
    bad = make_bad_images(tmp_path / "bad")
    out = tmp_path / "out"
    done = predict(program, str(detector), *map(str, bad), str(image), "--out", str(out), "--overlays")
    shown = assert_one_error(done, 2)
    assert f"{len(bad)} of {len(bad) + 1} images could not be read, first {bad[0]}" in shown
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped:")]
    assert len(skipped) == len(bad)
    for path, line in zip(bad, skipped, strict=True):
        assert path.name[:50] in line
    assert [row["image"] for row in read_table(out)] == [str(image)]
    assert "Traceback" not in done.stderr


def make_bad_images(folder: Path) -> list[Path]:
    """Files that are no images, or none that can be read without loss."""
    folder.mkdir()
    whole = folder.parent / "whole.png"
    Image.new("RGB", (50, 50), "red").save(whole)
    content = whole.read_bytes()
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes(content[:60])
    (folder / "text.png").write_text("no image")
    (folder / "header.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 20)
    (folder / "vector.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "huge.png").write_bytes(content[:16] + b"\0\0\xff\xff\0\0\xff\xff" + content[24:])
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to("nowhere")
    Image.new("F", (50, 50)).save(folder / "float.tiff")
    Image.new("I", (50, 50)).save(folder / "deep.tiff")
    names = ("empty.png", "cut.png", "text.png", "header.jpg", "vector.eps", "huge.png", "pipe.png", "link.png")
    return [folder / name for name in (*names, "float.tiff", "deep.tiff", "missing.png", "x" * 300 + ".png")]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("DETECTOR",), 2, "Missing argument"),
        (("IMAGE", "IMAGE"), 2, "detector.json is missing"),
        (("EMPTY", "IMAGE"), 2, "detector.json is missing"),
        (("DETECTOR", "EMPTY"), 2, "holds no image"),
        (("DETECTOR", "EMPTY/*.png"), 2, "no file fits"),
        (("DETECTOR", "IMAGE", "--maps"), 2, "--maps needs a folder"),
        (("DETECTOR", "IMAGE", "--overlays"), 2, "--overlays needs a folder"),
        (("DETECTOR", "IMAGE", "--out", "IMAGE"), 2, "is no folder"),
        (("DETECTOR", "IMAGE", "--out", "IMAGE/below"), 3, "cannot write"),
        (("DETECTOR", "IMAGE", "--out", "/proc/nowhere"), 3, "cannot write"),
        (("DETECTOR", "IMAGE", "--out", "/" + "x" * 300), 3, "cannot write"),
        (("DETECTOR", "IMAGE", "--batch", "0"), 2, "--batch"),
        (("DETECTOR", "IMAGE", "--batch", "many"), 2, "--batch"),
        (("DETECTOR", "IMAGE", "--device", "abacus"), 2, "is no device"),
        (("DETECTOR", "IMAGE", "--device", "cuda:99"), 3, "GPUs"),
        (("DETECTOR", "IMAGE", "--weights", "IMAGE"), 2, "safetensors"),
        (("DETECTOR", "IMAGE", "--weights", "EMPTY/nowhere"), 3, "no such file"),
        (("DETECTOR", "IMAGE", "--false-positives", "0.01"), 2, "need 99 held-out"),
        (("DETECTOR", "IMAGE", "--false-positives", "0"), 2, "no share between 0 and 1"),
        (("DETECTOR", "IMAGE", "--false-positives", "nan"), 2, "no share between 0 and 1"),
        (("/" + "x" * 300, "IMAGE"), 2, "cannot read"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    program: Program,
    detector: Path,
    image: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"DETECTOR": str(detector), "IMAGE": str(image), "EMPTY": str(tmp_path / "empty")}
    given = []
    for argument in arguments:
        head, _, tail = argument.partition("/")
        given.append(places.get(head, head) + (f"/{tail}" if "/" in argument else ""))
    done = predict(program, *given)
    assert done.returncode == exit_code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug:" not in done.stderr


def test_results_are_not_overwritten(program: Program, detector: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(program, str(detector), str(image), "--out", str(out)).returncode == 0
    assert "is there already" in assert_one_error(
        predict(program, str(detector), str(image), "--out", str(out)), 2
    )


def test_without_a_threshold_there_is_no_verdict_and_no_mask(
    program: Program, finished_study: FinishedStudy, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frozen"
    assert program.run_here("model", "export", finished_study.name, str(folder), "--frozen").returncode == 0
    done = predict(program, str(folder), str(image), "--json")
    assert json.loads(done.stdout)["is_anomalous"] is None
    assert "no verdicts" in done.stderr
    refused = predict(program, str(folder), str(image), "--masks", "--out", str(tmp_path / "out"))
    assert "no masks" in assert_one_error(refused, 2)


def test_a_reader_that_goes_away_ends_it_quietly(program: Program, detector: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f'"{sys.executable}" -m anomalyvfm_opt predict "$1" "$2" --batch 1 --out "$3" | head -n 1'
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(detector), str(program.data / "brick"), str(out)],
        env=program.surround(NOWHERE),
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert "error" not in done.stderr
    assert not (out / "scores.csv").exists()

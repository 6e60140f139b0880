"""`predict` by a small real detector: what it looks at, says of odd images, and never overwrites."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.program import Finished, finish, run_in_process, wait_for
from tests.unit.inference.folders import export

KEPT = {name: value for name, value in os.environ.items() if not name.startswith("ANOMALYVFM_OPT_")}


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("made") / "detector", "vit", None).folder


def predict(*arguments: str) -> Finished:
    return run_in_process(("predict", *arguments), KEPT)


def make_image(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    make_image(seed).save(path)
    return path


def read_names(out: Path) -> list[str]:
    with (out / "scores.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row["image"] for row in csv.DictReader(file)]


def list_warnings(done: Finished) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_further_pages_are_named_and_counted(detector: Path, tmp_path: Path, name: str) -> None:
    path, whole = tmp_path / name, save(tmp_path / "whole.png")
    make_image(1).save(path, save_all=True, append_images=[make_image(2), make_image(3)])
    done = predict(str(detector), str(path), str(whole))
    assert done.returncode == 0, done.stderr
    assert list_warnings(done) == [f"warning: {path} has 3 pages, of which the first is read"]
    assert "of them with a warning, above: 1 image" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_masks_of_a_data_set_are_left_out_and_counted(detector: Path, tmp_path: Path) -> None:
    data = tmp_path / "can"
    image, mask = save(data / "test/bad/000.png"), save(data / "ground_truth/bad/000_mask.png")
    save(data / "ground_truth/bad/001_mask.png")
    done = predict(str(detector), str(data), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert read_names(tmp_path / "out") == [str(image)]
    assert "note: 2 files in folders ground_truth left out: they are masks" in done.stderr
    for given in (mask, mask.parent, data / "ground_truth"):
        named = predict(str(detector), str(given), "--json")
        assert json.loads(named.stdout.splitlines()[0])["image"] == str(mask)
        assert "left out" not in named.stderr
    (data / "test/bad/000.png").unlink()
    empty = predict(str(detector), str(data))
    assert empty.returncode == 2
    assert f"{data} holds no image\nhint: 2 files in folders ground_truth left out" in empty.stderr


def start(detector: Path, images: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "anomalyvfm_opt", "predict", str(detector), str(images), "--batch", "1", *options],
        env=KEPT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_pictures_of_an_interrupted_call_are_not_mixed_with_those_of_the_next(
    detector: Path, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for index in range(300):
        save(images / f"{index:03}.png", index)
    process = start(detector, images, "--out", str(out), "--overlays")
    wait_for(lambda: (out / "overlays/000.png").exists() or process.poll() is not None)
    process.send_signal(number)
    assert finish(process).returncode == exit_code
    left = {path: path.read_bytes() for path in (out / "overlays").iterdir()}
    assert left
    assert not (out / "scores.csv").exists()
    for options in (("--overlays",), ("--maps",), ()):
        done = predict(str(detector), str(images / "000.png"), "--out", str(out), *options)
        assert done.returncode == 2
        assert f"{out / 'overlays'} is there already, without scores.csv" in done.stderr
    assert {path: path.read_bytes() for path in (out / "overlays").iterdir()} == left
    assert not (out / "maps").exists()


@pytest.mark.parametrize(
    ("make", "is_refused"),
    [
        (lambda path: path.mkdir(), False),
        (lambda path: path.touch(), True),
        (lambda path: path.symlink_to("elsewhere"), True),
        (lambda path: save(path / "mine.png"), True),
    ],
)
def test_what_is_in_the_place_of_pictures_stays(
    detector: Path, tmp_path: Path, make: Callable[[Path], object], is_refused: bool
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    make(out / "masks")
    done = predict(str(detector), str(save(tmp_path / "a.png")), "--out", str(out), "--overlays")
    assert done.returncode == (2 if is_refused else 0), done.stderr
    assert (out / "scores.csv").exists() != is_refused


ODD_NAMES = ["a,b.png", 'a"b.png', "a\nb.png", "a b .png", "a\\udce9b.png", "x" * 251 + ".png", "é" * 120 + ".PNG"]


def test_odd_names_come_out_as_they_went_in(detector: Path, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    names = [name.encode().decode("unicode_escape") if "\\u" in name else name for name in ODD_NAMES]
    for name in names:
        save(images / "whole.png").rename(images / name)
    done = predict(str(detector), str(images), "--out", str(out), "--maps", "--overlays", "--json")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = sorted(str(images / name) for name in names)
    assert [answer["image"] for answer in answers] == sorted(wanted, key=lambda name: Path(name).name)
    assert sorted(read_names(out)) == wanted
    assert len({answer["map"] for answer in answers}) == len(names)
    assert all(Path(answer["map"]).is_file() for answer in answers)


def test_the_same_name_in_two_folders_has_two_pictures(detector: Path, tmp_path: Path) -> None:
    given = [str(save(tmp_path / folder / "a.png")) for folder in "bcd"] + [str(save(tmp_path / "e/a-2.png"))]
    done = predict(str(detector), *given, "--out", str(tmp_path / "out"), "--maps")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/maps").iterdir())) == 4

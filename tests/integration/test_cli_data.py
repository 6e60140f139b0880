"""The commands that need no database: data, spec, version, help."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from anomalyvfm_opt import __version__
from anomalyvfm_opt.cli.main import app
from tests.integration.program import CATEGORY, Program, assert_one_error
from tests.unit.data.folders import make_pixels, save_image, write_mvtec_ad, write_mvtec_ad2, write_plain

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared/data/real"
SPECS = sorted((ROOT / "studies").glob("*.yaml"))


def list_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, part in getattr(command, "commands", {}).items():
        yield from list_commands(part, (*path, name))


def test_demo_data_is_written_once(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    for _ in range(2):
        done = program.run_here("data", "demo", str(folder))
        assert done.returncode == 0, done.stderr
        assert "brick, gravel, grass" in done.stderr
    assert len(list(folder.glob(f"{CATEGORY}/train/good/*.png"))) == 48
    other = program.run_here("data", "demo", str(folder), "--seed", "1")
    assert "other or incomplete" in assert_one_error(other, 2)


def test_check_counts_what_is_there(program: Program) -> None:
    checked = program.run_json("data", "check", str(program.data))
    assert checked["schema"] == 1
    assert [category["name"] for category in checked["categories"]] == ["brick", "grass", "gravel"]
    brick = checked["categories"][0]
    assert brick["usable"]
    assert brick["smallest_px"] == [64, 64]
    counts = {(part["part"], part["label"]): part["images"] for part in brick["parts"]}
    assert counts == {("train", "good"): 48, ("validation", "good"): 16, ("test", "good"): 32, ("test", "bad"): 32}
    table = program.run_here("data", "check", str(program.data))
    assert table.returncode == 0
    assert "gravel" in table.stdout


def test_check_names_a_file_that_cannot_be_used(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    program.run_here("data", "demo", str(folder))
    broken = folder / CATEGORY / "train/good/000_regular.png"
    broken.write_bytes(b"no image")
    done = program.run_here("data", "check", str(folder))
    assert done.returncode == 2
    assert f"problem: {broken} is not an image" in done.stderr


@pytest.mark.parametrize(
    ("write", "layout", "bad", "masks"),
    [
        (write_mvtec_ad2, "MVTec AD 2", 4, 4),
        (write_mvtec_ad, "MVTec AD", 5, 5),
        (write_plain, "plain folders", 4, 0),
    ],
)
def test_check_knows_every_layout(
    program: Program, tmp_path: Path, write: Callable[..., Path], layout: str, bad: int, masks: int
) -> None:
    write(tmp_path, "item")
    (item,) = program.run_json("data", "check", str(tmp_path))["categories"]
    assert (item["layout"], item["masks"], item["parts"][-1]["images"]) == (layout, masks, bad)
    assert (item["problems"], item["errors"], item["warnings"], item["usable"]) == ([], [], [], True)
    assert len(item["information"]) == 1
    done = program.run_here("data", "check", str(tmp_path))
    assert layout in done.stdout
    assert "note: item has " in done.stderr
    assert "problem" not in done.stderr


def test_odd_names_break_no_line(program: Program, tmp_path: Path) -> None:
    base = write_plain(tmp_path / "data", "[red]a")
    (base / "train/good/line\nbreak \x1b[31m.txt").write_text("x")
    latin = save_image(base / f"train/good/caf{os.fsdecode(bytes([0xE9]))}.png", make_pixels(900))
    for environment in ({}, {"PYTHONIOENCODING": "ascii"}):
        done = program.run("data", "check", str(tmp_path / "data"), **environment)
        assert done.returncode == 2
        assert "[red]a" in done.stdout
        lines = done.stderr.splitlines()
        assert [line.split(":")[0] for line in lines] == ["warning", "problem", "1 of 1 category cannot be used"]
        assert "line\\nbreak \\x1b[31m.txt is not read" in lines[0]
        assert "caf\\xe9.png: its name is not UTF-8" in lines[1]
    as_json = program.run("data", "check", str(tmp_path / "data"), "--json")
    (category,) = json.loads(as_json.stdout)["categories"]
    assert category["name"] == "[red]a"
    assert category["problems"][0].startswith(str(latin))


def test_a_mask_of_another_size_is_a_problem(program: Program, tmp_path: Path) -> None:
    base = write_plain(tmp_path, mask_end=".png")
    save_image(base / "ground_truth/bad/001.png", make_pixels(0, 3, 4))
    done = program.run_here("data", "check", str(tmp_path))
    assert done.returncode == 2
    assert "problem: " in done.stderr
    assert "001.png is 4x3 px, its image 10x8 px" in done.stderr
    assert "1 of 1 category cannot be used: tile" in done.stderr


def test_folders_that_are_no_categories_are_noted(program: Program, tmp_path: Path) -> None:
    write_plain(tmp_path)
    (tmp_path / "notes").mkdir()
    checked = program.run_here("data", "check", str(tmp_path))
    assert f"note: {tmp_path / 'notes'} is no category" in checked.stderr
    assert program.run_json("data", "check", str(tmp_path))["ignored"] == ["notes"]


@pytest.mark.parametrize(("lock", "search"), [("half", 31), ("all", 0)])
def test_split_shows_every_image_once(program: Program, lock: str, search: int) -> None:
    arguments = ("data", "split", str(program.data), CATEGORY, "--lock", lock)
    parts = program.run_json(*arguments)
    keys = [key for role in ("fit", "held_out", "search", "locked") for key in parts[role]]
    assert len(keys) == len(set(keys)) == 128
    assert len(parts["search"]) == search
    table = program.run_here(*arguments)
    assert f"hash {parts['hash']}" in table.stderr
    assert "held_out" in table.stdout


@pytest.mark.skipif(not REAL.is_dir(), reason="the real defect images are not here")
def test_real_images_are_usable(program: Program) -> None:
    checked = program.run_json("data", "check", str(REAL))
    images = {
        category["name"]: {(p["part"], p["label"]): p["images"] for p in category["parts"]}
        for category in checked["categories"]
    }
    assert all(category["usable"] for category in checked["categories"])
    parts = (("train", "good"), ("validation", "good"), ("test", "good"), ("test", "bad"))
    assert [images["magnetic_tile"][part] for part in parts] == [323, 49, 124, 204]
    assert [images["deep_pcb"][part] for part in parts] == [250, 40, 90, 90]
    assert {category["layout"] for category in checked["categories"]} == {"MVTec AD 2"}


def test_all_shipped_specs_are_right(program: Program) -> None:
    done = program.run_here("spec", "check", *map(str, SPECS))
    assert done.returncode == 0, done.stderr
    assert len(SPECS) >= 3
    assert done.stderr.count(": ok: ") == len(SPECS)


def test_every_mistake_in_every_spec_is_shown(program: Program, tmp_path: Path) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    files[0].write_text("name: one\ndata: {image_size_px: 8, lock: some}\nsearch: {trials: 4}\n")
    files[1].write_text("name: [\n")
    done = program.run_here("spec", "check", str(SPECS[0]), *map(str, files))
    assert_one_error(done, 2)
    assert f"{files[0]}:2:8: data.image_size_px" in done.stderr
    assert f"{files[0]}:2:26: data.lock" in done.stderr
    assert f"{files[1]}:" in done.stderr
    assert f"{SPECS[0]}: ok" in done.stderr


def test_version(program: Program) -> None:
    assert program.run("--version").stdout == f"anomalyvfm-opt {__version__}\n"


@pytest.mark.parametrize("path", list(list_commands(get_command(app))), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_the_database_command_tells_where_it_is(program: Program) -> None:
    status = program.run_json("db", "status")
    assert status["running"]
    assert str(status["port"]) in program.run_here("db", "url").stdout
    assert program.run_here("db", "up").returncode == 0
    assert "schema version" in program.run_here("db", "upgrade").stderr
    assert json.dumps(status["pid"]) in program.run_here("db", "status").stdout

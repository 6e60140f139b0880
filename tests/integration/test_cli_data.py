"""The commands that need no database: data, spec, version, help."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from anomalyvfm_opt import __version__
from anomalyvfm_opt.cli.main import app
from tests.integration.program import CATEGORY, Program, assert_one_error

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
        done = program.run("data", "demo", str(folder))
        assert done.returncode == 0, done.stderr
        assert "brick, gravel, grass" in done.stderr
    assert len(list(folder.glob(f"{CATEGORY}/train/good/*.png"))) == 48
    assert "other or incomplete" in assert_one_error(program.run("data", "demo", str(folder), "--seed", "1"), 2)


def test_check_counts_what_is_there(program: Program) -> None:
    checked = program.run_json("data", "check", str(program.data))
    assert checked["schema"] == 1
    assert [category["name"] for category in checked["categories"]] == ["brick", "grass", "gravel"]
    brick = checked["categories"][0]
    assert brick["usable"]
    assert brick["smallest_px"] == [64, 64]
    counts = {(part["part"], part["label"]): part["images"] for part in brick["parts"]}
    assert counts == {("train", "good"): 48, ("validation", "good"): 16, ("test", "good"): 32, ("test", "bad"): 32}
    table = program.run("data", "check", str(program.data))
    assert table.returncode == 0
    assert "gravel" in table.stdout


def test_check_names_a_file_that_cannot_be_used(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    program.run("data", "demo", str(folder))
    broken = folder / CATEGORY / "train/good/000_regular.png"
    broken.write_bytes(b"no image")
    done = program.run("data", "check", str(folder))
    assert done.returncode == 2
    assert f"problem: {broken}" in done.stderr or str(broken) in done.stderr


@pytest.mark.parametrize(("lock", "search"), [("half", 31), ("all", 0)])
def test_split_shows_every_image_once(program: Program, lock: str, search: int) -> None:
    arguments = ("data", "split", str(program.data), CATEGORY, "--lock", lock)
    parts = program.run_json(*arguments)
    keys = [key for role in ("fit", "held_out", "search", "locked") for key in parts[role]]
    assert len(keys) == len(set(keys)) == 128
    assert len(parts["search"]) == search
    table = program.run(*arguments)
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
    assert images["deep_pcb"][("test", "bad")] == 90
    assert images["magnetic_tile"][("test", "bad")] == 204


def test_all_shipped_specs_are_right(program: Program) -> None:
    done = program.run("spec", "check", *map(str, SPECS))
    assert done.returncode == 0, done.stderr
    assert len(SPECS) >= 3
    assert done.stderr.count(": ok: ") == len(SPECS)


def test_every_mistake_in_every_spec_is_shown(program: Program, tmp_path: Path) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    files[0].write_text("name: one\ndata: {image_size_px: 8, lock: some}\nsearch: {trials: 4}\n")
    files[1].write_text("name: [\n")
    done = program.run("spec", "check", str(SPECS[0]), *map(str, files))
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
    assert str(status["port"]) in program.run("db", "url").stdout
    assert program.run("db", "up").returncode == 0
    assert "schema version" in program.run("db", "upgrade").stderr
    assert json.dumps(status["pid"]) in program.run("db", "status").stdout

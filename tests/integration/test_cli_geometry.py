"""A study runs to its end on somebody else's PostgreSQL, with tiles and with aspect kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.external_server import ExternalServer
from tests.integration.program import CATEGORY, Program, write_spec

VIT = {"name": "vit_tiny_patch16_224", "weights": "random", "decoder_blocks": [2, 5], "patch_blocks": [5]}
GEOMETRIES: dict[str, dict[str, Any]] = {
    "vit in tiles": {
        "data": {"image_size_px": 80, "aspect": "keep", "tiles": {"size_px": 48, "overlap_px": 16}},
        "backbone": VIT,
    },
    "cnn with aspect kept": {"data": {"image_size_px": 64, "aspect": "keep"}},
    "cnn in tiles, all locked": {"data": {"image_size_px": 128, "lock": "all", "tiles": {"size_px": 64}}},
}


@pytest.fixture(scope="module")
def wide_data(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images and masks, cut to half their height."""
    root = tmp_path_factory.mktemp("wide")
    for path in (program.data / CATEGORY).rglob("*.png"):
        copy = root / path.relative_to(program.data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((0, 0, image.width, image.height // 2)).save(copy)
    return root


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "vit in tiles" else pytest.mark.slow) for name in GEOMETRIES],
)
def test_a_study_of_any_geometry_runs_to_its_end_on_an_external_database(
    program: Program, wide_data: Path, external_server: ExternalServer, tmp_path: Path, name: str
) -> None:
    spec = write_spec(tmp_path, name.replace(" ", "-").replace(",", ""), **GEOMETRIES[name])
    environment = external_server.environment
    created = program.run_here("study", "create", str(spec), "--data", str(wide_data), **environment)
    assert created.returncode == 0, created.stderr
    worked = program.run_here("worker", "run", "--study", spec.stem, "--threads", "1", **environment)
    assert worked.returncode == 0, worked.stderr
    shown = program.run_here("study", "show", f"{spec.stem}/{CATEGORY}", "--json", **environment)
    summary = json.loads(shown.stdout)
    assert summary["state"] == "finished"
    assert summary["trials"]["complete"] == 4
    assert all(0 <= reference["value"] <= 1 for reference in summary["references"].values())


def test_tiles_that_do_not_fit_the_backbone_are_refused_at_creation(program: Program, tmp_path: Path) -> None:
    tiles = {"size_px": 64, "overlap_px": 4}
    spec = write_spec(tmp_path, "misfit", data={"image_size_px": 124, "tiles": tiles})
    done = program.create(spec)
    assert done.returncode == 2
    assert "multiples of 8" in done.stderr
    assert f"misfit/{CATEGORY}" not in program.list_names()

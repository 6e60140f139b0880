"""Detectors and data of small submissions."""

from pathlib import Path

import pytest

from tests.unit.inference.folders import export
from tests.unit.inference.making import SIZE_PX
from tests.unit.inference.submissions import write_data


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("detectors")
    trained = export(folder / "can", "cnn", "lora", "predictor")
    return {"can": trained.folder, "vial": export(folder / "vial", "cnn", None).folder}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", size_px=SIZE_PX)

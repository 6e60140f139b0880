"""A CNN and a ViT, each made once for the tests of a module, and a trial whose checkpoints are kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import Detector, build_detector
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder, KeptCheckpoints
from anomalyvfm_opt.training.finetune import finetune
from anomalyvfm_opt.training.state import TrainingState
from tests.unit.training.checkpoints import INPUTS, SCHEDULE, SETTINGS
from tests.unit.training.detectors import CNN, VIT, draw_images


@pytest.fixture(scope="module", params=[CNN, VIT], ids=["cnn", "vit"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(*request.param)


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return Backbone(*VIT)


@pytest.fixture(scope="module")
def states(vit: Backbone) -> list[TrainingState]:
    kept: list[TrainingState] = []
    with build_detector(vit, SETTINGS, 1, SCHEDULE.steps) as detector:
        finetune(detector, draw_images(64), SCHEDULE, lambda *_: None, keep=kept.append)
    return kept


@pytest.fixture
def detector(vit: Backbone) -> Iterator[Detector]:
    with build_detector(vit, SETTINGS, 1, SCHEDULE.steps) as fresh:
        yield fresh


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "artifacts" / "checkpoints")


@pytest.fixture
def trial(folder: CheckpointFolder) -> KeptCheckpoints:
    return folder.for_trial(INPUTS)

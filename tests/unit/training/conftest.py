"""A CNN and a ViT, each made once for the tests of a module."""

import pytest

from anomalyvfm_opt.model.backbone import Backbone
from tests.unit.training.detectors import CNN, VIT


@pytest.fixture(scope="module", params=[CNN, VIT], ids=["cnn", "vit"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(*request.param)


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return Backbone(*VIT)

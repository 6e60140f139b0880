"""Every adapter and every family of backbones, scored by every scorer, in small real trainings."""

from typing import get_args

import numpy as np
import pytest
from torch import Tensor

from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.detector import build_detector
from anomalyvfm_opt.spec.model import ScorerName
from anomalyvfm_opt.spec.space import Adapter
from tests.unit.training.detectors import KINDS, draw_images, plan, score, train

FAMILIES = {
    "cnn": ("tf_efficientnet_lite0", "offline", (1, 2), (2, 3), 64),
    "vit": ("test_vit.r160_in1k", "random", (-2,), (-2, -1), 64),
    "dinov2-registers": ("vit_small_patch14_reg4_dinov2.lvd142m", "random", (-2,), (-2, -1), 56),
    "dinov3": ("vit_small_patch16_dinov3.lvd1689m", "random", (-2,), (-2, -1), 64),
    "siglip2": ("vit_base_patch32_siglip_256.v2_webli", "random", (-2,), (-2, -1), 64),
}
# every adapter in a CNN and in a ViT, the kinds of layers that there are; that it learns everywhere in each of the
# families is in tests/unit/model/test_families.py
CASES = [
    *((family, kind) for family in ("cnn", "vit") for kind in KINDS),
    ("dinov2-registers", "rslora"),
    ("dinov3", "dora"),
    ("siglip2", "adalora"),
]
SCORERS = {"predictor", "decoder", "mahalanobis", "patch_knn", "ensemble"}


@pytest.fixture(scope="module")
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone(*FAMILIES[request.param])


def list_factors(backbone: Backbone) -> dict[str, Tensor]:
    """All that an adapter learns but AdaLoRA's singular values, which may be pruned all in a layer."""
    return {name: p for name, p in backbone.network.named_parameters() if p.requires_grad and "lora_E" not in name}


def test_the_matrix_has_all_there_are() -> None:
    assert set(KINDS) == {kind for _, kind in CASES} == set(get_args(Adapter))
    assert {family for family, _ in CASES} == FAMILIES.keys()
    assert set(get_args(ScorerName)) == SCORERS


@pytest.mark.parametrize(("backbone", "kind"), CASES, indirect=["backbone"])
def test_a_trained_detector_has_finite_scores_by_every_scorer(backbone: Backbone, kind: str) -> None:
    images, schedule = draw_images(backbone.image_size_px), plan(epochs=2, steps_per_epoch=2)
    settings = AdapterSettings(
        kind=kind, rank=2, alpha=4.0, targets="attention_mlp", adapted_blocks=2, dropout=0.1
    )
    with build_detector(backbone, settings, seed=1, steps=schedule.steps) as detector:
        first = {name: p.detach().clone() for name, p in list_factors(backbone).items()}
        losses = train(detector, images, schedule)
        assert np.isfinite(losses).all()
        assert bool(first) is settings.changes_network
        assert not any((p == first[name]).all() for name, p in list_factors(backbone).items())
        scores = score(detector, images)
    assert scores.keys() == SCORERS
    for name, values in scores.items():
        assert values.shape == (4,), name
        assert np.isfinite(values).all(), name
        assert len(set(values)) > 1, name  # of images that differ

"""What an image costs: the chosen scorer alone, all blocks, the adapter merged; the detector stays as it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from anomalyvfm_opt.bench.pace import measure_pace
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.features import TileFeatures, extract_features
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank
from anomalyvfm_opt.evaluation.scorers import ENSEMBLE
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.dropout import list_adapted_layers
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.spec.space import NO_ADAPTER
from tests.unit.inference.folders import FAMILIES, trained
from tests.unit.training.detectors import KINDS, draw_images

PASSES = 4  # one warms up


class Watched:
    """A detector, its bank and its images; notes what is run."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector
        self.frames = draw_images(detector.backbone.image_size_px).normal
        self.batch = ShrinkingBatch(4, detector.backbone.device)
        self.bank = ScorerBank.fit(self.extract(), choose_coreset(self.extract(), 64, 0))
        self.runs: dict[str, int] = {"network": 0, "decoder": 0, "merged": 0}

    def extract(self) -> TileFeatures:
        return extract_features(self.detector, self.frames, self.batch, with_heads=False)

    def measure(self, scorer: str) -> float:
        network, decoder = self.detector.backbone.network, self.detector.decoder
        hooks = [network.blocks[0].register_forward_pre_hook(self._count("network"))]
        if decoder is not None:
            hooks.append(decoder.register_forward_pre_hook(self._count("decoder")))
        try:
            return measure_pace(self.detector, self.bank, scorer, self.frames, self.batch)
        finally:
            for hook in hooks:
                hook.remove()

    def _count(self, name: str) -> Callable[..., None]:
        def note(*_: Any) -> None:
            self.runs[name] += 1
            layers = list_adapted_layers(self.detector.backbone.network)
            self.runs["merged"] += name == "network" and bool(layers) and all(layer.merged for layer in layers)

        return note


@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_pace_is_of_the_scorer_alone_and_changes_nothing(family: str, kind: str | None) -> None:
    with trained(Backbone(*FAMILIES[family]), kind) as detector:
        watched = Watched(detector)
        is_adapted = kind not in (None, NO_ADAPTER)
        before = {name: value.clone() for name, value in detector.state_dict().items()}
        scores = watched.bank.score(watched.extract()).image["patch_knn"]
        assert 0 < watched.measure("patch_knn") < 60
        batches = PASSES * -(-min(16, len(watched.frames)) // 4)
        assert watched.runs == {"network": batches, "decoder": 0, "merged": batches if is_adapted else 0}
        assert all(torch.equal(before[name], value) for name, value in detector.state_dict().items())
        np.testing.assert_array_equal(scores, watched.bank.score(watched.extract()).image["patch_knn"])


@pytest.mark.parametrize("scorer", ["decoder", "predictor", ENSEMBLE])
def test_heads_run_where_the_scorer_reads_them(scorer: str) -> None:
    with trained(Backbone(*FAMILIES["cnn"]), "lora") as detector:
        watched = Watched(detector)
        assert watched.measure(scorer) > 0
        assert watched.runs["decoder"] == watched.runs["network"] > 0


def test_the_ensemble_of_the_frozen_network_has_no_heads() -> None:
    with trained(Backbone(*FAMILIES["cnn"]), None) as detector:
        watched = Watched(detector)
        assert watched.measure(ENSEMBLE) > 0
        assert watched.runs["network"] > 0

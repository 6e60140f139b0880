"""The shapes of the heads, and what a normalised feature does to the predictor."""

import pytest
import torch

from anomalyvfm_opt.model.heads import Decoder, Predictor


@pytest.mark.parametrize("channels", [40, 192, 768, 3072])
@torch.no_grad()
def test_maps_are_twice_as_fine_as_the_features(channels: int) -> None:
    mask, confidence = Decoder(channels)(torch.randn(2, channels, 3, 5))
    assert mask.shape == confidence.shape == (2, 6, 10)
    assert mask.isfinite().all()


@torch.no_grad()
def test_the_level_and_scale_of_a_pooled_feature_do_not_matter() -> None:
    predictor, pooled = Predictor(64), torch.randn(3, 64)
    logits = predictor(pooled)
    assert logits.shape == (3,)
    torch.testing.assert_close(predictor(7 * pooled + 2), logits, rtol=1e-4, atol=1e-4)

"""The shapes of the heads, and what a normalised feature does to the predictor."""

import pytest
import torch

from anomalyvfm_opt.model.heads import DECODER_WIDTH, Decoder, Predictor, find_decoder_width


@pytest.mark.parametrize("channels", [40, 192, 768, 3072])
@torch.no_grad()
def test_maps_are_twice_as_fine_as_the_features(channels: int) -> None:
    mask, confidence = Decoder(channels)(torch.randn(2, channels, 3, 5))
    assert mask.shape == confidence.shape == (2, 6, 10)
    assert mask.isfinite().all()


@pytest.mark.parametrize(
    ("channels", "most", "width"),
    [(40, 256, 64), (768, 256, 192), (3072, 256, 256), (3072, 128, 128), (40, 1024, 64)],
)
def test_a_decoder_is_as_wide_as_its_map_asks_for_and_no_wider_than_it_may(
    channels: int, most: int, width: int
) -> None:
    decoder = Decoder(channels, most)
    assert decoder.mask.in_channels == width // 2
    assert find_decoder_width({f"decoder.{name}": one for name, one in decoder.state_dict().items()}) == width


def test_the_width_of_what_is_no_decoder_is_the_usual_one() -> None:
    assert find_decoder_width({}) == find_decoder_width({"decoder.body.0.weight": torch.ones(3)}) == DECODER_WIDTH


@torch.no_grad()
def test_the_level_and_scale_of_a_pooled_feature_do_not_matter() -> None:
    predictor, pooled = Predictor(64), torch.randn(3, 64)
    logits = predictor(pooled)
    assert logits.shape == (3,)
    torch.testing.assert_close(predictor(7 * pooled + 2), logits, rtol=1e-4, atol=1e-4)

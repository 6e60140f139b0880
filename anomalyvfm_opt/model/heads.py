"""The two heads of AnomalyVFM: a decoder for the anomaly map, a predictor for the image."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

DECODER_WIDTH = 256  # most channels of the decoder's layers, where a spec says nothing else
_LEAST_WIDTH = 64
_FIRST = "decoder.body.0.weight"  # of the projection, (width, c, 1, 1)


@dataclass(frozen=True)
class HeadOutput:
    """What both heads say of b images."""

    image_logit: Tensor  # (b,)
    mask_logit: Tensor  # (b, 2gh, 2gw)
    confidence: Tensor  # (b, 2gh, 2gw), raw


class Decoder(nn.Module):
    """Two 3x3 convolutions and one x2 upsampling block, then 1x1 heads for mask and confidence.

    A 1x1 projection comes first: stacked maps of several blocks are wide, and on a small backbone most of the
    time would go into the first 3x3 convolution.

    (b, c, gh, gw) -> mask logits (b, 2gh, 2gw) and raw confidence (b, 2gh, 2gw).

    Args:
        channels: of the feature map.
        most: channels of the layers behind the projection, which have a quarter of the map's otherwise.
    """

    def __init__(self, channels: int, most: int = DECODER_WIDTH) -> None:
        super().__init__()
        width = min(most, max(_LEAST_WIDTH, channels // 4 // 32 * 32))
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            _block(width, width),
            _block(width, width),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            _block(width, width // 2),
        )
        self.mask = nn.Conv2d(width // 2, 1, 1)
        self.confidence = nn.Conv2d(width // 2, 1, 1)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits and raw confidence of a feature map (b, c, gh, gw)."""
        x = self.body(feature_map)  # (b, width / 2, 2gh, 2gw)
        return self.mask(x).squeeze(1), self.confidence(x).squeeze(1)


class Predictor(nn.Module):
    """One linear map on the normalised pooled feature: (b, d) -> logit (b,) that the image is anomalous."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits (b,) of pooled features (b, d)."""
        logits: Tensor = self.linear(self.norm(pooled)).squeeze(1)
        return logits


def find_decoder_width(trained: Mapping[str, Tensor]) -> int:
    """Return the width of a decoder by its tensors, `decoder.<name>`; of tensors of no decoder, the usual one."""
    first = trained.get(_FIRST)
    return DECODER_WIDTH if first is None or first.ndim != 4 else len(first)


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.GroupNorm(channels_out // 8, channels_out),  # groups of one channel would wash out its level
        nn.ReLU(inplace=True),
    )

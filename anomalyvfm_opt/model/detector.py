"""The detector of one trial: an adapted backbone with its heads, and what one pass over images gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from anomalyvfm_opt.model.adapter import Adapter, adapted
from anomalyvfm_opt.model.adapter_kinds import AdapterSettings
from anomalyvfm_opt.model.allocation import Allocation, FixedRanks
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.heads import DECODER_WIDTH, Decoder, HeadOutput, Predictor
from anomalyvfm_opt.model.prefix import Prefix
from anomalyvfm_opt.model.seeding import drawn_from


@dataclass(frozen=True)
class Output:
    """What a detector says of b images; the frozen detector has no heads."""

    patches: Tensor  # (b, cp, ph, pw)
    pooled: Tensor  # (b, d)
    heads: HeadOutput | None = None


class Detector(nn.Module):
    """Backbone + heads. Without heads it is the frozen backbone, scored by the training-free scorers.

    The backbone stays in eval mode, in training too; the heads have neither dropout nor BatchNorm.

    Args:
        backbone: that looks at images.
        adapter: inside it; None for the frozen backbone.
        prefix: gives the outputs of blocks that need not run; None to run them all.
        decoder_width: most channels of the decoder's layers.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapter: Adapter | None = None,
        prefix: Prefix | None = None,
        decoder_width: int = DECODER_WIDTH,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.prefix = prefix
        self.adapter = adapter
        self.peft_model = adapter.peft_model if adapter else None
        self.allocation: Allocation = adapter.allocation if adapter else FixedRanks()
        self.decoder: Decoder | None = None
        self.predictor: Predictor | None = None
        if adapter is not None:
            decoder = Decoder(backbone.map_channels, decoder_width).to(memory_format=torch.channels_last)
            self.decoder = decoder.to(backbone.device)
            self.predictor = Predictor(backbone.pooled_channels).to(backbone.device)

    def forward(self, images: Tensor, with_heads: bool = True) -> Output:
        """Look at uint8 images (b, h, w, 3); without its heads, as the frozen detector does."""
        backbone = self.backbone
        with backbone.precision():
            if self.prefix is None:
                features = backbone.features(backbone.normalise(images))
            else:
                # what is trained on is filled in beforehand; the rest of it, random squares, is never seen again
                given = self.prefix.outputs(images, keep=not self.training)
                features = backbone.features(backbone.blank(len(images)), given)
        if self.decoder is None or self.predictor is None or not with_heads:
            return Output(features.patches, features.pooled)
        # heads in float32: logits of bfloat16 have ties, and ties move an AUROC
        mask_logit, confidence = self.decoder(features.decoder)
        heads = HeadOutput(self.predictor(features.pooled), mask_logit, confidence)
        return Output(features.patches, features.pooled, heads)

    @contextmanager
    def seeing_pixels(self) -> Iterator[None]:
        """Have all blocks run, for the length of a `with`."""
        prefix, self.prefix = self.prefix, None
        try:
            yield
        finally:
            self.prefix = prefix

    def train(self, mode: bool = True) -> Self:
        """Heads and the adapter's dropout only: else the backbone's frozen BatchNorm statistics would drift."""
        super().train(mode)
        self.backbone.network.eval()
        if self.adapter is not None:
            self.adapter.train(mode)
        return self

    def adapter_parameters(self) -> list[nn.Parameter]:
        """Return the adapter's trainable parameters."""
        return [p for p in self.backbone.network.parameters() if p.requires_grad]

    def generators(self) -> list[torch.Generator]:
        """Return what a training step draws random numbers from."""
        return self.adapter.generators() if self.adapter else []

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of decoder and predictor."""
        heads = [head for head in (self.decoder, self.predictor) if head is not None]
        return [p for head in heads for p in head.parameters()]


@contextmanager
def build_detector(
    backbone: Backbone,
    settings: AdapterSettings,
    seed: int,
    steps: int = 0,
    open_prefix: Callable[[Backbone, int], Prefix | None] = lambda _backbone, _blocks: None,
    decoder_width: int = DECODER_WIDTH,
) -> Iterator[Detector]:
    """Return a detector with a fresh adapter and fresh heads, all drawn from `seed`; taken apart at the end.

    It begins in eval mode. `steps` is how many optimiser steps are to follow (see `adapted`); `open_prefix` gives
    the outputs of the blocks below the first adapted one, of which there are as many as it is told.
    """
    with adapted(backbone, settings, seed, steps) as adapter:
        prefix = open_prefix(backbone, adapter.first_block)
        with drawn_from(seed + 1):
            detector = Detector(backbone, adapter, prefix, decoder_width)
        yield detector.eval()

"""A trial as a script would be written, with timm and peft: the peer of benchmarks/trial.py."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyvfm_opt.bench.workbench import Workbench
from anomalyvfm_opt.evaluation.features import Features, HeadFeatures, TileFeatures
from anomalyvfm_opt.evaluation.scorer_bank import ScorerBank, Scores
from anomalyvfm_opt.model.adapter import match_targets
from anomalyvfm_opt.model.backbone import Backbone, FeatureMaps
from anomalyvfm_opt.model.heads import Decoder, HeadOutput, Predictor
from anomalyvfm_opt.model.prefix import list_ends
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.training.losses import anomaly_loss

EPOCHS, STEPS, BATCH, SCORING_BATCH, COUNT = 3, 12, 16, 32, 120
Look = Callable[[str, np.ndarray], FeatureMaps]  # the name of a set of images, and rows of it


class Script:
    """A trial as a script would be written: LoRA by peft, heads, a loop, and the scorers at the end.

    Args:
        bench: whose images, exams and coreset are used, and nothing else.
        parameters: of the trial.
        network: timm's, which LoRA is put into.
        look: features of rows of a set of images.
        images: the sets, by name: uint8 (n, h, w, 3).
    """

    def __init__(
        self, bench: Workbench, parameters: Parameters, network: Any, look: Look, images: Mapping[str, np.ndarray]
    ) -> None:
        self.bench, self.parameters, self.network, self.look, self.images = (
            bench,
            parameters,
            network,
            look,
            images,
        )
        self.backbone = bench.backbone

    def run(self) -> Mapping[str, float]:
        from peft import LoraConfig, get_peft_model

        p, backbone = self.parameters, self.backbone
        pattern = match_targets(backbone, p.targets, p.adapted_blocks)
        config = LoraConfig(r=p.rank, lora_alpha=p.alpha, target_modules=pattern, bias="none")
        model = get_peft_model(self.network, config)
        model.eval()
        self.decoder = Decoder(backbone.map_channels, self.bench.spec.training.decoder_width).to(
            memory_format=torch.channels_last
        )
        self.predictor = Predictor(backbone.pooled_channels)
        heads = [*self.decoder.parameters(), *self.predictor.parameters()]
        adapter = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [{"params": adapter, "lr": 1e-3}, {"params": heads, "lr": 5e-3}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        rng = np.random.default_rng(1)
        labels = torch.cat([torch.zeros(BATCH // 2), torch.ones(BATCH // 2)])
        for _ in range(EPOCHS * STEPS):
            normal = rng.choice(len(self.images["normal"]), BATCH // 2, replace=False)
            anomalous = rng.choice(COUNT, BATCH // 2, replace=False)
            output = self.ask_heads(self.look_at_both(normal, anomalous))
            masks = torch.from_numpy(self.images["masks"][anomalous]).float()
            masks = F.interpolate(masks.unsqueeze(1), output.mask_logit.shape[1:], mode="area").squeeze(1)
            loss = anomaly_loss(output, labels, torch.cat([torch.zeros_like(masks), masks]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        values = self.score()
        model.unload()
        self.network.requires_grad_(False)
        return values

    def look_at_both(self, normal: np.ndarray, anomalous: np.ndarray) -> FeatureMaps:
        parts = [self.look("normal", normal), self.look("anomalous", anomalous)]
        return FeatureMaps(
            torch.cat([part.decoder for part in parts]),
            torch.cat([part.patches for part in parts]),
            torch.cat([part.pooled for part in parts]),
        )

    def ask_heads(self, features: FeatureMaps) -> HeadOutput:
        return HeadOutput(self.predictor(features.pooled), *self.decoder(features.decoder))

    @torch.no_grad()
    def score(self) -> Mapping[str, float]:
        bank = ScorerBank.fit(self.extract("fit", self.bench.fit, with_heads=False), self.bench.remembered)
        values: dict[str, float] = {}
        for name, exam in (("labelled", self.bench.exams.labelled), ("synthetic", self.bench.exams.synthetic)):
            if exam is None:
                raise SystemExit("the benchmark wants both exams")
            calibrated = bank.calibrate(self.extract(f"{name} calibration", exam.calibration))
            scores: Scores = calibrated.score(self.extract(name, exam.images))
            values |= {f"{name} {scorer}": value for scorer, value in exam.list_aurocs(scores).items()}
            exam.evaluate(scores) if name == "labelled" else None
        return values

    def extract(self, name: str, frames: Any, with_heads: bool = True) -> TileFeatures:
        def batches() -> Any:
            for first in range(0, len(frames), SCORING_BATCH):
                rows = np.arange(first, min(first + SCORING_BATCH, len(frames)))
                features = self.look(name, rows)
                heads = None
                if with_heads:
                    output = self.ask_heads(features)
                    mask = F.avg_pool2d(output.mask_logit.sigmoid().unsqueeze(1), 5, 1, 2, count_include_pad=False)
                    heads = HeadFeatures(output.image_logit, mask.squeeze(1))
                yield Features(features.patches.permute(0, 2, 3, 1).contiguous(), features.pooled, heads)

        return TileFeatures(frames, batches())


def look_at_pixels(backbone: Backbone, images: Mapping[str, np.ndarray]) -> Look:
    """The plain script's way: a pass of the whole network."""
    return lambda name, rows: backbone.features(backbone.normalise(torch.from_numpy(images[name][rows])))


def look_at_features(backbone: Backbone, images: Mapping[str, np.ndarray], blocks: int) -> Look:
    """The ceiling's way: what the frozen blocks give of all images is in memory, and was not paid for."""
    if not blocks:
        return look_at_pixels(backbone, images)
    ends = list_ends(backbone, blocks)
    kept: dict[str, dict[int, Tensor]] = {}
    for name, pixels in images.items():
        if name == "masks":
            continue
        parts = [
            backbone.run_blocks(backbone.normalise(torch.from_numpy(pixels[i : i + BATCH].copy())), ends)
            for i in range(0, len(pixels), BATCH)
        ]
        kept[name] = {end: torch.cat([part[end] for part in parts]) for end in ends}
    return lambda name, rows: backbone.features(
        backbone.blank(len(rows)), {end: kept[name][end][torch.from_numpy(rows)] for end in ends}
    )

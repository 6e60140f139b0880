"""A detector's scorer as one graph: from the pixels of frames to raw scores and raw maps, for ONNX.

Network, heads, and what scorers compute of features are the functions that a trial scores by. What joins tiles to
images, which a trial does in NumPy, stands here once more, in operations that a graph has.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.features import Features, read_features
from anomalyvfm_opt.evaluation.scorer_bank import TOP_SHARE, CalibratedBank
from anomalyvfm_opt.evaluation.scorers import ENSEMBLE, Scorer, list_parts
from anomalyvfm_opt.model.detector import Detector


class Graph(nn.Module):
    """The scores by one scorer of n frames, and their maps.

    Args:
        detector: trained, or frozen; in eval mode, without a prefix.
        bank: fitted and calibrated.
        scorer: whose score it gives.
        map_scorer: whose map it gives.
        geometry: of the frames.
    """

    def __init__(
        self, detector: Detector, bank: CalibratedBank, scorer: str, map_scorer: str, geometry: Geometry
    ) -> None:
        super().__init__()
        self.detector = detector
        self.geometry = geometry
        self._bank = bank
        self._is_ensemble = scorer == ENSEMBLE
        has_heads = detector.decoder is not None
        self._parts = list_parts(scorer, has_heads)
        (self._map_scorer,) = list_parts(map_scorer, has_heads)

    def forward(self, images: Tensor, content_px: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score frames.

        Args:
            images: uint8 (n, h, w, 3), RGB.
            content_px: int64 (n, 2), height and width of each image in its frame; None where images fill them.

        Returns:
            Scores, float32 (n,), and maps, float32 (n, 1, gh, gw), whose cells of mere padding mean nothing.
        """
        used = {one.name: one for one in (*self._parts, self._map_scorer)}
        needs_heads = any(one.needs_heads for one in used.values())
        features = read_features(self.detector(self._cut(images), needs_heads))
        maps, scores = {}, {}
        for name, one in used.items():
            traced = self._trace(one, features)
            if one.has_map:
                maps[name] = self._stitch(traced)
                scores[name] = self._mean_of_top(maps[name], content_px)
            else:
                scores[name] = self._take_highest(traced, content_px)
        score = self._join(scores) if self._is_ensemble else scores[self._parts[0].name]
        return score.float(), maps[self._map_scorer.name].unsqueeze(1)

    def _trace(self, scorer: Scorer, features: Features) -> Tensor:
        if scorer.trace is None:
            raise ValueError(f"{scorer.name} has no graph")
        return scorer.trace(self._bank.bank.fitted[scorer.name], features)

    def _join(self, scores: dict[str, Tensor]) -> Tensor:
        """Return the mean of the parts' robust z-scores: float64 (n,)."""
        bank, names = self._bank, [one.name for one in self._parts]
        z = [(scores[name].double() - bank.location[name]) / bank.scale[name] for name in names]
        return torch.stack(z).mean(dim=0)

    def _cut(self, images: Tensor) -> Tensor:
        """Return all t tiles of frames, of a frame one after the other: uint8 (n * t, side, side, 3)."""
        geometry, side = self.geometry, self.geometry.tile_px
        if not geometry.is_tiled:
            return images
        tiles = [images[:, top : top + side, left : left + side] for top, left in geometry.corners]
        return torch.stack(tiles, dim=1).flatten(0, 1)

    def _stitch(self, tile_maps: Tensor) -> Tensor:
        """Return maps of frames, (n, h, w), of those of tiles, (n * t, g, g): where these overlap, the mean."""
        geometry, grid = self.geometry, tile_maps.shape[1]
        if not geometry.is_tiled:
            return tile_maps
        corners = [tuple(at * grid // geometry.tile_px for at in corner) for corner in geometry.corners]
        height, width = (side * grid // geometry.tile_px for side in geometry.frame_px)
        by_frame = tile_maps.reshape(-1, len(corners), grid, grid)  # (n, t, g, g)
        total, count = tile_maps.new_zeros(()), torch.zeros(height, width)
        for index, (y, x) in enumerate(corners):
            total = total + F.pad(by_frame[:, index], (x, width - x - grid, y, height - y - grid))
            count[y : y + grid, x : x + grid] += 1
        return total / count.clamp_min(1).to(tile_maps.device)

    def _take_highest(self, tile_scores: Tensor, content_px: Tensor | None) -> Tensor:
        """Return the score of the most anomalous tile of each frame, those of mere padding left out: (n,)."""
        corners = self.geometry.corners
        if len(corners) == 1:
            return tile_scores
        by_frame = tile_scores.reshape(-1, len(corners))  # (n, t)
        if content_px is not None:
            starts = torch.tensor(corners, device=tile_scores.device)  # (t, 2)
            is_seen = (starts < content_px.unsqueeze(1)).all(dim=2)
            by_frame = by_frame.where(is_seen, -torch.inf)
        return by_frame.amax(dim=1)

    def _mean_of_top(self, maps: Tensor, content_px: Tensor | None) -> Tensor:
        """Return the mean over the highest cells of maps (n, h, w), padding left out: (n,)."""
        height, width = maps.shape[1:]
        most = max(1, round(height * width * TOP_SHARE))
        if content_px is None:
            return maps.flatten(1).topk(most, dim=1).values.mean(dim=1)
        shape, frame = (
            torch.tensor(each, device=maps.device) for each in ((height, width), self.geometry.frame_px)
        )
        counts = ((content_px * shape).double() / frame).ceil().clamp_min(1)  # (n, 2): rows and columns
        rows, columns = (torch.arange(side, device=maps.device) for side in (height, width))
        is_row, is_column = rows < counts[:, :1], columns < counts[:, 1:]
        is_content = is_row.unsqueeze(2) & is_column.unsqueeze(1)
        highest = maps.where(is_content, -torch.inf).flatten(1).topk(most, dim=1).values  # (n, most)
        taken = (counts[:, 0] * counts[:, 1] * TOP_SHARE).round().clamp_min(1)  # (n,)
        is_taken = torch.arange(most, device=maps.device) < taken.unsqueeze(1)
        return highest.where(is_taken, 0).sum(dim=1) / taken

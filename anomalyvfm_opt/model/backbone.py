"""The vision foundation model: frozen, from timm, seen as blocks whose outputs are features."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyvfm_opt.model.checksum import sum_bits
from anomalyvfm_opt.model.network import (
    check_patches,
    create_network,
    is_fitted_to_size,
    list_block_ends,
    resolve_blocks,
)
from anomalyvfm_opt.model.stages import enter, recorded, started_from
from anomalyvfm_opt.model.weights import hash_weights


@dataclass(frozen=True)
class FeatureMaps:
    """Features of b images, float32; maps of several blocks are stacked at the finest of their grids."""

    decoder: Tensor  # (b, c, gh, gw), of the decoder blocks
    patches: Tensor  # (b, cp, ph, pw), of the patch blocks
    pooled: Tensor  # (b, d): the last block's class token, or the mean of each patch block's map


class Backbone:
    """A frozen timm network and the blocks that features are read from.

    It stays in memory between trials; adapters are put into `network` and taken out again.
    The network is always in eval mode: in train mode BatchNorm statistics would drift, and what is
    below the first adapted block would no longer be the same for each trial.

    Args:
        name: a timm model that has `forward_intermediates` and `blocks`.
        weights: `pretrained`, `offline`, `random`, or the path of a safetensors file.
        decoder_blocks: whose maps the decoder reads; indices as in timm's `forward_intermediates` (blocks of a
            ViT, stages of a CNN).
        patch_blocks: whose maps the distances to normal images are measured on; None for the decoder's.
        image_size_px: side of the square input.
        device: where the network lives.

    Raises:
        UsageError: an unknown model, one without blocks, or a size or an index that it cannot take.
        EnvironmentMissingError: the weights are not to be had.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        decoder_blocks: Sequence[int],
        patch_blocks: Sequence[int] | None,
        image_size_px: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.weights = weights
        self.image_size_px = image_size_px
        self.device = torch.device(device)
        self.network = create_network(name, weights, image_size_px)
        decoder_indices, decoder_depth = resolve_blocks(name, self.network, decoder_blocks)
        patch_indices, patch_depth = resolve_blocks(name, self.network, patch_blocks or decoder_blocks)
        check_patches(self.network, image_size_px)
        self.weights_sha256 = hash_weights(self.network)
        self.network.to(memory_format=torch.channels_last).to(self.device)
        self.network.eval().requires_grad_(False)
        self.is_transformer = hasattr(self.network, "patch_embed")
        self.n_blocks = max(decoder_depth, patch_depth)
        self.decoder_blocks, self.patch_blocks = tuple(decoder_indices), tuple(patch_indices)
        self._indices = sorted({*decoder_indices, *patch_indices})
        ends = list_block_ends(name, self.network)
        self.feature_ends = tuple(ends[index] for index in self._indices)  # how many blocks give each feature
        self._decoder_positions = [self._indices.index(index) for index in decoder_indices]
        self._patch_positions = [self._indices.index(index) for index in patch_indices]
        mean, std = (self.network.pretrained_cfg[key] for key in ("mean", "std"))
        self._mean = torch.tensor(mean, device=self.device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(std, device=self.device).view(1, 3, 1, 1) * 255
        with torch.no_grad():
            probe = torch.zeros(1, image_size_px, image_size_px, 3, dtype=torch.uint8)
            self._entrance = enter(self.network, self.normalise(probe))  # of one image
            features = self.features(self.normalise(probe))
        self.map_channels, self.pooled_channels = features.decoder.shape[1], features.pooled.shape[1]
        self.patch_channels = features.patches.shape[1]
        self._sums = sum_bits(self.network)

    @property
    def is_random(self) -> bool:
        """Random weights: for tests; whatever shows a result must say so."""
        return self.weights == "random"

    def list_moved(self) -> list[str]:
        """List the parameters and buffers that are no longer what they were when the network was made.

        Not while an adapter is in the network: that gives its tensors other names.
        """
        sums = sum_bits(self.network)
        return sorted(name for name in sums.keys() | self._sums.keys() if sums.get(name) != self._sums.get(name))

    @property
    def takes_any_size(self) -> bool:
        """Whether no tensor of the network depends on the size of its input, as in a CNN."""
        return not is_fitted_to_size(self.name)

    def at_size(self, image_size_px: int) -> "Backbone":
        """Return the same network, in memory once, for inputs of another side; only one that takes any size."""
        other = copy(self)
        other.image_size_px = image_size_px
        with torch.no_grad():
            other._entrance = enter(self.network, self.blank(1, image_size_px))
        return other

    def blank(self, count: int, image_size_px: int | None = None) -> Tensor:
        """Return what stands for the input of a network that begins behind a block: zeros (count, 3, h, w)."""
        side = image_size_px or self.image_size_px
        return self._mean.new_zeros(()).expand(count, 3, side, side)

    def precision(self) -> AbstractContextManager[object]:
        """Return the context that the network computes in: bfloat16 on a GPU, float32 elsewhere."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def normalise(self, images: Tensor) -> Tensor:
        """Bring uint8 (b, h, w, 3) in 0-255 to the network's input, float32 (b, 3, h, w), channels last."""
        x = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return (x - self._mean) / self._std

    @torch.no_grad()
    def run_blocks(
        self, x: Tensor, ends: Sequence[int], given: Mapping[int, Tensor] | None = None
    ) -> dict[int, Tensor]:
        """Compute what some blocks give, and nothing behind them.

        Args:
            x: normalised images, float (b, 3, h, w), or `blank` where an earlier output is given.
            ends: how many blocks have run where an output is wanted, each at least 1.
            given: an output to go on from, as `features` takes it; of a block before all that are wanted.

        Returns:
            How many blocks have run -> their output, as it comes out of the last of them.
        """
        with started_from(self.network, given or {}, self._enter(x)), recorded(self.network, ends) as noted:
            self._run(x)
        return noted

    def features(self, x: Tensor, given: Mapping[int, Tensor] | None = None) -> FeatureMaps:
        """Compute features of normalised images.

        Args:
            x: float (b, 3, h, w).
            given: outputs of blocks that need not run: how many have run -> what they gave, of the last of them
                and of each before it that a feature is read from. `x` then has only a shape: see `blank`.
        """
        with started_from(self.network, given or {}, self._enter(x)):
            maps, class_token = self._run(x)
        maps = [m.float() for m in maps]
        decoder = [maps[position] for position in self._decoder_positions]
        patches = [maps[position] for position in self._patch_positions]
        pooled = (
            torch.cat([m.mean(dim=(2, 3)) for m in patches], dim=1) if class_token is None else class_token.float()
        )
        return FeatureMaps(_stack_maps(decoder), _stack_maps(patches), pooled)

    def _enter(self, x: Tensor) -> Tensor:
        count = x.shape[0]  # an exporter of graphs would take len(x) for a constant
        return self._entrance.expand(count, *self._entrance.shape[1:])

    def _run(self, x: Tensor) -> tuple[Sequence[Tensor], Tensor | None]:
        return self._run_transformer(x) if self.is_transformer else (self._run_cnn(x), None)

    def _run_cnn(self, x: Tensor) -> Sequence[Tensor]:
        maps: Sequence[Tensor] = self.network.forward_intermediates(
            x, indices=self._indices, stop_early=True, intermediates_only=True
        )
        return maps

    def _run_transformer(self, x: Tensor) -> tuple[Sequence[Tensor], Tensor | None]:
        has_prefix = self.network.num_prefix_tokens > 0
        outputs = self.network.forward_intermediates(
            x,
            indices=self._indices,
            norm=True,
            stop_early=True,
            intermediates_only=True,
            return_prefix_tokens=has_prefix,
        )
        if not has_prefix:
            return outputs, None
        maps, prefix_tokens = zip(*outputs, strict=True)
        has_class_token = getattr(self.network, "cls_token", None) is not None  # else the first is a register
        return maps, prefix_tokens[-1][:, 0] if has_class_token else None


def _stack_maps(maps: Sequence[Tensor]) -> Tensor:
    """Concatenate maps (b, c_i, h_i, w_i) along channels, each brought to the finest grid."""
    finest = max((m.shape[2:] for m in maps), key=lambda shape: shape[0] * shape[1])
    return torch.cat(
        [m if m.shape[2:] == finest else F.interpolate(m, finest, mode="bilinear") for m in maps], dim=1
    )

"""The frozen prefix of a network: what the blocks below the first adapted one make of an image.

They never change, so their output is a function of the weights, the pixels and the device alone: it is computed
once a host and kept, under a name that holds all of these. An output is computed in a batch of one size, whatever
else is in it: matrix products of other shapes differ in their last bits. So a trial has the same scores, bit for
bit, whether outputs were read, computed on the way, or some of each.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.memory import ShrinkingBatch
from anomalyvfm_opt.model.prefix_store import PrefixStore

_VERSION = 1  # counts up when anything else changes that outputs depend on
BATCH = 8  # images; a batch that is not full is filled up with blanks

_Found = dict[str, dict[int, np.ndarray]]  # digest of an image -> how many blocks have run -> their output


class Prefix:
    """Gives the outputs of a network's first blocks on images, for one trial.

    Args:
        backbone: whose first blocks are as they were loaded, whatever adapter is in the others.
        blocks: how many run in the prefix, at least 1.
        store: where outputs are kept; None to compute them each time.

    Attributes:
        read: images whose outputs were read.
        computed: images whose outputs were computed.
    """

    def __init__(self, backbone: Backbone, blocks: int, store: PrefixStore | None) -> None:
        self.blocks = blocks
        self.read = self.computed = 0
        self._backbone = backbone
        self._ends = list_ends(backbone, blocks)
        self._store = store
        self._batch = ShrinkingBatch(BATCH, backbone.device)
        self._kinds: dict[tuple[int, int], str] = {}
        self._is_patient = True
        if store is not None:
            store.begin()

    @property
    def is_kept(self) -> bool:
        """Whether all outputs that were computed have been kept."""
        return self._store is not None and not self._store.is_full

    def outputs(self, images: Tensor, keep: bool) -> dict[int, Tensor]:
        """Return what the blocks make of images.

        Args:
            images: uint8 (b, h, w, 3), on the CPU.
            keep: whether what has to be computed is kept: not of images that are never seen again.

        Returns:
            How many blocks have run -> their output (b, ...) on the backbone's device, as `Backbone.features`
            takes it.

        Raises:
            DoesNotFitError: the device has too little memory even for one image.
        """
        digests, found = self._find(images, keep)
        return {end: self._join([found[digest][end] for digest in digests]) for end in self._ends}

    def fill(self, images: Tensor) -> None:
        """Compute and keep what is lacking of images, uint8 (b, h, w, 3), which are asked for later.

        Raises:
            DoesNotFitError: as `outputs`.
        """
        self._find(images, keep=True)

    def _find(self, images: Tensor, keep: bool) -> tuple[list[str], _Found]:
        """Return the digests of images, in order, and the outputs of each, read or computed."""
        digests = [hashlib.sha256(image.numpy()).hexdigest() for image in images]
        found: _Found = {digest: self._read(digest) for digest in digests}
        missing = {digest: row for row, digest in enumerate(digests) if self._lacks(found[digest])}
        self.read += len(found) - len(missing)
        if missing and keep and self._store is not None:
            self._compute_with_others(self._store, images, missing, found)
        elif missing:
            self._compute(images, missing, found)
        return digests, found

    def describe(self) -> dict[str, Any]:
        """Return how a trial's outputs were come by, for its attributes."""
        way = "none" if self._store is None else "kept" if self.is_kept else "full"
        return {"blocks": self.blocks, "store": way, "read": self.read, "computed": self.computed}

    def _lacks(self, outputs: Mapping[int, np.ndarray]) -> bool:
        return len(outputs) < len(self._ends)

    def _compute_with_others(
        self, store: PrefixStore, images: Tensor, missing: Mapping[str, int], found: _Found
    ) -> None:
        """Compute and keep what no other process is at work on, then wait for the others and do what they left."""
        left = dict(missing)
        while left and self._is_patient:
            with store.claimed([self._name(digest, self.blocks) for digest in left]) as names:
                mine = {digest: row for digest, row in left.items() if self._name(digest, self.blocks) in names}
                self._compute_and_keep(store, images, mine, found)
            left = {digest: row for digest, row in left.items() if digest not in mine}
            for digest in left:
                # one that hangs, with locks for all, must not cost a minute a batch
                self._is_patient = self._is_patient and store.wait_for(self._name(digest, self.blocks))
        self._compute_and_keep(store, images, left, found)

    def _compute_and_keep(
        self, store: PrefixStore, images: Tensor, rows: Mapping[str, int], found: _Found
    ) -> None:
        for digest in rows:  # another process may have computed them meanwhile
            found[digest] = self._read(digest)
        mine = {digest: row for digest, row in rows.items() if self._lacks(found[digest])}
        self.read += len(rows) - len(mine)
        held = {digest: set(found[digest]) for digest in mine}
        self._compute(images, mine, found)
        for digest in mine:
            for end in found[digest].keys() - held[digest]:
                store.keep(self._name(digest, end), found[digest][end])

    def _compute(self, images: Tensor, rows: Mapping[str, int], found: _Found) -> None:
        """Add what is lacking of some images to what was found of them."""
        self.computed += len(rows)
        left = list(rows)
        while left:

            def run(size: int) -> tuple[list[str], dict[int, np.ndarray]]:
                digests = left[:size]  # noqa: B023 - called at once
                return digests, self._run(images[[rows[digest] for digest in digests]], digests, size, found)

            digests, outputs = self._batch.run(run)
            for index, digest in enumerate(digests):
                found[digest] = {**{end: output[index] for end, output in outputs.items()}, **found[digest]}
            left = left[len(digests) :]

    @torch.no_grad()
    def _run(self, images: Tensor, digests: Sequence[str], size: int, found: _Found) -> dict[int, np.ndarray]:
        """Compute the outputs that any of at most `size` images lacks, in a batch of just that size."""
        backbone = self._backbone
        first = min(end for end in self._ends if any(end not in found[digest] for digest in digests))
        wanted = [end for end in self._ends if end >= first]
        begun, given = self._find_start(digests, first, found)
        with backbone.precision():
            if given is None:
                outputs = backbone.run_blocks(backbone.normalise(_fill_up(images, size)), wanted)
            else:
                outputs = backbone.run_blocks(backbone.blank(size), wanted, {begun: _fill_up(given, size)})
        return {end: _to_array(output[: len(images)]) for end, output in outputs.items()}

    def _find_start(self, digests: Sequence[str], first: int, found: _Found) -> tuple[int, Tensor | None]:
        """Return of how many blocks, below `first`, outputs of all these images are there, and those outputs."""
        for end in range(first - 1, 0, -1):
            arrays = [found[digest].get(end) for digest in digests]
            if self._store is not None and all(
                array is not None or self._store.holds(self._name(digest, end))
                for digest, array in zip(digests, arrays, strict=True)
            ):
                names = (self._name(digest, end) for digest in digests)
                arrays = [
                    self._store.open(name) if array is None else array
                    for name, array in zip(names, arrays, strict=True)
                ]
            whole = [array for array in arrays if array is not None]
            if len(whole) == len(digests):
                return end, self._join(whole)
        return 0, None

    def _read(self, digest: str) -> dict[int, np.ndarray]:
        """Return the kept outputs of an image, by how many blocks gave them: those that are there."""
        outputs: dict[int, np.ndarray] = {}
        if self._store is None:
            return outputs
        for end in self._ends:
            array = self._store.open(self._name(digest, end))
            if array is not None:
                outputs[end] = array
        return outputs

    def _name(self, digest: str, end: int) -> str:
        key = (end, self._batch.size)
        if key not in self._kinds:
            self._kinds[key] = self._describe_blocks(end)
        return hashlib.sha256(f"{self._kinds[key]} {digest}".encode()).hexdigest()

    def _describe_blocks(self, end: int) -> str:
        """Return all that the output of the first `end` blocks depends on beside the pixels."""
        backbone, device = self._backbone, self._backbone.device
        on_gpu = device.type == "cuda"
        return json.dumps(
            {
                "version": _VERSION,
                "torch": str(torch.__version__),
                "weights": backbone.weights_sha256,
                "name": backbone.name,
                "side_px": backbone.image_size_px,
                "blocks": end,
                "batch": self._batch.size,
                "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
                "cpu": None if on_gpu else torch.backends.cpu.get_cpu_capability(),
                "threads": None if on_gpu else torch.get_num_threads(),
            },
            sort_keys=True,
        )

    def _join(self, rows: Sequence[np.ndarray]) -> Tensor:
        """Stack outputs of images on the device, maps in channels last as the network computes them."""
        stacked = torch.from_numpy(np.stack(rows))
        if stacked.dtype == torch.uint16:
            stacked = stacked.view(torch.bfloat16)
        stacked = stacked.to(self._backbone.device)
        return stacked.permute(0, 3, 1, 2) if stacked.dim() == 4 else stacked


def list_ends(backbone: Backbone, blocks: int) -> tuple[int, ...]:
    """Return of how many blocks outputs are wanted where so many run in the prefix: none for 0."""
    return tuple(sorted({*(end for end in backbone.feature_ends if end <= blocks), blocks})) if blocks else ()


def _to_array(output: Tensor) -> np.ndarray:
    """Bring outputs of a block to the CPU: tokens (b, n, c), or maps (b, h, w, c); bfloat16 as 16 bits."""
    rows = output.permute(0, 2, 3, 1) if output.dim() == 4 else output
    rows = rows.contiguous().cpu()
    if rows.dtype == torch.bfloat16:
        rows = rows.view(torch.uint16)
    array: np.ndarray = rows.numpy()
    return array


def _fill_up(rows: Tensor, size: int) -> Tensor:
    """Return a batch of just `size` rows: those given, and zeros."""
    if len(rows) == size:
        return rows
    return torch.cat([rows, rows.new_zeros(size - len(rows), *rows.shape[1:])])

"""The frozen prefixes of a study's trials: how far each goes, and what is computed before a training begins."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import torch

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.prefix import Prefix
from anomalyvfm_opt.model.prefix_store import PrefixStore
from anomalyvfm_opt.training.finetune import Schedule, TrainingSet, list_drawn

_GROUP = 32  # images between two looks at whether the trial is to stop


class Prefixes:
    """Opens the prefix of each trial, over the host's one store.

    Args:
        arrays: the host's store of decoded images, beside which outputs are kept.
    """

    def __init__(self, arrays: ArrayStore) -> None:
        self._store = PrefixStore.beside(arrays)

    def open(self, backbone: Backbone, blocks: int) -> Prefix | None:
        """Return the prefix of a network's first blocks; None if there are none of them, as with all adapted."""
        return Prefix(backbone, blocks, self._store) if blocks else None

    def forget(self) -> None:
        """Remove what was kept since the latest trial began, whose network was found to have changed."""
        if self._store is not None:
            self._store.forget()

    def fill(self, prefix: Prefix, images: TrainingSet, schedule: Schedule, check: Callable[[], None]) -> None:
        """Compute what a training will read, in whole batches: met step by step, few would be lacking at a time.

        Workers that do so for the same images begin at different places, so that each does a share.

        Args:
            prefix: of the trial.
            images: that it trains on.
            schedule: which of them it draws.
            check: called now and then; what it raises ends this.
        """
        if self._store is None:
            return
        groups = list(_group_drawn(images, schedule))
        first = os.getpid() % max(1, len(groups))
        for read in [*groups[first:], *groups[:first]]:
            check()
            prefix.fill(torch.from_numpy(read()))


def _group_drawn(images: TrainingSet, schedule: Schedule) -> Iterator[Callable[[], np.ndarray]]:
    """Yield readers of the images that are drawn; random squares of tiled ones do not come again."""
    normals, anomalies = list_drawn(images, schedule)
    if not images.normal.geometry.is_tiled:
        for rows in _split(normals):
            yield lambda rows=rows: np.stack([images.normal.read(row) for row in rows])  # type: ignore[misc]
    for rows in _split(anomalies):
        yield lambda rows=rows: images.anomalous[rows]  # type: ignore[misc]


def _split(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[first : first + _GROUP] for first in range(0, len(rows), _GROUP)]

"""Networks whose first blocks are computed apart, images for them, and a count of the blocks that ran."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.prefix import Prefix
from anomalyvfm_opt.model.prefix_store import PrefixStore
from tests.unit.model.test_families import FAMILIES

CNN = "tf_efficientnet_lite0"
NETWORKS = {family: (each.name, each.size_px) for family, each in FAMILIES.items()} | {
    "cnn-64": (CNN, 64),
    "cnn-96": (CNN, 96),
}
SMALL = ("test_vit", 32)
ROOM = 2**30


@cache
def open_backbone(name: str, size_px: int) -> Backbone:
    """A network with random weights, the same in each process: features of two places, the first not the last."""
    return Backbone(name, "random", (1,), (-2, -1), size_px)


def draw_images(count: int, size_px: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size_px, size_px, 3), dtype=torch.uint8, generator=generator)


def open_store(folder: Path, max_bytes: int = ROOM) -> PrefixStore:
    """A store as the host's: beside decoded images in a folder that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    return PrefixStore(folder / "prefix", max_bytes)


def list_files(store: PrefixStore) -> list[Path]:
    return sorted(store.folder.glob("*/*.npy"))


def list_rest(store: PrefixStore) -> list[Path]:
    """What is neither a folder, nor a lock, nor under the name of a whole file."""
    return [path for path in store.folder.rglob("*") if path.is_file() and path.suffix not in (".npy", "")]


def read(backbone: Backbone, images: Tensor, store: PrefixStore | None) -> tuple[Tensor, dict[str, Any]]:
    """Ask one trial's prefix, of a single block, for images; and what it says of itself."""
    prefix = Prefix(backbone, 1, store)
    return prefix.outputs(images, keep=True)[1], prefix.describe()


@contextmanager
def counted(backbone: Backbone) -> Iterator[Counter[int]]:
    """Count how often each block ran in truth, by its number from 1: what stands in for one runs nothing in it."""
    ran: Counter[int] = Counter()
    handles = []
    for number, block in enumerate(backbone.network.blocks, start=1):

        def note(_module: Any, _inputs: Any, number: int = number) -> None:
            ran[number] += 1

        first = next(module for module in block.modules() if next(module.children(), None) is None)
        handles.append(first.register_forward_pre_hook(note))
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()

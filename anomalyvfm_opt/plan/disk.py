"""Whether the disk has room for what the studies of a plan keep, beside what others need."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.room import measure_outputs


@dataclass(frozen=True)
class Room:
    """What the cache may fill of a disk.

    Args:
        n_bytes: with what it has already, which makes room for what is new.
        place: the folder that the disk was measured at: the cache's, or the nearest above it that is there.
    """

    n_bytes: int
    place: Path


def measure_room(cache: ArrayStore) -> Room | None:
    """Return the room for a cache, within its bound and the free disk; None for one that keeps nothing."""
    if cache.max_bytes == 0:
        return None
    place = next(path for path in (cache.folder, *cache.folder.parents) if path.is_dir())
    kept = sum(path.stat().st_size for path in cache.folder.glob("*.npy"))
    free = shutil.disk_usage(place).free + kept + measure_outputs(cache.folder)[1]
    return Room(min(cache.max_bytes, free), place)


def describe_disk(arrays: int, outputs: int, room: Room | None) -> str:
    """Return how the need of arrays and of outputs of frozen blocks (bytes both) compares with the room."""
    if room is None:
        return (
            f"memory: {show_bytes(arrays)} in each worker, as nothing is kept on disk (--cache-gib 0); frozen"
            " blocks run anew in each trial"
        )
    warning = ""
    if arrays + outputs > room.n_bytes:
        warning = ": NOT ENOUGH, what frozen blocks give is computed anew where it finds no room"
    if arrays > room.n_bytes:
        warning = ": NOT ENOUGH, the arrays unused the longest are made anew each time"
    return (
        f"disk: {show_bytes(arrays)} of images, {show_bytes(outputs)} of what frozen blocks make of them, room"
        f" for {show_bytes(room.n_bytes)} at {room.place}{warning}"
    )


def show_bytes(count: int) -> str:
    """Return bytes for people: `12 MiB`, `1.5 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"

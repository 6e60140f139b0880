"""What is said of the room that a plan's arrays find on the disk."""

from pathlib import Path

import pytest

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.plan.disk import Room, describe_disk, measure_room, show_bytes

GIB = 2**30


def test_what_is_there_already_counts_as_room_and_the_bound_holds(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "made" / "yet"
    assert measure_room(ArrayStore(folder, 3 * GIB)) == Room(3 * GIB, tmp_path)
    boundless = measure_room(ArrayStore(folder, 2**62))
    folder.mkdir(parents=True)
    (folder / f"{'0' * 64}.npy").write_bytes(bytes(2**20))
    with_one = measure_room(ArrayStore(folder, 2**62))
    assert boundless is not None
    assert with_one is not None
    assert with_one.place == folder
    assert abs(with_one.n_bytes - boundless.n_bytes) < GIB  # other processes write, too


def test_a_cache_that_keeps_nothing_needs_memory(tmp_path: Path) -> None:
    assert measure_room(ArrayStore(tmp_path, 0)) is None
    assert describe_disk(2**20, 0, None).startswith("memory: 1 MiB in each worker, as nothing is kept on disk")


@pytest.mark.parametrize(
    ("arrays", "outputs", "warning"),
    [
        (2 * GIB, GIB, ""),
        (2 * GIB, 2 * GIB, ": NOT ENOUGH, what frozen blocks give is computed anew where it finds no room"),
        (4 * GIB, GIB, ": NOT ENOUGH, the arrays unused the longest are made anew each time"),
    ],
)
def test_what_finds_no_room_is_said(arrays: int, outputs: int, warning: str) -> None:
    said = describe_disk(arrays, outputs, Room(3 * GIB, Path("/disk")))
    assert said == (
        f"disk: {show_bytes(arrays)} of images, {show_bytes(outputs)} of what frozen blocks make of them,"
        f" room for 3.0 GiB at /disk{warning}"
    )

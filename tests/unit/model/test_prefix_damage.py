"""Outputs that are damaged, in the way, or gone under a running trial: no other bits, and nothing that ends it."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.model import prefix_store
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.prefix import Prefix
from tests.unit.model.prefixes import SMALL, draw_images, list_files, list_rest, open_backbone, open_store, read


@pytest.fixture
def backbone() -> Backbone:
    return open_backbone(*SMALL)


@pytest.fixture
def images(backbone: Backbone) -> Tensor:
    return draw_images(5, backbone.image_size_px)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(path: Path) -> None:
    other = next(each for each in path.parents[1].rglob("*.npy") if each != path)
    shutil.copy(other, path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte": flip,
    "cut short": lambda path: os.truncate(path, 300),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "another one's": swap,
    "no array": lambda path: path.write_text("a text that somebody put here\n" * 9),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("is_open", [False, True], ids=["before", "under a running trial"])
def test_a_damaged_file_is_made_anew(
    tmp_path: Path,
    backbone: Backbone,
    images: Tensor,
    caplog: pytest.LogCaptureFixture,
    damage: str,
    is_open: bool,
) -> None:
    store = open_store(tmp_path)
    expected, _ = read(backbone, images, store)
    prefix = Prefix(backbone, 1, store if is_open else open_store(tmp_path))
    if is_open:
        prefix.outputs(images, keep=True)
    time.sleep(0.02)  # a clock tick of the file system
    DAMAGE[damage](list_files(store)[2])
    assert torch.equal(prefix.outputs(images, keep=True)[1], expected)
    assert prefix.computed == 1
    assert len(caplog.messages) == 1
    assert "cannot be used" in caplog.text
    assert torch.equal(prefix.outputs(images, keep=True)[1], expected)
    assert (prefix.computed, prefix.is_kept, len(list_files(store))) == (1, True, 5)


FOREIGN: dict[str, Callable[[Path, Path], object]] = {
    "a folder": lambda path, _elsewhere: path.mkdir(),
    "a pipe": lambda path, _elsewhere: os.mkfifo(path),
    "a link to nowhere": lambda path, elsewhere: path.symlink_to(elsewhere / "nowhere"),
    "a link to a text": lambda path, elsewhere: path.symlink_to(elsewhere / "notes.txt"),
    "a link to itself": lambda path, _elsewhere: path.symlink_to(path),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_lies_in_the_place_of_a_file_is_left_alone_and_told_of_once(
    tmp_path: Path, backbone: Backbone, images: Tensor, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    store = open_store(tmp_path / "cache")
    expected, _ = read(backbone, images, store)
    (tmp_path / "notes.txt").write_text("mine")
    path = list_files(store)[2]
    path.unlink()
    FOREIGN[what](path, tmp_path)
    before = path.lstat()
    for _ in range(2):
        outputs, told = read(backbone, images, store)
        assert torch.equal(outputs, expected)
        assert (told["store"], told["computed"]) == ("kept", 1)
    assert path.lstat() == before
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(caplog.messages) == (0 if what == "a link to nowhere" else 1)
    assert list_rest(store) == []


def test_a_link_to_a_folder_elsewhere_is_read_and_not_written(
    tmp_path: Path, backbone: Backbone, images: Tensor
) -> None:
    """What lies there would not be counted, and never thrown out."""
    (tmp_path / "elsewhere").mkdir()
    store = open_store(tmp_path / "cache")
    store.folder.symlink_to(tmp_path / "elsewhere")
    assert read(backbone, images, store)[1]["store"] == "full"
    assert list((tmp_path / "elsewhere").rglob("*.npy")) == []


@pytest.mark.parametrize("place", ["prefix", "prefix/BUCKET", "prefix/BUCKET/lock"])
@pytest.mark.parametrize("what", ["a file", "a folder", "a pipe", "a link to nowhere"])
def test_what_lies_in_the_place_of_a_folder_or_a_lock_harms_nobody(
    tmp_path: Path, backbone: Backbone, images: Tensor, place: str, what: str
) -> None:
    expected, _ = read(backbone, images, None)
    if "BUCKET" in place:
        read(backbone, images, open_store(tmp_path / "other"))
        bucket = list_files(open_store(tmp_path / "other"))[0].parent.name
        place = place.replace("BUCKET", bucket)
    path = tmp_path / "cache" / place
    path.parent.mkdir(parents=True)
    if what == "a file":
        path.write_text("mine")
    else:
        FOREIGN[what](path, tmp_path)
    outputs, told = read(backbone, images, open_store(tmp_path / "cache"))
    assert torch.equal(outputs, expected)
    assert (told["read"], told["computed"]) == (0, 5)
    assert os.path.lexists(path)
    assert what != "a file" or path.read_text() == "mine"


def test_a_folder_that_is_deleted_under_a_running_trial(
    tmp_path: Path, backbone: Backbone, images: Tensor
) -> None:
    store = open_store(tmp_path)
    prefix = Prefix(backbone, 1, store)
    expected = prefix.outputs(images, keep=True)[1]
    shutil.rmtree(store.folder)
    assert torch.equal(prefix.outputs(images, keep=True)[1], expected)
    assert (prefix.computed, prefix.is_kept, len(list_files(store))) == (10, True, 5)
    shutil.rmtree(tmp_path)
    assert torch.equal(prefix.outputs(images, keep=True)[1], expected)
    assert (prefix.computed, prefix.is_kept, len(list_files(store))) == (15, True, 5)


def test_a_process_that_hangs_with_its_locks_costs_one_wait(
    tmp_path: Path, backbone: Backbone, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_store, "_WAIT_S", 0.3)
    expected, _ = read(backbone, images, open_store(tmp_path / "other"))
    names = [path.stem for path in list_files(open_store(tmp_path / "other"))]
    with open_store(tmp_path).claimed(names) as taken:
        assert taken == set(names)
        began = time.monotonic()
        outputs, told = read(backbone, images, open_store(tmp_path))
        assert time.monotonic() - began < 2 * 0.3 + 0.3
    assert torch.equal(outputs, expected)
    assert (told["computed"], told["store"]) == (5, "kept")
    with open_store(tmp_path).claimed(names) as taken:
        assert taken == set(names)


def test_a_flipped_byte_is_found_where_the_time_of_change_was_put_back(
    tmp_path: Path, backbone: Backbone, images: Tensor
) -> None:
    store = open_store(tmp_path)
    prefix = Prefix(backbone, 1, store)
    expected = prefix.outputs(images, keep=True)[1]
    prefix.outputs(images, keep=True)
    state = list_files(store)[0].stat()
    time.sleep(0.02)
    flip(list_files(store)[0])
    os.utime(list_files(store)[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert torch.equal(prefix.outputs(images, keep=True)[1], expected)
    assert prefix.computed == 6

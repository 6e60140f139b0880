"""The store of what frozen blocks give: its bounds, and disks that are full or cannot be written."""

import logging
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.data import room
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.model import prefix_store
from anomalyvfm_opt.model.backbone import Backbone
from anomalyvfm_opt.model.prefix_store import PrefixStore
from tests.unit.model.prefixes import SMALL, draw_images, list_files, list_rest, open_backbone, open_store, read

NAMES = [f"{number:02x}" * 32 for number in range(64)]
ARRAY = np.arange(250, dtype=np.float32)
FILE_BYTES = 1000 + 168  # a header and a seal


def keep(store: PrefixStore, count: int, first: int = 0) -> None:
    for name in NAMES[first : first + count]:
        store.keep(name, ARRAY)


def age(store: PrefixStore, seconds: float = 3600) -> None:
    used = time.time() - seconds
    for path in list_files(store):
        os.utime(path, (used, used))


@pytest.fixture
def backbone() -> Backbone:
    return open_backbone(*SMALL)


@pytest.fixture
def images(backbone: Backbone) -> Tensor:
    return draw_images(5, backbone.image_size_px)


def test_an_array_is_kept_as_it_is_and_read_only(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert not store.holds(NAMES[0])
    assert store.open(NAMES[0]) is None
    keep(store, 1)
    array = open_store(tmp_path).open(NAMES[0])
    assert array is not None
    assert np.array_equal(array, ARRAY)
    assert not array.flags.writeable
    assert [path.stat().st_size for path in list_files(store)] == [FILE_BYTES]
    assert store.holds(NAMES[0])
    with pytest.raises(ValueError, match="no sha256"):
        store.open("../" + NAMES[0][3:])


def test_the_folders_are_closed_to_other_users(tmp_path: Path) -> None:
    """Also the one of decoded images, where somebody removed it: whoever is first makes it."""
    store = PrefixStore(tmp_path / "cache" / "prefix", 2**20)
    keep(store, 1)
    for folder in (store.folder.parent, store.folder, list_files(store)[0].parent):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("room_for", [1, 5, 40])
def test_the_bound_holds_and_is_used(tmp_path: Path, room_for: int) -> None:
    """Also where it is smaller than what is otherwise looked for at once."""
    store = open_store(tmp_path, max_bytes=room_for * FILE_BYTES + FILE_BYTES // 2)
    keep(store, 64)
    assert len(list_files(store)) == room_for
    assert store.is_full


def test_the_bound_counts_decoded_images_too(tmp_path: Path) -> None:
    arrays = ArrayStore(tmp_path, max_bytes=5 * FILE_BYTES)
    arrays.get("images", lambda out: out.fill(1), (3 * FILE_BYTES - 168,), np.uint8)
    store = PrefixStore.beside(arrays)
    assert store is not None
    keep(store, 5)
    assert (len(list_files(store)), len(list(tmp_path.glob("*.npy")))) == (2, 1)
    assert PrefixStore.beside(ArrayStore(tmp_path, max_bytes=0)) is None


def test_what_was_not_used_makes_room_and_what_is_in_use_does_not(tmp_path: Path) -> None:
    store = open_store(tmp_path, max_bytes=4 * FILE_BYTES)
    keep(store, 4)
    age(store)
    assert store.open(NAMES[1]) is not None  # which says that it is in use
    keep(store, 4, first=10)
    assert {path.stem for path in list_files(store)} == {NAMES[1], *NAMES[10:13]}
    assert store.is_full
    store.begin()
    assert not store.is_full
    age(store)
    keep(store, 1, first=20)
    assert not store.is_full
    assert store.holds(NAMES[20])


def test_a_file_that_is_read_again_and_again_stays_in_use(tmp_path: Path) -> None:
    """A training takes longer than what counts as in use."""
    store = open_store(tmp_path)
    keep(store, 1)
    for _ in range(3):
        age(store, 500)
        assert store.open(NAMES[0]) is not None
        assert time.time() - list_files(store)[0].stat().st_mtime < 100
    age(store, 100)
    changed = list_files(store)[0].stat().st_mtime
    store.open(NAMES[0])
    assert list_files(store)[0].stat().st_mtime == changed  # not noted in each step


def test_a_disk_that_others_fill_costs_the_store_alone(
    tmp_path: Path, backbone: Backbone, images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = read(backbone, images, None)
    with limited_files(600):  # bytes: Python has the kernel answer with an error, as a full disk does
        outputs, told = read(backbone, images, open_store(tmp_path))
    assert torch.equal(outputs, expected)
    assert (told["store"], told["computed"]) == ("full", 5)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"] == []
    assert len(caplog.messages) == 1
    assert "File too large" in caplog.text


@contextmanager
def limited_files(n_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk(
    small_disk: Path, backbone: Backbone, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = read(backbone, images, None)
    outputs, told = read(backbone, images, open_store(small_disk))
    assert torch.equal(outputs, expected)
    assert (told["store"], list((small_disk / "prefix").rglob("*.npy"))) == ("full", [])  # a GiB stays free
    monkeypatch.setattr(room, "_RESERVED_BYTES", 0)
    store = open_store(small_disk)
    read(backbone, images[:1], store)
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    outputs, told = read(backbone, images, store)
    assert torch.equal(outputs, expected)
    assert (told["store"], told["read"], told["computed"]) == ("full", 1, 4)
    assert list_rest(store) == []
    (small_disk / "ballast").unlink()
    assert read(backbone, images, store)[1]["store"] == "kept"
    assert read(backbone, images, store)[1]["read"] == 5


def test_a_folder_that_cannot_be_written_is_still_read(
    tmp_path: Path, backbone: Backbone, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the refusal is played where files are opened to be written."""
    expected, _ = read(backbone, images, open_store(tmp_path))
    list_files(open_store(tmp_path))[0].unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("write_sealed", "FileLock"):
        monkeypatch.setattr(prefix_store, name, refuse)
    monkeypatch.setattr(os, "utime", refuse)
    age_limit = time.time_ns() + prefix_store._TOUCH_NS * 2
    monkeypatch.setattr(prefix_store.time, "time_ns", lambda: age_limit)
    outputs, told = read(backbone, images, open_store(tmp_path))
    assert torch.equal(outputs, expected)
    assert (told["store"], told["read"], told["computed"]) == ("full", 4, 1)


def test_want_of_room_is_told_of_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    store = open_store(tmp_path, max_bytes=1)
    keep(store, 3)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "not kept in" in caplog.text

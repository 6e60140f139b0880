"""Arrays on the disk whose bytes have changed since: found out when they are opened, and made anew."""

import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.sealed import DamagedArrayError, append_seal, map_sealed
from anomalyvfm_opt.errors import EnvironmentMissingError

_SHAPE = (4, 5)


def _fill(out: np.ndarray) -> None:
    out[...] = np.arange(20, dtype=np.uint8).reshape(_SHAPE)


def _get(folder: Path, key: str = "key") -> np.ndarray:
    return ArrayStore(folder).get(key, _fill, _SHAPE, np.uint8)


def _file(folder: Path) -> Path:
    (path,) = folder.glob("*.npy")
    return path


def _flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def _seal_anew(path: Path, content: bytes) -> None:
    """Put a seal that fits behind something else, as anybody can who may write there."""
    path.write_bytes(content)
    append_seal(path, path.name)


def _write_as_before(path: Path) -> None:
    np.save(path, np.full(_SHAPE, 9, np.uint8))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pixel": (lambda path: _flip(path, 130), "not those that were written"),
    "the header": (lambda path: _flip(path, 0), "not those that were written"),
    "the shape in the header": (lambda path: _flip(path, 60), "not those that were written"),
    "the hash": (lambda path: _flip(path, -1), "not those that were written"),
    "the seal's mark": (lambda path: _flip(path, -40), "no seal"),
    "cut short by a byte": (lambda path: os.truncate(path, path.stat().st_size - 1), "no seal"),
    "cut short to a header": (lambda path: os.truncate(path, 128), "no seal"),
    "cut short to ten bytes": (lambda path: os.truncate(path, 10), "no seal"),
    "longer by a byte": (lambda path: os.truncate(path, path.stat().st_size + 1), "no seal"),
    "empty": (lambda path: os.truncate(path, 0), "it is empty"),
    "no array at all": (lambda path: path.write_text("a text that somebody put here\n" * 9), "no seal"),
    "nothing, sealed": (lambda path: _seal_anew(path, b""), "it holds no array"),
    "no array, sealed": (
        lambda path: _seal_anew(path, b"a text that somebody put here\n" * 9),
        "it holds no array",
    ),
    "too small an array, sealed": (lambda path: _seal_anew(path, path.read_bytes()[:128]), "it holds no array"),
    "written by an earlier version": (_write_as_before, "an earlier version"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_array_is_named_and_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    good = np.array(_get(tmp_path))
    do, words = DAMAGE[damage]
    do(_file(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert (_get(tmp_path) == good).all()
    (message,) = caplog.messages
    assert message.startswith(f"the array {_file(tmp_path)} cannot be used: ")
    assert words in message
    assert message.endswith("it is made anew")
    caplog.clear()
    assert (_get(tmp_path) == good).all()
    assert not caplog.messages


def test_an_array_under_another_ones_name_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _get(tmp_path)
    other = _file(tmp_path)
    ArrayStore(tmp_path / "second").get("another", lambda out: out.fill(7), _SHAPE, np.uint8)
    shutil.copy(_file(tmp_path / "second"), other)
    assert _get(tmp_path)[3, 4] == 19
    assert "not those that were written" in caplog.text


def test_a_disk_that_does_not_keep_what_is_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(part: Path, name: str) -> None:
        append_seal(part, name)
        _flip(part, 130)

    monkeypatch.setattr("anomalyvfm_opt.data.arrays.append_seal", lose)
    with pytest.raises(EnvironmentMissingError, match="written a moment ago, and is damaged"):
        _get(tmp_path)


def test_an_array_on_a_disk_that_is_read_only_by_now_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    good = np.array(_get(tmp_path))
    monkeypatch.setattr(os, "utime", refuse)
    assert (ArrayStore(tmp_path).get("key", lambda out: out.fill(0), _SHAPE, np.uint8) == good).all()


def test_a_pipe_in_an_arrays_place_is_named_and_left_alone(tmp_path: Path) -> None:
    _get(tmp_path)
    path = _file(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(EnvironmentMissingError, match="a named pipe") as caught:
        _get(tmp_path)
    assert str(path) in caught.value.message
    assert path.is_fifo()


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_was_sealed_is_mapped_as_it_was(tmp_path: Path, order: str) -> None:
    written = np.asarray(np.random.default_rng(0).random((300, 70, 10)), order=order)  # of more than one chunk
    path = tmp_path / "a.npy"
    np.save(path, written)
    append_seal(path, path.name)
    mapped = map_sealed(path)
    assert isinstance(mapped, np.memmap)
    assert (mapped == written).all()
    assert (mapped.dtype, mapped.shape, mapped.flags.writeable) == (written.dtype, written.shape, False)
    assert (np.load(path) == written).all()
    _flip(path, 2**20 + 200)
    with pytest.raises(DamagedArrayError):
        map_sealed(path)


def test_nothing_foreign_is_deleted_to_make_room(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "data.npy").write_bytes(bytes(5000))
    folder = tmp_path / "cache"
    store = ArrayStore(folder, max_bytes=2500)
    store.get("old", lambda out: out.fill(1), (1000,), np.uint8)
    own = _file(folder)
    foreign = [
        folder / "data.npy",
        folder / f"{own.name.upper()}",
        folder / "download.part",
        folder / f"{own.name}.copy.part",
        folder / f"x{own.name}",
    ]
    for path in foreign:
        path.write_bytes(bytes(5000))
        os.utime(path, (1, 1))
    (folder / f"{'0' * 64}.npy").symlink_to(theirs / "data.npy")
    (folder / f"{'1' * 64}.npy").mkdir()
    before = sorted(folder.iterdir())
    store.get("new", lambda out: out.fill(2), (2000,), np.uint8)
    assert not own.exists()
    assert set(before) - set(folder.iterdir()) == {own}
    assert (theirs / "data.npy").stat().st_size == 5000

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import load_images
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.records import ImageRecord
from anomalyvfm_opt.errors import EXIT_ENVIRONMENT, BadDataError, EnvironmentMissingError
from tests.unit.data.folders import save_image

_SHAPE = (4, 5)


def _fill(value: int):  # type: ignore[no-untyped-def]
    def build(out: np.ndarray) -> None:
        out[...] = value

    return build


def _files(folder: Path, end: str) -> list[Path]:
    return sorted(folder.glob(f"*{end}"))


def _build_slowly(folder: Path, start: float, results: "multiprocessing.Queue[tuple[int, bool]]") -> None:
    is_builder = False

    def build(out: np.ndarray) -> None:
        nonlocal is_builder
        is_builder = True
        out[:2] = 7
        time.sleep(0.3)
        out[2:] = 7

    time.sleep(max(0.0, start - time.time()))
    array = ArrayStore(folder).get("key", build, _SHAPE, np.uint8)
    results.put((int(array.sum()), is_builder))


def test_an_array_is_built_once_and_read_only(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "cache")
    first = store.get("key", _fill(3), _SHAPE, np.float32)
    second = ArrayStore(tmp_path / "cache").get("key", _fill(4), _SHAPE, np.float32)
    assert isinstance(second, np.memmap)
    assert (first == 3).all()
    assert (second == 3).all()
    assert not second.flags.writeable


def test_other_keys_are_other_arrays(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    assert store.get("a", _fill(1), _SHAPE, np.uint8)[0, 0] == 1
    assert store.get("b", _fill(2), _SHAPE, np.uint8)[0, 0] == 2


def test_an_array_without_elements_needs_no_file(tmp_path: Path) -> None:
    array = ArrayStore(tmp_path / "cache").get("none", _fill(1), (0, 5), np.uint8)
    assert array.shape == (0, 5)
    assert not (tmp_path / "cache").exists()


def test_a_key_that_says_too_little_is_found_out(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path)
    store.get("key", _fill(1), _SHAPE, np.uint8)
    with pytest.raises(ValueError, match="was asked for"):
        store.get("key", _fill(1), (5, 4), np.uint8)


def test_processes_that_start_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[int, bool]] = context.Queue()
    start = time.time() + 1.5
    processes = [context.Process(target=_build_slowly, args=(tmp_path, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    seen = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [total for total, _ in seen] == [7 * 20] * 3
    assert sum(is_builder for _, is_builder in seen) == 1
    assert not _files(tmp_path, ".part")


def test_a_killed_builder_leaves_nothing_that_is_taken_for_an_array(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from anomalyvfm_opt.data.arrays import ArrayStore
def build(out):
    out[0] = 9
    print("half-way", flush=True)
    time.sleep(60)
ArrayStore(Path(sys.argv[1])).get(sys.argv[2], build, (4, 5), "uint8")
"""
    for key in ("key", "other"):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), key], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"half-way\n"
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert len(_files(tmp_path, ".part")) == 1  # the second builder removed the leftover of the first
    assert not _files(tmp_path, ".npy")
    assert (ArrayStore(tmp_path).get("key", _fill(1), _SHAPE, np.uint8) == 1).all()
    assert not _files(tmp_path, ".part")


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(out: np.ndarray) -> None:
        raise BadDataError("a.png is truncated")

    store = ArrayStore(tmp_path)
    with pytest.raises(BadDataError, match=r"a\.png"):
        store.get("key", fail, _SHAPE, np.uint8)
    assert not _files(tmp_path, ".part")
    assert (store.get("key", _fill(5), _SHAPE, np.uint8) == 5).all()


def test_the_array_unused_the_longest_makes_room(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, max_bytes=2500)
    for i, key in enumerate("ab"):
        store.get(key, _fill(1), (1000,), np.uint8)
        os.utime(_files(tmp_path, ".npy")[0], (i, i))
    old = store.get("a", _fill(0), (1000,), np.uint8)  # used again, so "b" is now the oldest
    store.get("c", _fill(3), (1000,), np.uint8)
    assert len(_files(tmp_path, ".npy")) == 2
    assert store.get("a", _fill(9), (1000,), np.uint8)[0] == 1
    assert old[0] == 1
    assert store.get("b", _fill(9), (1000,), np.uint8)[0] == 9


def test_an_array_larger_than_the_bound_is_built_and_is_the_only_one_kept(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, max_bytes=2500)
    store.get("small", _fill(1), (1000,), np.uint8)
    assert (store.get("large", _fill(2), (9000,), np.uint8) == 2).all()
    assert [path.stat().st_size for path in _files(tmp_path, ".npy")] == [9168]  # 128 of a header, 40 of a seal


def test_with_no_room_at_all_nothing_is_kept(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path / "cache", max_bytes=0)
    first = store.get("key", _fill(3), _SHAPE, np.float32)
    second = store.get("key", _fill(4), _SHAPE, np.float32)
    assert (first == 3).all()
    assert (second == 4).all()
    assert (second.dtype, second.flags.writeable) == (np.float32, False)
    assert not (tmp_path / "cache").exists()


def test_no_room_on_a_full_store_leaves_what_others_keep(tmp_path: Path) -> None:
    ArrayStore(tmp_path).get("key", _fill(3), _SHAPE, np.uint8)
    before = _files(tmp_path, ".npy")
    ArrayStore(tmp_path, max_bytes=0).get("key", _fill(4), _SHAPE, np.uint8)
    assert _files(tmp_path, ".npy") == before


def test_a_file_that_changed_within_its_size_is_decoded_anew(tmp_path: Path) -> None:
    """Size and time are what a file is known by: here they differ by a nanosecond alone."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    path = save_image(tmp_path / "a.bmp", pixels)
    record = ImageRecord(path, "can/train/good/a.bmp", "good", None, None, None)
    store, size_bytes = ArrayStore(tmp_path / "cache"), path.stat().st_size
    os.utime(path, ns=(10**18, 10**18))
    assert load_images(store, [record], Geometry.square(4)).pixels.max() == 0
    save_image(path, pixels + 9)
    assert path.stat().st_size == size_bytes
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert (load_images(store, [record], Geometry.square(4)).pixels == 9).all()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentMissingError, match="file/cache") as caught:
        ArrayStore(tmp_path / "file/cache").get("key", _fill(1), _SHAPE, np.uint8)
    assert caught.value.exit_code == EXIT_ENVIRONMENT


def test_a_disk_that_takes_no_more_is_named_before_anything_is_built(tmp_path: Path) -> None:
    """A limit on file sizes refuses the space as a full disk does, where the file is allocated."""
    code = """
import resource, sys
from pathlib import Path
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.errors import EnvironmentMissingError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
def build(out):
    raise SystemExit("built")
try:
    ArrayStore(Path(sys.argv[1])).get("key", build, (1_000_000,), "uint8")
except EnvironmentMissingError as error:
    print(error.message)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot keep arrays in {tmp_path}: ")
    assert not _files(tmp_path, ".part")

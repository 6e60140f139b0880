"""Who makes room for whom: outputs of frozen blocks go first, and what is not ours stays."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomalyvfm_opt.data import room
from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.room import make_room, measure_outputs

HOUR_S = 3600.0


def put(path: Path, n_bytes: int = 1000, age_s: float = HOUR_S) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(n_bytes))
    used = time.time() - age_s
    os.utime(path, (used, used))
    return path


def put_array(folder: Path, name: str, **state: Any) -> Path:
    return put(folder / f"{name * 64}.npy", **state)


def put_output(folder: Path, name: str, **state: Any) -> Path:
    return put(folder / "prefix" / (name * 2) / f"{name * 64}.npy", **state)


def name_left(*paths: Path) -> list[bool]:
    return [path.exists() for path in paths]


def test_outputs_are_thrown_out_before_arrays_and_the_longest_unused_first(tmp_path: Path) -> None:
    array, young = put_array(tmp_path, "a", age_s=9 * HOUR_S), put_output(tmp_path, "b", age_s=0)
    old = put_output(tmp_path, "c", age_s=2 * HOUR_S)
    assert make_room(tmp_path, 1000, 3000)
    assert name_left(array, young, old) == [True, True, False]
    assert make_room(tmp_path, 2000, 3000)  # a decoded image must find room, whatever is in use
    assert name_left(array, young) == [True, False]
    assert make_room(tmp_path, 3000, 3000)
    assert name_left(array) == [False]


def test_what_is_optional_throws_out_no_array_and_nothing_that_is_in_use(tmp_path: Path) -> None:
    array, used = put_array(tmp_path, "a"), put_output(tmp_path, "b", age_s=500)
    idle, idler = put_output(tmp_path, "c", age_s=700), put_output(tmp_path, "d", age_s=800)
    assert make_room(tmp_path, 1000, 4000, is_optional=True)
    assert name_left(array, used, idle, idler) == [True, True, True, False]
    assert not make_room(tmp_path, 2001, 4000, is_optional=True)
    assert name_left(array, used) == [True, True]


def test_arrays_that_are_built_make_room_among_outputs(tmp_path: Path) -> None:
    outputs = [put_output(tmp_path, name, age_s=0) for name in "0123"]
    store = ArrayStore(tmp_path, max_bytes=5000)

    def fill(out: np.ndarray) -> None:
        out[...] = 1

    store.get("one", fill, (2500,), np.uint8)
    assert sum(name_left(*outputs)) == 2
    store.get("other", fill, (2300,), np.uint8)
    assert not any(name_left(*outputs))
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_some_of_the_disk_stays_free_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = room.shutil.disk_usage(tmp_path).free
    assert make_room(tmp_path, 1000, 2**60, is_optional=True)
    monkeypatch.setattr(room, "_RESERVED_BYTES", free)
    assert not make_room(tmp_path, 2**20, 2**60, is_optional=True)
    assert make_room(tmp_path, 1000, 2**60)


@pytest.fixture
def foreign(tmp_path: Path) -> list[Path]:
    """What others may have put into our folders, and would miss."""
    name, bucket = "e" * 64, tmp_path / "prefix" / "ee"
    others = [
        put(tmp_path / "prefix" / "notes.txt"),
        put(tmp_path / "prefix" / f"{name}.npy"),
        put(tmp_path / "prefix" / "other" / f"{name}.npy"),
        put(bucket / "notes.npy"),
        put(bucket / f"{name}.npy.bak"),
        put(bucket / f"{name}.npy.12345678.part2"),
        put(tmp_path / "elsewhere" / f"{name}.npy"),
    ]
    link = tmp_path / "prefix" / "ef"
    link.symlink_to(tmp_path / "elsewhere")
    (bucket / f"{'f' * 64}.npy").symlink_to(others[-1])
    (bucket / f"{'d' * 64}.npy").mkdir()
    os.mkfifo(bucket / f"{'c' * 64}.npy")
    return [*others, link, *bucket.iterdir()]


def test_what_is_not_ours_is_neither_counted_nor_touched(tmp_path: Path, foreign: list[Path]) -> None:
    own = put_output(tmp_path, "a")
    assert measure_outputs(tmp_path) == (1, 1000)
    assert not make_room(tmp_path, 1000, 0)
    assert not own.exists()
    assert all(os.path.lexists(path) for path in foreign)


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = put_output(tmp_path / "elsewhere", "a")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "prefix").symlink_to(tmp_path / "elsewhere" / "prefix")
    assert measure_outputs(tmp_path / "cache") == (0, 0)
    assert not make_room(tmp_path / "cache", 1000, 0)
    assert elsewhere.exists()


def test_leftovers_of_killed_writers_go_after_an_hour(tmp_path: Path) -> None:
    bucket, name = tmp_path / "prefix" / "aa", "a" * 64
    young = put(bucket / f"{name}.npy.00000000.part", age_s=HOUR_S - 60)
    old = put(bucket / f"{name}.npy.11111111.part", age_s=HOUR_S + 60)
    assert make_room(tmp_path, 1, 10**6)
    assert name_left(young, old) == [True, False]


def test_a_folder_that_somebody_removes_meanwhile_is_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race is played: the folder is there when it is asked for, and gone when it is listed."""
    output = put_output(tmp_path, "a")
    monkeypatch.setattr(room, "is_real_folder", lambda _path: True)
    gone = [tmp_path / "prefix" / "ab", tmp_path / "prefix"]
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([*iterdir(self), gone[0]]))
    assert measure_outputs(tmp_path) == (1, 1000)
    assert make_room(tmp_path, 1, 10**6)
    assert measure_outputs(tmp_path / "nowhere") == (0, 0)
    assert output.exists()


def test_outputs_of_another_user_do_not_stop_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may remove everything, so the refusal is played."""
    stuck, array = put_output(tmp_path, "a"), put_array(tmp_path, "b")
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == stuck:
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert make_room(tmp_path, 1000, 2000)
    assert name_left(stuck, array) == [True, False]
    stuck = put_array(tmp_path, "c")
    with pytest.raises(PermissionError):
        make_room(tmp_path, 2000, 2000)

"""What the sweep of old checkpoints and the end of a trial remove, and what they leave alone."""

import errno
import os
import time
from pathlib import Path

import pytest

from anomalyvfm_opt.training.checkpoint_files import remove_checkpoint
from anomalyvfm_opt.training.checkpoint_folder import CheckpointFolder

KEY = "0123456789abcdef" * 4
OWN = (
    "checkpoint.json",
    "epoch-0007-0123abcd.safetensors",
    "epoch-12345-0123abcd.safetensors",
    ".checkpoint.json.0123abcd.part",
    ".epoch-0007-0123abcd.safetensors.0123abcd.part",
)
FOREIGN = (
    "notes.txt",
    "epoch-7.safetensors",
    "epoch-0007-0123abcd.safetensors.bak",
    "checkpoint.json.0123abcd.part",
    ".checkpoint.json",
    ".checkpoint.json.part",
)


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return age(folder)


def age(folder: Path) -> Path:
    then = time.time() - 31 * 24 * 3600
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then), follow_symlinks=False)
    return folder


def list_tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "artifacts" / "checkpoints"
    path.mkdir(parents=True)
    return path


def test_a_folder_of_our_own_files_goes(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(root / KEY, *OWN)
    assert CheckpointFolder(root).sweep() == 1
    assert list_tree(root) == []
    assert not caplog.messages


@pytest.mark.parametrize("name", ["data", KEY[:63], KEY + "0", KEY.upper(), KEY[:63] + "g", f".{KEY}"])
def test_a_folder_under_another_name_stays(root: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    fill(root / name, *OWN)
    before = list_tree(root)
    assert CheckpointFolder(root).sweep() == 0
    assert list_tree(root) == before
    (message,) = caplog.messages
    assert message.startswith(f"left alone in {root}")
    assert name in message


def test_what_a_link_points_to_stays(root: Path, tmp_path: Path) -> None:
    theirs = fill(tmp_path / "theirs", *OWN)
    (root / KEY).symlink_to(theirs)
    assert CheckpointFolder(root).sweep() == 0
    remove_checkpoint(root / KEY)
    assert list_tree(theirs) == sorted(OWN)
    assert (root / KEY).is_symlink()


def test_where_the_whole_folder_is_a_link_nothing_is_swept(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "theirs" / KEY, *OWN)
    root.rmdir()
    root.symlink_to(tmp_path / "theirs")
    assert CheckpointFolder(root).sweep() == 0
    assert list_tree(tmp_path / "theirs" / KEY) == sorted(OWN)
    assert "is a link" in caplog.text


def test_foreign_files_in_our_folder_stay_with_it(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = fill(root / KEY, *OWN, *FOREIGN)
    (folder / "epoch-0001-00000000.safetensors").symlink_to(folder / "notes.txt")
    (folder / "epoch-0002-00000000.safetensors").mkdir()
    age(folder)
    CheckpointFolder(root).sweep()
    kept = (*FOREIGN, "epoch-0001-00000000.safetensors", "epoch-0002-00000000.safetensors")
    assert list_tree(folder) == sorted(kept)
    (message,) = caplog.messages
    assert "and 3 more" in message


def test_a_young_folder_stays(root: Path) -> None:
    folder = fill(root / KEY, *OWN)
    (folder / "checkpoint.json").touch()
    assert CheckpointFolder(root).sweep() == 0
    assert list_tree(folder) == sorted(OWN)


def test_a_host_whose_clock_is_years_ahead_sweeps_nothing_young(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(root / KEY, *OWN)
    (folder / "checkpoint.json").touch()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert CheckpointFolder(root).sweep() == 0
    assert list_tree(root) == sorted([KEY, *(f"{KEY}/{name}" for name in OWN)])


def test_a_link_to_something_young_or_absent_keeps_no_folder(root: Path) -> None:
    folder = fill(root / KEY, *OWN)
    (folder / "link").symlink_to("absent")
    age(folder)
    CheckpointFolder(root).sweep()
    assert list_tree(folder) == ["link"]


def test_a_place_that_is_no_folder_is_said_and_ends_nothing(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    root.rmdir()
    root.parent.rmdir()
    root.parent.touch()
    assert CheckpointFolder(root).sweep() == 0
    assert "cannot look for what is left of old trials" in caplog.text


def test_a_folder_that_is_closed_is_said_and_ends_nothing(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root / KEY, *OWN)
    lstat = Path.lstat

    def refuse(path: Path) -> os.stat_result:
        if path.parent == root:  # it may be listed, and nothing in it be looked at
            raise PermissionError(errno.EACCES, "Permission denied")
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    assert CheckpointFolder(root).sweep() == 0
    assert "cannot look for what is left of old trials" in caplog.text

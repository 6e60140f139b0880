"""Files that others made: what is opened, and what is removed."""

import os
import re
import socket
from pathlib import Path

import pytest

from anomalyvfm_opt.files import NotPlainError, TooLargeError, list_own, open_plain, read_plain, remove_own

OWN = re.compile(r"own-\d+")


def test_a_plain_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "link", 7) == b"content"
    with open_plain(tmp_path / "file") as file:
        assert file.read() == b"content"


def test_a_file_larger_than_it_may_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(TooLargeError, match="larger than 6 bytes"):
        read_plain(tmp_path / "file", 6)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPlainError, match="a named pipe, not a plain file"):
        open_plain(tmp_path / "pipe")


def test_a_pipe_that_comes_between_look_and_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    seen = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda _path: seen)
    with pytest.raises(NotPlainError):
        open_plain(tmp_path / "pipe")


def test_a_device_a_socket_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotPlainError, match="a device"):
        open_plain(Path(os.devnull))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        with pytest.raises(NotPlainError, match="a socket"):
            open_plain(tmp_path / "s")
    with pytest.raises(IsADirectoryError):
        open_plain(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "absent")


def test_only_plain_files_whose_whole_name_fits_are_own(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    for name in ("own-1", "own-22", "own-1.txt", "my own-1"):
        (tmp_path / name).touch()
    (tmp_path / "own-3").mkdir()
    (tmp_path / "own-4").symlink_to("target")
    assert [path.name for path in list_own(tmp_path, OWN)] == ["own-1", "own-22"]


def test_a_folder_of_own_files_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "own-1").touch()
    assert remove_own(folder, OWN) == []
    assert not folder.exists()


def test_what_is_not_own_stays_and_so_does_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "own-2").mkdir(parents=True)
    (folder / "own-3").symlink_to(tmp_path)
    for name in ("own-1", "notes"):
        (folder / name).touch()
    assert remove_own(folder, OWN) == ["notes", "own-2", "own-3"]
    assert sorted(path.name for path in folder.iterdir()) == ["notes", "own-2", "own-3"]


def test_no_link_is_followed_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "own-1").touch()
    (tmp_path / "link").symlink_to("theirs")
    with pytest.raises(NotADirectoryError):
        remove_own(tmp_path / "link", OWN)
    assert (tmp_path / "theirs" / "own-1").exists()

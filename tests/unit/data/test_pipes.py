"""Images that are no files: each is said to be what it is, and none is opened: a pipe would hold its reader up."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from anomalyvfm_opt.data.entries import find_unread, list_images
from anomalyvfm_opt.data.images import read_form, read_image, read_mask, read_size_px
from anomalyvfm_opt.errors import BadDataError


def _make_socket(path: Path) -> None:
    where = Path.cwd()
    os.chdir(path.parent)  # a socket's name must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(where)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "it is a named pipe, not a plain file"),
    "socket": (_make_socket, "it is a socket, not a plain file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a plain file"),
    "folder": (lambda path: path.mkdir(), r"a\.png is a folder, not an image"),
    "broken link": (lambda path: path.symlink_to("nowhere"), r"a\.png is a broken link to nowhere"),
    "link to itself": (lambda path: path.symlink_to(path.name), r"a\.png is a broken link to a\.png"),
    "nothing": (lambda path: None, "No such file"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [read_image, read_mask, read_form, read_size_px])
def test_what_is_no_file_is_said_to_be_what_it_is(
    tmp_path: Path, read: Callable[[Path], object], kind: str
) -> None:
    make, said = KINDS[kind]
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(BadDataError, match=said) as caught:
        read(path)
    assert "copy it again" not in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_what_is_no_file_is_not_listed_and_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    KINDS[kind][0](path)
    assert list_images(tmp_path) == []
    (line,) = find_unread(tmp_path)
    assert line.startswith(f"{path} is not read: a {'named ' if kind == 'pipe' else ''}{kind}")


@pytest.mark.parametrize("kind", ["device", "broken link", "link to itself"])
def test_a_link_that_leads_to_no_file_is_listed_so_that_its_image_is_missed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    KINDS[kind][0](path)
    assert list_images(tmp_path) == [path]

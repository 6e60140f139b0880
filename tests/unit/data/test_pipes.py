"""Images that are no files: a pipe would hold its reader up for ever."""

import os
from pathlib import Path

import pytest

from anomalyvfm_opt.data.entries import list_images
from anomalyvfm_opt.data.images import read_form, read_image, read_mask, read_size_px
from anomalyvfm_opt.errors import BadDataError


@pytest.mark.parametrize("read", [read_image, read_mask, read_form, read_size_px])
def test_a_pipe_with_an_images_name_is_refused_before_it_is_read(tmp_path: Path, read: object) -> None:
    path = tmp_path / "a.png"
    os.mkfifo(path)
    assert callable(read)
    with pytest.raises(BadDataError, match="it is a named pipe, not a plain file"):
        read(path)


def test_a_link_to_a_device_is_listed_like_a_broken_one_and_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.symlink_to("/dev/zero")
    assert list_images(tmp_path) == [path]
    with pytest.raises(BadDataError, match="it is a device, not a plain file"):
        read_image(path)

"""What is taken for an image in a folder, and what is said of the rest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.data.entries import find_unread, get_stem, list_entries, list_images, list_subfolders
from anomalyvfm_opt.files import is_utf8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "._a.JPG", ".cache"):
        (tmp_path / name).touch()
    (tmp_path / "inner.png").mkdir()
    (tmp_path / "lost.tif").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_images_are_files_by_their_names_and_a_broken_link_is_missed(folder: Path) -> None:
    assert [path.name for path in list_images(folder)] == ["a.JPG", "b.png", "lost.tif"]
    assert [path.name for path in list_subfolders(folder)] == ["inner.png"]


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list_entries(tmp_path / "none") == find_unread(tmp_path / "none") == []


def test_every_other_entry_is_named_with_the_reason(folder: Path) -> None:
    """But for what a Mac or a program keeps beside the images."""
    (folder / "old.txt").symlink_to(folder / "nowhere")
    assert find_unread(folder) == [
        f"{folder / 'inner.png'} is not read: a folder; images lie one level up",
        f"{folder / 'notes.txt'} is not read: not a PNG, JPEG, BMP or TIFF file by its name",
        f"{folder / 'old.txt'} is not read: a broken link",
        f"{folder / '.hidden.png'} is not read: its name begins with a dot",
    ]


def test_composed_and_decomposed_names_have_one_stem() -> None:
    assert get_stem(Path("caf\u00e9.png")) == get_stem(Path("cafe\u0301.bmp")) == "caf\u00e9"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0xD800, 0xDFFF))
def test_a_name_can_be_kept_if_and_only_if_it_can_be_encoded(name: str, surrogate: int) -> None:
    assert is_utf8(name)
    assert not is_utf8(name + chr(surrogate))

"""Which files `predict` looks at: never what it writes meanwhile, nor pictures of earlier results."""

from pathlib import Path

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.inference.listing import PICTURES, TABLE, LeftOut, list_files


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with an image, and one in a folder below that is called as pictures of results are."""
    folder = tmp_path / "photos"
    for name in ("a.png", "maps/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def list_names(folder: Path, results: Path | None) -> list[str]:
    return [listed.name.as_posix() for listed in list_files([str(folder)], [], results)]


@pytest.mark.parametrize("inside", ["results", "."])
def test_what_is_written_meanwhile_is_not_looked_at(photos: Path, inside: str) -> None:
    results = photos / inside
    found = []
    for listed in list_files([str(photos)], [], results):
        found.append(listed.name.as_posix())
        for kind in PICTURES:
            picture = results / kind / listed.name
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.touch()
        assert len(found) < 5
    assert found == (["a.png"] if inside == "." else ["a.png", "maps/b.png"])


def test_earlier_results_are_no_images(photos: Path) -> None:
    earlier = photos / "earlier"
    for kind in PICTURES:
        (earlier / kind).mkdir(parents=True)
        (earlier / kind / "a.png").touch()
    assert len(list_names(photos, None)) == 5
    (earlier / TABLE).touch()
    assert list_names(photos, None) == ["a.png", "maps/b.png"]


def test_an_empty_name_and_an_empty_list_are_refused() -> None:
    with pytest.raises(UsageError, match="an empty name"):
        list(list_files([""], []))
    with pytest.raises(UsageError, match="the list on stdin names no image"):
        list(list_files(["-"], [b"\n", b"  \r\n"]))
    assert [one.path for one in list_files(["-"], [b" \n", b"a b.png\r\n"])] == [Path("a b.png")]


def test_masks_and_hidden_files_in_folders_are_left_out_and_counted(photos: Path) -> None:
    names = (
        "ground_truth/bad/a_mask.png",
        "test/ground_truth/b.PNG",
        ".c.png",
        "._a.png",
        ".DS_Store",
        ".git/d.png",
    )
    for name in (*names, "Thumbs.db", "a_mask.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    left_out = LeftOut()
    found = [listed.name.as_posix() for listed in list_files([str(photos)], [], None, left_out)]
    assert found == ["a.png", "a_mask.png", "maps/b.png"]
    assert left_out == LeftOut(masks=2, hidden=1)
    assert left_out.describe() == [
        "2 files in folders ground_truth left out: they are masks",
        "1 hidden file left out",
    ]
    named = [str(photos / name) for name in (".c.png", "ground_truth/bad/a_mask.png")]
    assert [str(one.path) for one in list_files(named, [])] == named
    assert list_names(photos / "ground_truth", None) == ["bad/a_mask.png"]


def test_a_folder_without_an_image_is_told_of_its_own_masks_alone(photos: Path, tmp_path: Path) -> None:
    (photos / "ground_truth").mkdir()
    (photos / "ground_truth/a_mask.png").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty holds no image") as caught:
        list(list_files([str(photos), str(tmp_path / "empty")], []))
    assert caught.value.hint.startswith("images end with .png")


def test_links_are_followed_once(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/c.png").touch()
    (photos / "linked").symlink_to(tmp_path / "elsewhere")
    (photos / "again").symlink_to(tmp_path / "elsewhere")
    (photos / "maps/loop").symlink_to(photos)
    (photos / "self").symlink_to("self")
    assert list_names(photos, None) == ["a.png", "again/c.png", "maps/b.png"]

"""Which files `predict` looks at: never what it writes meanwhile, nor pictures of earlier results."""

from pathlib import Path

import pytest

from anomalyvfm_opt.errors import UsageError
from anomalyvfm_opt.inference.listing import PICTURES, TABLE, list_files


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

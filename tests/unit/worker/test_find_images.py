"""Whether a host has the images of a study, by files on the disk and a division that no store was read for."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError
from anomalyvfm_opt.store.division import StoredImage
from anomalyvfm_opt.worker.images import find_images
from tests.unit.data.folders import make_pixels, save_image, save_mask, write_plain
from tests.unit.verdict.cases import make_study

SEARCH = make_study()
CONFIRM = replace(SEARCH, name=SEARCH.name_sibling("confirm"))
ROLES = {
    "tile/test/bad/001.png": "locked",
    "tile/test/bad/000.png": "search",
    "tile/test/good/001.png": "locked",
    "tile/test/good/000.png": "search",
    "tile/train/good/001.png": "fit",
    "tile/train/good/000.png": "fit",
    "tile/validation/good/000.png": "held_out",
}
MASK = "tile/ground_truth/bad/000_mask.png"


def hash_file(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_plain(tmp_path, train=2, validation=1, good=2, bad=2, mask_end="_mask.png")
    return tmp_path


@pytest.fixture
def stored(root: Path) -> dict[str, StoredImage]:
    """The division as a study of this folder has it."""
    return {
        key: StoredImage(
            image_key=key,
            role=role,
            label=Path(key).parent.name,
            scene=key,
            light=None,
            sha256=hash_file(root / key) or "",
            mask_sha256=hash_file(root / f"tile/ground_truth/bad/{Path(key).stem}_mask.png")
            if "/bad/" in key
            else None,
        )
        for key, role in ROLES.items()
    }


def test_the_division_is_the_stored_one_sorted_and_without_what_is_locked(
    root: Path, stored: dict[str, StoredImage]
) -> None:
    save_image(root / "tile/train/good/900.png", make_pixels(900))  # of nobody's study
    found = find_images(SEARCH, stored, root)
    assert {role: [record.key for record in records] for role, records in found.roles.items()} == {
        "fit": ["tile/train/good/000.png", "tile/train/good/001.png"],
        "held_out": ["tile/validation/good/000.png"],
        "search": ["tile/test/bad/000.png", "tile/test/good/000.png"],
        "locked": [],
    }
    assert (found.lock, found.fit[0].path) == ("half", root / "tile/train/good/000.png")


def test_a_confirmation_gets_the_locked_images(root: Path, stored: dict[str, StoredImage]) -> None:
    locked = find_images(CONFIRM, stored, root).locked
    assert [record.key for record in locked] == ["tile/test/bad/001.png", "tile/test/good/001.png"]


def test_locked_images_are_missed_and_compared_by_a_confirmation_alone(
    root: Path, stored: dict[str, StoredImage]
) -> None:
    save_image(root / "tile/test/good/001.png", make_pixels(1))
    with pytest.raises(BadDataError, match=r"images of x/tile#confirm .*: 1 of .* first tile/test/good/001.png"):
        find_images(CONFIRM, stored, root)
    (root / "tile/test/good/001.png").unlink()
    with pytest.raises(EnvironmentMissingError, match=r"lacks 1 of the 7 images .* first tile/test/good/001.png"):
        find_images(CONFIRM, stored, root)
    assert len(find_images(SEARCH, stored, root).search) == 2


def test_missing_images_are_counted_among_those_that_are_needed(
    root: Path, stored: dict[str, StoredImage]
) -> None:
    for name in ("000", "001"):
        (root / f"tile/train/good/{name}.png").unlink()
    with pytest.raises(EnvironmentMissingError, match=r"lacks 2 of the 5 images .* first tile/train/good/000.png"):
        find_images(SEARCH, stored, root)


def test_an_image_with_other_bytes_is_refused(root: Path, stored: dict[str, StoredImage]) -> None:
    save_image(root / "tile/validation/good/000.png", make_pixels(1))
    with pytest.raises(BadDataError, match=r"images of x/tile in .*: 1 of .* first tile/validation/good/000.png"):
        find_images(SEARCH, stored, root)


def test_masks_are_compared_only_where_the_study_knows_them(root: Path, stored: dict[str, StoredImage]) -> None:
    known = replace(SEARCH, masks_sha256="known")
    assert find_images(known, stored, root).search
    save_image(root / MASK, make_pixels(7)[:, :, 0])
    assert find_images(SEARCH, stored, root).search
    with pytest.raises(
        BadDataError, match=r"masks of .*: of 1 image, first of tile/test/bad/000.png, whose mask is"
    ):
        find_images(known, stored, root)


def test_a_mask_that_is_gone_or_that_is_new_differs_too(root: Path, stored: dict[str, StoredImage]) -> None:
    known = replace(SEARCH, masks_sha256="known")
    (root / MASK).unlink()
    with pytest.raises(BadDataError, match=r"tile/test/bad/000.png, which has none now"):
        find_images(known, stored, root)
    save_mask(root / MASK)
    key = "tile/test/bad/000.png"
    without = {**stored, key: replace(stored[key], mask_sha256=None)}
    with pytest.raises(BadDataError, match=r"first of tile/test/bad/000.png, whose mask is"):
        find_images(known, without, root)

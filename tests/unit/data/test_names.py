"""Whatever people call their files, and whatever is in them: each is counted or named, and nothing crashes."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalyvfm_opt.data.check import check_folder
from anomalyvfm_opt.data.images import SUFFIXES
from anomalyvfm_opt.data.layout import find_layout, list_categories, read_category
from anomalyvfm_opt.errors import BadDataError, UsageError
from tests.unit.data.folders import make_pixels, save_image, save_mask, write_mvtec_ad, write_plain

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest undoes what the package silences

_BAD_NAME = os.fsdecode(b"caf\xe9")  # Latin-1
_PLACES = ("train/good", "validation/good", "test/good", "test/bad", "ground_truth/bad")
_NAMES = ("003_regular", "20260131_142501", "-rf", "a b", "line\nbreak", "[red]", "ü", "u\u0308", "a_mask", ".a")
_ENDS = (".png", ".PNG", ".jpg", ".Jpeg", ".bmp", ".tif", ".TIFF", ".gif", "", ". png")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")

_stems = st.sampled_from(_NAMES) | st.text(
    st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=12
)


def _is_possible(name: str) -> bool:
    """Whether the file system takes it: Python encodes surrogates that stand for bytes, and no others."""
    try:
        return len(os.fsencode(name)) <= 255 and name not in (".", "..")
    except UnicodeEncodeError:
        return False


@st.composite
def _contents(draw: st.DrawFn, folder: Path) -> bytes:
    """Bytes of an image in some mode and format, perhaps cut off or damaged."""
    mode, kind = draw(st.sampled_from(_MODES)), draw(st.sampled_from(_FORMATS))
    width, height = draw(st.sampled_from([(10, 8), (8, 10), (1, 1)]))
    pixels = np.random.default_rng(width).integers(0, 256, (height, width), dtype=np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16)) if mode == "I;16" else Image.fromarray(pixels).convert("RGB")
    if mode != "I;16":
        image = image.convert("L").convert(mode) if mode in ("I", "F", "LA") else image.convert(mode)
    path = folder / "content"
    try:
        image.save(path, kind)
    except (OSError, ValueError):  # the format has no such mode
        Image.fromarray(pixels).save(path, kind)
    content = bytearray(path.read_bytes())
    match draw(st.sampled_from(["whole", "whole", "cut", "damaged"])):
        case "cut":
            del content[draw(st.integers(0, len(content))) :]
        case "damaged":
            content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    return bytes(content)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_file_is_counted_or_named(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        base = write_plain(root, "item", train=9, good=1, bad=1)
        written = []
        for _ in range(data.draw(st.integers(1, 5))):
            name = data.draw(_stems) + data.draw(st.sampled_from(_ENDS))
            path = base / data.draw(st.sampled_from(_PLACES)) / name
            if _is_possible(name) and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.draw(_contents(Path(folder))))
                written.append(path)
        (item,) = check_folder(root).categories
        images, masks = _list_read(root / "item")
        assert sum(part.images for part in item.parts) == len(images)
        for path in written:
            is_named = any(str(path) in problem for problem in item.problems)
            assert path in images or path in masks or is_named or _is_rubbish(path.name), path


def _list_read(folder: Path) -> tuple[set[Path], set[Path]]:
    """All images and masks that a study would read."""
    layout = find_layout(folder)
    assert layout is not None
    images = layout.read(folder)
    records = (*images.train, *images.validation, *images.test)
    return {record.path for record in records}, {record.mask for record in records if record.mask}


def _is_rubbish(name: str) -> bool:
    """Hidden files that nobody would take for an image of theirs."""
    return name.startswith("._") or (name.startswith(".") and not name.lower().endswith(SUFFIXES))


@pytest.mark.parametrize(
    "stem",
    [
        "with space",
        "line\nbreak",
        "ü",
        "u\u0308",
        "[red]x",
        "-rf",
        "x" * 240,
        "20260131_142501",
        "a.b.c",
        "😀",
    ],
)
def test_odd_names_are_read(tmp_path: Path, stem: str) -> None:
    base = write_plain(tmp_path, mask_end="_mask.png")
    save_image(base / f"test/bad/{stem}.png", make_pixels(900))
    save_mask(base / f"ground_truth/bad/{stem}_mask.png")
    record = next(r for r in read_category(tmp_path, "tile").test if r.path.stem == stem)
    assert record.key == f"tile/test/bad/{stem}.png"
    assert (record.scene, record.light) == (None, None)
    assert record.mask is not None
    (tile,) = check_folder(tmp_path).categories
    assert tile.problems == []


@pytest.mark.parametrize("place", ["train/good/{}.png", "test/{}/000.png"])
def test_a_name_that_no_database_can_keep_is_an_error(tmp_path: Path, place: str) -> None:
    base = write_mvtec_ad(tmp_path)
    path = save_image(base / place.format(_BAD_NAME), make_pixels(0))
    expected = f"{path}: its name is not UTF-8: rename it"
    (bottle,) = check_folder(tmp_path).categories
    assert bottle.errors == (expected,)
    with pytest.raises(BadDataError) as caught:
        read_category(tmp_path, "bottle")
    assert str(caught.value) == expected


def test_a_category_or_a_folder_that_no_database_can_keep_is_an_error(tmp_path: Path) -> None:
    write_plain(tmp_path, _BAD_NAME)
    (category,) = check_folder(tmp_path).categories
    assert category.errors == (f"{_BAD_NAME}: the category's name is not UTF-8: rename its folder",)
    write_plain(tmp_path / _BAD_NAME / "data")
    with pytest.raises(UsageError, match="is not UTF-8"):
        list_categories(tmp_path / _BAD_NAME / "data")


@pytest.mark.parametrize("name", ["part#2", "#", "part#confirm", "part#replicates"])
def test_a_category_that_no_study_can_be_named_after_is_an_error(tmp_path: Path, name: str) -> None:
    write_plain(tmp_path, name)
    (category,) = check_folder(tmp_path).categories
    expected = f"{name}: a category's name is part of a study's, so it holds no '#': rename its folder"
    assert category.errors == (expected,)
    with pytest.raises(BadDataError, match="rename its folder"):
        read_category(tmp_path, name)


@pytest.mark.parametrize("name", ["new\nline", "tab\there", "bell\a", "\x1b[31mred", "del\x7f", "c1\x85"])
def test_a_category_whose_name_would_break_every_line_is_an_error(tmp_path: Path, name: str) -> None:
    write_plain(tmp_path, name)
    (category,) = check_folder(tmp_path).categories
    expected = f"{name!r}: a category's name holds a control character: rename its folder"
    assert category.errors == (expected,)
    assert expected.isprintable()
    with pytest.raises(BadDataError, match="control character"):
        read_category(tmp_path, name)


def test_many_faults_are_told_in_a_few_words(tmp_path: Path) -> None:
    base = write_plain(tmp_path)
    for i in range(9):
        save_image(base / f"train/good/{_BAD_NAME}{i}.png", make_pixels(0))
    with pytest.raises(BadDataError, match="and 6 more, which `data check` shows"):
        read_category(tmp_path, "tile")
    (tile,) = check_folder(tmp_path).categories
    assert len(tile.errors) == 9


def test_broken_links_are_errors_where_images_lie_and_named_elsewhere(tmp_path: Path) -> None:
    base = write_plain(tmp_path, mask_end="_mask.png")
    image, mask = base / "train/good/100.png", base / "ground_truth/bad/000_mask.png"
    mask.unlink()
    for path in (image, mask):
        path.symlink_to("nowhere")
    (base / "validation").symlink_to("nowhere")
    (base / "test/good/circle.png").symlink_to("circle.png")
    (tile,) = check_folder(tmp_path).categories
    assert sorted(line.split(" (")[0] for line in tile.errors) == sorted(
        f"{path} is a broken link to {target}"
        for path, target in ((image, "nowhere"), (mask, "nowhere"), (base / "test/good/circle.png", "circle.png"))
    )
    assert len(tile.warnings) == 1
    assert tile.warnings[0].startswith(f"{base / 'validation'} is not read")


def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    base = write_plain(tmp_path)
    os.mkfifo(base / "train/good/pipe.png")
    (tile,) = check_folder(tmp_path).categories
    assert tile.warnings == (f"{base / 'train/good/pipe.png'} is not read: a named pipe",)

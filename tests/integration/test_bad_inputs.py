"""Whatever comes in that cannot be used: the exit code, one line that says what to do, and a store as it was."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.integration.place import Place
from tests.integration.program import CATEGORY, Program, assert_one_error

TEST = f"{CATEGORY}/test_public"


@dataclass(frozen=True)
class BadInput:
    """What is spoiled, and what `study create` then answers.

    Args:
        spoil: given the place, returns changes of the spec.
        exit_code: of the program.
        words: that its error holds; `{data}` and `{folder}` stand for paths.
    """

    spoil: Callable[[Place], dict[str, Any] | None]
    exit_code: int
    words: tuple[str, ...]


def _first(folder: Path) -> Path:
    return sorted(path for path in folder.iterdir() if path.is_file())[0]


def _unspeakable(place: Place) -> None:
    (place.data / CATEGORY).rename(place.data / "brick#2")


def _cut_off(place: Place) -> None:
    image = _first(place.data / CATEGORY / "train/good")
    image.write_bytes(image.read_bytes()[:600])


def _empty_file(place: Place) -> None:
    _first(place.data / TEST / "bad").write_bytes(b"")


def _text_file(place: Place) -> None:
    _first(place.data / TEST / "good").write_text("not an image")


def _broken_mask(place: Place) -> None:
    _first(place.data / TEST / "ground_truth/bad").write_bytes(b"\x89PNG")


def _small_mask(place: Place) -> None:
    mask = _first(place.data / TEST / "ground_truth/bad")
    with Image.open(mask) as image:
        image.resize((16, 16)).save(mask)


def _no_bad(place: Place) -> None:
    shutil.rmtree(place.data / TEST / "bad")


def _no_train(place: Place) -> None:
    shutil.rmtree(place.data / CATEGORY / "train")
    (place.data / CATEGORY / "train/good").mkdir(parents=True)


def _few_scenes(place: Place) -> None:
    for path in sorted((place.data / TEST / "good").iterdir())[5:]:
        path.unlink()


def _one_level_deep(place: Place) -> None:
    shutil.move(place.data / CATEGORY, place.folder / CATEGORY)
    shutil.rmtree(place.data)
    shutil.move(place.folder / CATEGORY, place.data)


def _broken_link(place: Place) -> None:
    (place.data / CATEGORY / "train/good/999_regular.png").symlink_to(place.folder / "gone.png")


def _float_tiff(place: Place) -> None:
    Image.new("F", (64, 64), 0.5).save(place.data / CATEGORY / "train/good/998_regular.tiff")


def _change(**changes: Any) -> Callable[[Place], dict[str, Any]]:
    return lambda _place: dict(changes)


def _weights(write: Callable[[Path], object]) -> Callable[[Place], dict[str, Any]]:
    def spoil(place: Place) -> dict[str, Any]:
        file = place.folder / "weights.safetensors"
        write(file)
        return {"backbone": {"weights": str(file)}}

    return spoil


def _write_other_weights(file: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a.weight": torch.zeros(3)}, file)


BAD_DATA = {
    "an image cut off": BadInput(_cut_off, 2, ("{data}/brick/train/good/",)),
    "an empty file": BadInput(_empty_file, 2, ("{data}/brick/test_public/bad/", "empty file")),
    "text for an image": BadInput(_text_file, 2, ("{data}/brick/test_public/good/", "not an image")),
    "a broken mask": BadInput(_broken_mask, 2, ("ground_truth/bad/",)),
    "a mask of another size": BadInput(_small_mask, 2, ("16x16 px", "64x64 px")),
    "no bad images": BadInput(_no_bad, 2, ("brick", "bad")),
    "no training images": BadInput(_no_train, 2, ("brick", "train/good")),
    "too few scenes to divide": BadInput(
        _few_scenes, 2, ("lock: half needs at least 20 of each", "use lock: all")
    ),
    "the category's own folder": BadInput(_one_level_deep, 2, ("{data}", "{folder}")),
    "a category that no study can be named after": BadInput(_unspeakable, 2, ("brick#2", "rename its folder")),
    "a broken link": BadInput(_broken_link, 2, ("999_regular.png",)),
    "pixels in floating point": BadInput(_float_tiff, 2, ("998_regular.tiff", "floating-point")),
    "no folder": BadInput(lambda place: shutil.rmtree(place.data), 3, ("{data}", "No such file")),
}
BAD_SPECS = {
    "an unknown backbone": BadInput(
        _change(backbone={"name": "vit_tinny_patch16_224", "weights": "random"}), 2, ("vit_tiny_patch16_224",)
    ),
    "a block that is not there": BadInput(_change(backbone={"decoder_blocks": [9]}), 2, ("decoder_blocks", "9")),
    "a rank above the layer": BadInput(_change(search={"space": {"rank": [512]}}), 2, ("rank 512",)),
    "offline weights of another model": BadInput(
        _change(backbone={"name": "vit_tiny_patch16_224", "weights": "offline"}), 2, ("offline",)
    ),
    "an input that patches do not divide": BadInput(
        _change(data={"image_size_px": 72}, backbone={"name": "vit_tiny_patch16_224", "weights": "random"}),
        2,
        ("72", "16"),
    ),
    "a category that is not there": BadInput(_change(data={"categories": ["brik"]}), 2, ("did you mean 'brick'",)),
}
BAD_WEIGHTS = {
    "no such weights file": BadInput(_weights(lambda file: None), 3, ("weights.safetensors",)),
    "weights that are no safetensors": BadInput(
        _weights(lambda file: file.write_bytes(b"PK\x03\x04" * 64)), 2, ("weights.safetensors",)
    ),
    "an empty weights file": BadInput(_weights(lambda file: file.touch()), 2, ("weights.safetensors",)),
    "the weights of another model": BadInput(_weights(_write_other_weights), 2, ("weights.safetensors",)),
}


@pytest.mark.parametrize("name", [*BAD_DATA, *BAD_SPECS, *BAD_WEIGHTS])
def test_a_bad_input_is_one_clear_error_and_changes_nothing(program: Program, place: Place, name: str) -> None:
    bad = {**BAD_DATA, **BAD_SPECS, **BAD_WEIGHTS}[name]
    changes = bad.spoil(place)
    before = place.count_rows()
    shown = assert_one_error(place.create(program, **(changes or {})), bad.exit_code)
    for words in bad.words:
        assert words.format(data=place.data, folder=place.folder) in shown
    assert place.count_rows() == before


_LATIN = "caf\udce9"  # as Python reads the bytes of Latin-1


@pytest.mark.parametrize(
    "arguments",
    [
        ("study", "show", _LATIN),
        ("study", "create", "no.yaml", "--data", _LATIN),
        ("study", "delete", "it", "--yes", "--db", _LATIN),
        ("verdict", _LATIN),
        ("predict", _LATIN, "image.png"),
        ("worker", "run", "--study", _LATIN),
    ],
    ids=" ".join,
)
def test_bytes_that_are_no_text_are_refused_in_words(program: Program, arguments: tuple[str, ...]) -> None:
    shown = assert_one_error(program.run_here(*arguments), 2)
    assert "the argument 'caf\\udce9' is not UTF-8" in shown


def test_a_variable_that_is_no_text_is_refused_by_its_name(program: Program) -> None:
    shown = assert_one_error(program.run_here("study", "list", ANOMALYVFM_OPT_DATA=_LATIN), 2)
    assert "ANOMALYVFM_OPT_DATA is not UTF-8" in shown

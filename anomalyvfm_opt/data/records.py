"""An image and a category, as every layout describes them."""

from dataclasses import dataclass
from pathlib import Path

GOOD, BAD = "good", "bad"


@dataclass(frozen=True)
class ImageRecord:
    """One image file.

    Args:
        path: the file.
        key: its name in the study store, the same on every host: the posix path from the folder that
            holds the category folder, such as `can/test_public/good/003_regular.png`.
        label: `good` or `bad`.
        scene: the scene number in the file's name; None if there is none: then the image is its own scene.
            Where each kind of defect has a folder of its own, that stands before it: `crack/003`.
        light: the light in the file's name, such as `overexposed`; None if there is none.
        mask: the file that marks the anomalous pixels of a bad image; None if there is none.
    """

    path: Path
    key: str
    label: str
    scene: str | None
    light: str | None
    mask: Path | None

    @property
    def scene_id(self) -> str:
        """The scene within its category and part: good/003, bad/003 and bad/crack/003 are three scenes."""
        return self.key if self.scene is None else f"{self.label}/{self.scene}"


@dataclass(frozen=True)
class CategoryImages:
    """All images of a category, each tuple sorted by key.

    Args:
        name: of the category.
        train: normal images.
        validation: normal images that are not for training; may be empty.
        test: labelled images, good and bad.
    """

    name: str
    train: tuple[ImageRecord, ...]
    validation: tuple[ImageRecord, ...]
    test: tuple[ImageRecord, ...]

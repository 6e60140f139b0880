"""What the server of MVTec AD 2 takes: which files, under which names."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAPS, MASKS = "anomaly_images", "anomaly_images_thresholded"
SETS: Mapping[str, str] = MappingProxyType({"test_private": "regular", "test_private_mixed": "mixed"})
"""The two sets without labels, and the light that their files are named after."""
IMAGES: Mapping[str, int] = MappingProxyType(
    {
        "can": 321,
        "fabric": 314,
        "fruit_jelly": 255,
        "rice": 277,
        "sheet_metal": 142,
        "vial": 276,
        "wallplugs": 232,
        "walnuts": 228,
    }
)
"""How many images each set of a category has."""


@dataclass(frozen=True, order=True)
class Place:
    """An image of a private set, and where its map belongs.

    Args:
        category: such as `can`.
        set_name: of `SETS`.
        stem: its file's name without suffix, such as `000_regular`.
    """

    category: str
    set_name: str
    stem: str

    @property
    def map_path(self) -> str:
        """The path of its map in a submission."""
        return f"{MAPS}/{self.category}/{self.set_name}/{self.stem}.tiff"

    @property
    def mask_path(self) -> str:
        """The path of its thresholded map in a submission."""
        return f"{MASKS}/{self.category}/{self.set_name}/{self.stem}.png"


def list_places(images: Mapping[str, int] = IMAGES) -> list[Place]:
    """Return the places of all images, in the order of categories, sets and numbers.

    Args:
        images: how many each set of a category has.
    """
    return [
        Place(category, set_name, f"{number:03}_{light}")
        for category, count in images.items()
        for set_name, light in SETS.items()
        for number in range(count)
    ]

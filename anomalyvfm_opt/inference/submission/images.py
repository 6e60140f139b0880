"""The private images of a data folder: all that the server wants maps of, and no others."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from anomalyvfm_opt.data.entries import get_stem, list_images
from anomalyvfm_opt.data.folders import unwrap
from anomalyvfm_opt.data.images import read_size_px
from anomalyvfm_opt.data.layout import explained, list_categories
from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.inference.submission.layout import IMAGES, SETS, Place, list_places
from anomalyvfm_opt.words import counted

_MOST_THREADS = 8
_SHOWN_FAULTS = 8


@dataclass(frozen=True)
class PrivateImage:
    """An image without a label.

    Args:
        place: of its map.
        path: of the file.
        size_px: height and width.
    """

    place: Place
    path: Path
    size_px: tuple[int, int]


def find_private_images(root: Path, images: Mapping[str, int] = IMAGES) -> list[PrivateImage]:
    """Find the images of both private sets of every category, and measure them.

    To measure a PNG file is to decode it, so that a damaged one is found before the first map is made.

    Args:
        root: folder of categories.
        images: how many each set of a category has.

    Raises:
        BadDataError: a category, a set or an image is missing, is one too many, or cannot be opened; the first
            eight of such faults are named. Or the folder holds no category.
        EnvironmentMissingError: the folder is not there, or cannot be read.
    """
    known = list_categories(root)
    faults = [f"{root / category} is missing" for category in images if category not in known]
    found: dict[Place, Path] = {}
    for category in filter(known.__contains__, images):
        base = unwrap(root / category)
        for set_name in SETS:
            wanted = {place.stem: place for place in list_places({category: images[category]})}
            stems = {stem for stem, place in wanted.items() if place.set_name == set_name}
            with explained(root):
                there = {get_stem(path): path for path in list_images(base / set_name)}
            faults += _compare(base / set_name, stems, there)
            found |= {wanted[stem]: path for stem, path in there.items() if stem in stems}
    if not faults:
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            measured = list(pool.map(_measure, sorted(found), [found[place] for place in sorted(found)]))
        faults = [one for one in measured if isinstance(one, str)]
    if faults:
        rest = len(faults) - _SHOWN_FAULTS
        more = [f"and {rest} more"] if rest > 0 else []
        raise BadDataError(
            "\n".join([*faults[:_SHOWN_FAULTS], *more]),
            "the server wants maps of exactly the private images of MVTec AD 2: unpack its archives anew",
        )
    return [one for one in measured if isinstance(one, PrivateImage)]


def _compare(folder: Path, wanted: set[str], there: Mapping[str, Path]) -> list[str]:
    """Return what a folder of images lacks, and what it has too many of."""
    if not there:
        return [f"{folder} has no image, and there should be {len(wanted)}"]
    missing, spare = sorted(wanted - there.keys()), sorted(there.keys() - wanted)
    faults = (
        [f"{folder} lacks {len(missing)} of {counted(len(wanted), 'image')}, first {missing[0]}.png"]
        if missing
        else []
    )
    return faults + [f"{there[stem]} is no image of this set" for stem in spare]


def _measure(place: Place, path: Path) -> PrivateImage | str:
    try:
        return PrivateImage(place, path, read_size_px(path))
    except BadDataError as error:
        return error.message

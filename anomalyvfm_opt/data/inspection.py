"""Looks at one image and its mask: what makes them unusable, and what is merely odd."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anomalyvfm_opt.data.images import Form, read_form, read_mask
from anomalyvfm_opt.data.records import ImageRecord
from anomalyvfm_opt.errors import BadDataError


@dataclass(frozen=True)
class Inspection:
    """What was seen of one image.

    Args:
        form: None if it cannot be read.
        errors: why it cannot be used.
        warnings: what is odd.
    """

    form: Form | None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def inspect(record: ImageRecord) -> Inspection:
    """Decode an image and its mask."""
    try:
        form = read_form(record.path)
    except BadDataError as error:
        return Inspection(None, (str(error),))
    seen = Inspection(form, (), tuple(_find_oddities(record.path, form)))
    if record.mask is None:
        return seen
    try:
        mask = read_mask(record.mask)
    except BadDataError as error:
        return replace(seen, errors=(str(error),))
    return _compare(seen, form.size_px, record.mask, mask)


def _find_oddities(path: Path, form: Form) -> Iterator[str]:
    """Yield a line for each thing that is odd about an image that can be read."""
    for note in form.notes:
        yield f"{path} {note}"
    if form.colour is not None:
        why = ", which is how what is transparent is read" if form.has_transparency else ""
        yield f"{path} is {form.colour} (red, green, blue) everywhere{why}: there is nothing to see in it"


def _compare(seen: Inspection, image_px: tuple[int, int], path: Path, mask: np.ndarray) -> Inspection:
    """Add what is wrong with a mask, bool (h, w), of an image of (width, height)."""
    height, width = mask.shape
    if (width, height) != image_px:
        size = f"{path} is {width}x{height} px, its image {image_px[0]}x{image_px[1]} px"
        return replace(seen, errors=(f"{size}: is it the mask of another image?",))
    if not mask.any():
        return replace(seen, warnings=(*seen.warnings, f"{path} marks no pixel"))
    if mask.all():
        return replace(seen, warnings=(*seen.warnings, f"{path} marks every pixel: is it inverted?"))
    return seen

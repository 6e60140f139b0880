"""The folder of results: `scores.csv`, and pictures of the maps for those who want them."""

import csv
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from anomalyvfm_opt.data.images import read_image
from anomalyvfm_opt.durable import write_whole, written_whole
from anomalyvfm_opt.errors import EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import is_real_folder
from anomalyvfm_opt.inference.file_predictions import Answered
from anomalyvfm_opt.inference.folder import explained_write
from anomalyvfm_opt.inference.listing import MAPS, MASKS, OVERLAYS, PICTURES, TABLE
from anomalyvfm_opt.inference.pictures import HeatScale, pack_picture, paint_overlay
from anomalyvfm_opt.inference.prediction import Prediction

_COLUMNS = ("image", "score", "p_normal", "is_anomalous", "map", "overlay", "mask")
_LONGEST_STEM = 200  # bytes, of the 255 that a name may have


@dataclass
class Results:
    """Writes what is wanted of each prediction.

    Args:
        folder: of the results; None where nothing is to be written.
        wanted: of `MAPS`, `OVERLAYS` and `MASKS`.
        scale: of the overlays' colours.
    """

    folder: Path | None
    wanted: frozenset[str]
    scale: HeatScale
    _taken: dict[Path, int] = field(default_factory=dict)
    _table: BinaryIO | None = None

    @contextmanager
    def opened(self) -> Iterator["Results"]:
        """Make the folder, and give the table its name when the `with` ends without an error.

        Raises:
            UsageError: there are results in the folder, or pictures that a call left which did not end.
            EnvironmentMissingError: the disk refuses, or is full.
        """
        if self.folder is None:
            yield self
            return
        check_unused(self.folder)
        with ExitStack() as stack:
            with explained_write(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._table = stack.enter_context(written_whole(self.folder / TABLE))
                self._write_row(_COLUMNS)
            yield self  # what the caller does in between may fail for reasons of its own
            with explained_write(self.folder):
                stack.close()

    def write(self, answered: Answered) -> dict[str, str]:
        """Write a prediction's row and pictures.

        Returns:
            The paths of the pictures, by kind.

        Raises:
            EnvironmentMissingError: the disk refuses, or is full.
        """
        prediction, folder = answered.prediction, self.folder
        if prediction is None or folder is None:
            return {}
        stem = self._choose_stem(answered.listed.name)
        paths = {}
        for kind in sorted(self.wanted):
            suffix = ".tiff" if kind == MAPS else ".png"
            path = folder / kind / stem.with_name(stem.name + suffix)
            content = self._draw(kind, answered, prediction)
            with explained_write(folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, content)
            paths[kind] = str(path.relative_to(folder))
        with explained_write(folder):
            verdict = "" if prediction.is_anomalous is None else str(int(prediction.is_anomalous))
            numbers = (repr(prediction.score), repr(prediction.p_normal), verdict)
            places = (paths.get(kind, "") for kind in (MAPS, OVERLAYS, MASKS))
            self._write_row((prediction.image, *numbers, *places))
        return paths

    def _draw(self, kind: str, answered: Answered, prediction: Prediction) -> bytes:
        if kind == MAPS:
            return pack_picture(prediction.map_at_image(), "TIFF")
        if kind == OVERLAYS:
            image = np.asarray(read_image(answered.listed.path))
            if image.shape[:2] != prediction.image_px:
                raise EnvironmentMissingError(f"{answered.listed.path} was changed while it was looked at")
            return pack_picture(paint_overlay(image, prediction.map_at_image(), self.scale), "PNG")
        mask = prediction.mask_at_image()
        if mask is None:
            raise ValueError("masks are wanted of a detector without a threshold")
        return pack_picture(mask.astype(np.uint8) * 255, "PNG")

    def _choose_stem(self, name: Path) -> Path:
        """Return a name without suffix that no other image of this run has."""
        stem = _shorten(name.with_suffix(""))
        number = self._taken.get(stem, 0)  # how often it was asked for
        chosen = stem if number == 0 else stem.with_name(f"{stem.name}-{number + 1}")
        while chosen in self._taken:
            number += 1
            chosen = stem.with_name(f"{stem.name}-{number + 1}")
        self._taken[chosen] = 1
        self._taken[stem] = number + 1
        return chosen

    def _write_row(self, row: tuple[str, ...]) -> None:
        if self._table is None:
            raise ValueError("the results are not open")
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(row)
        self._table.write(line.getvalue().encode("utf-8", "surrogateescape"))


def check_unused(folder: Path) -> None:
    """See that a folder can take results: nothing is there, or no results are in it.

    Raises:
        UsageError: it is no folder, there are results in it, or pictures that a call left which did not end.
        EnvironmentMissingError: the disk refuses.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give another one: --out FOLDER")
    with explained_write(folder):
        is_taken = os.path.lexists(folder / TABLE)
        pictures = [path for kind in PICTURES if _holds_something(path := folder / kind)]
    if is_taken:
        raise UsageError(f"{folder / TABLE} is there already", "give another folder: --out FOLDER")
    if pictures:
        raise UsageError(
            f"{pictures[0]} is there already, without {TABLE}: a call that did not end has left it",
            "remove it, or give another folder: --out FOLDER",
        )


def _holds_something(path: Path) -> bool:
    """Return whether a path is anything but nothing or an empty folder."""
    return os.path.lexists(path) and not (is_real_folder(path) and not any(path.iterdir()))


def _shorten(stem: Path) -> Path:
    """Return a path whose last part leaves room for a number, a suffix and a temporary file's name."""
    name = os.fsencode(stem.name)
    if len(name) <= _LONGEST_STEM:
        return stem
    return stem.with_name(name[:_LONGEST_STEM].decode("utf-8", "ignore"))

"""From detectors and private images to a submission: a folder and its archive, both whole or neither there."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from anomalyvfm_opt.errors import BadDataError, EnvironmentMissingError, UsageError
from anomalyvfm_opt.files import is_real_folder
from anomalyvfm_opt.inference.card import Card, ThresholdsCard
from anomalyvfm_opt.inference.file_predictions import predict_files
from anomalyvfm_opt.inference.folder import explained_write, made_aside, read_card, refuse_taken
from anomalyvfm_opt.inference.listing import Listed
from anomalyvfm_opt.inference.pictures import pack_picture
from anomalyvfm_opt.inference.standalone import StandaloneDetector
from anomalyvfm_opt.inference.submission.archive import compare_archive, name_archive, pack_archive
from anomalyvfm_opt.inference.submission.half import HalfScale
from anomalyvfm_opt.inference.submission.images import PrivateImage
from anomalyvfm_opt.inference.submission.inspection import inspect_submission
from anomalyvfm_opt.inference.submission.tiff import pack_map
from anomalyvfm_opt.inference.thresholds import set_thresholds
from anomalyvfm_opt.words import counted

_BYTES_A_PIXEL = 3  # two of the map, and one of its compressed copy in the archive
_SHOWN_FAULTS = 8
_Write = Callable[[str, bytes], None]
"""Writes a file's content, by its path in the submission."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """How detectors are opened.

    Args:
        weights: a file with the backbone's weights; None for those in the folder, or where the study had them.
        device: that they compute on.
        batch: images that are looked at together.
        false_positives: the share that thresholds promise, 0-1; None for that of each folder.
    """

    weights: Path | None
    device: str
    batch: int
    false_positives: float | None


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written of a category.

    Args:
        card: of the detector.
        thresholds: by which pixels are called anomalous.
        scale: of the maps.
        images: how many.
        marked: how many of them have a pixel that is called anomalous.
    """

    card: Card
    thresholds: ThresholdsCard
    scale: HalfScale
    images: int
    marked: int


@contextmanager
def begun_submission(root: Path) -> Iterator[Path]:
    """Make a folder beside the place of a submission, in which all is prepared; it is removed in the end.

    Args:
        root: the place: nothing, or an empty folder.

    Raises:
        UsageError: something is there, or an archive of that name.
        EnvironmentMissingError: the folder that it is to be in is not there, or the disk refuses.
    """
    if root.name in ("", ".."):
        raise UsageError(f"{str(root)!r} is no name for a submission", "give a new folder: --out ROOT")
    refuse_taken(name_archive(root))
    with explained_write(root):
        is_empty = is_real_folder(root) and not any(root.iterdir())
    if not is_empty:
        refuse_taken(root)
    with made_aside(root) as part:
        yield part


def make_submission(
    part: Path,
    root: Path,
    images: Sequence[PrivateImage],
    detectors: Mapping[str, Path],
    tools: Tools,
    say: Callable[[str], None],
) -> dict[str, Written]:
    """Write the maps of all images, inspect them, pack them, and give both their names.

    Args:
        part: of `begun_submission`.
        root: the place of the submission.
        images: of all categories, in the order of their places.
        detectors: the folder of the detector of each category.
        tools: how detectors are opened.
        say: takes a line about what is done.

    Returns:
        What was written, by category.

    Raises:
        UsageError: an image cannot be read, a detector cannot be used, or its values do not fit half precision.
        EnvironmentMissingError: the disk refuses, or is full.
    """
    _check_room(part, images)
    for category, folder in detectors.items():
        _check_detector(category, folder)
    own = part / root.name

    def write(name: str, content: bytes) -> None:
        with explained_write(root):
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            (own / name).write_bytes(content)

    written = {}
    for category, of_category in groupby(images, key=lambda image: image.place.category):
        written[category] = _write_category(write, detectors[category], list(of_category), tools, say)
    say("reading every file again, and packing them ...")
    _refuse_faults(inspect_submission(own, {image.place: image.size_px for image in images}).faults)
    with explained_write(root):
        pack_archive(own, name_archive(own))
    _refuse_faults(compare_archive(name_archive(own), own))
    _publish(own, root)
    return written


def _check_room(part: Path, images: Sequence[PrivateImage]) -> None:
    needed = sum(height * width * _BYTES_A_PIXEL for height, width in (image.size_px for image in images))
    free = shutil.disk_usage(part).free
    if needed > free:
        raise EnvironmentMissingError(
            f"{part.parent} has {free / 2**30:.1f} GiB left, and the maps with their archive take about"
            f" {needed / 2**30:.1f} GiB",
            "free space there, or give another place",
        )


def _check_detector(category: str, folder: Path) -> None:
    """See before the first map that the files of a detector are whole, and that it is one of this category."""
    trained_on = read_card(folder).provenance.get("category", category)
    if trained_on != category:
        raise UsageError(f"the detector in {folder} is one of {trained_on}, and not of {category}")


def _write_category(
    write: _Write, folder: Path, images: Sequence[PrivateImage], tools: Tools, say: Callable[[str], None]
) -> Written:
    with StandaloneDetector(folder, weights=tools.weights, device=tools.device, batch=tools.batch) as detector:
        category, card = images[0].place.category, detector.card
        thresholds = _set_thresholds(detector, tools.false_positives)
        if thresholds.pixel is None:
            raise UsageError(f"the detector in {folder} has no threshold: {thresholds.refused}")
        scale = HalfScale.of(thresholds.pixel, detector.normal.peaks)
        say(
            f"{category}: {counted(len(images), 'image')}; pixels above {thresholds.pixel:.6g} are marked, which"
            f" at most {thresholds.false_positives:.3g} of normal scenes have ({thresholds.scenes} were held out);"
            f" maps are (raw - {scale.zero:.6g}) / {scale.unit:g}"
        )
        marked = _write_maps(write, detector, images, scale, thresholds.pixel, say)
    return Written(card=card, thresholds=thresholds, scale=scale, images=len(images), marked=marked)


def _set_thresholds(detector: StandaloneDetector, false_positives: float | None) -> ThresholdsCard:
    """Return thresholds that promise the share that is asked for, or the least that so few scenes can promise."""
    stored = detector.card.thresholds
    share = stored.false_positives if false_positives is None else false_positives
    least = 1 / (len(detector.normal.scores) + 1)
    return set_thresholds(detector.normal, max(share, least), stored.best_f1, stored.caveat)


def _write_maps(
    write: _Write,
    detector: StandaloneDetector,
    images: Sequence[PrivateImage],
    scale: HalfScale,
    threshold: float,
    say: Callable[[str], None],
) -> int:
    """Write maps and thresholded maps, and return how many images have a pixel above the threshold."""
    marked = 0
    listed = (Listed(image.path, Path(image.path.name)) for image in images)
    for image, answered in zip(images, predict_files(detector, listed), strict=True):
        prediction = answered.prediction
        if prediction is None:
            raise BadDataError(f"no map can be made: {answered.problem}")
        if prediction.image_px != image.size_px:
            raise BadDataError(f"{image.path} was changed while the maps were made", "begin anew")
        for note in prediction.notes:
            say(f"warning: {image.path} {note}")
        heat = prediction.map_at_image()
        is_anomalous = heat > threshold
        marked += bool(is_anomalous.any())
        write(image.place.map_path, pack_map(scale.convert(heat, str(image.path))))
        write(image.place.mask_path, pack_picture(is_anomalous.astype(np.uint8) * 255, "PNG"))
    return marked


def _refuse_faults(faults: Sequence[str]) -> None:
    """See that what was written is what the server takes.

    Raises:
        EnvironmentMissingError: it is not: somebody else, or a broken disk, changed it.
    """
    if faults:
        shown = "; ".join(faults[:_SHOWN_FAULTS])
        raise EnvironmentMissingError(
            f"{counted(len(faults), 'fault')} in what was just written, so nothing is submitted: {shown}",
            "did another process change it, or is the disk broken?",
        )


def _publish(own: Path, root: Path) -> None:
    """Give folder and archive their names, once all of it is on the disk; both of them, or neither.

    Raises:
        UsageError: something took one of the names meanwhile.
        EnvironmentMissingError: the disk refuses.
    """
    archive = name_archive(root)
    refuse_taken(archive)
    with explained_write(root):
        os.sync()
        own.rename(root)  # an empty folder gives way, one with something in it does not
        try:
            name_archive(own).rename(archive)
        except BaseException:
            root.rename(own)
            raise

"""The papers of a study's exams: drawn once per category, and kept by the host's store of arrays.

What a score of them is worth is in `evaluation.exam`.
"""

import logging
from collections.abc import Sequence

import numpy as np
from PIL import Image

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.decoded import describe_images, has_mask, load_images, load_masks, shrink_mask
from anomalyvfm_opt.data.frames import Frames, draw_corner
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.data.records import ImageRecord
from anomalyvfm_opt.data.split import Split
from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.evaluation.exam import Exam, Exams
from anomalyvfm_opt.synthesis.exam import Window, fill_exam, list_bases, list_kinds

_log = logging.getLogger(__name__)
_SEED = 20261  # one exam for all trials and arms
_VERSION = 1  # counts up when a generator changes what it makes
_LEAST_HELD_OUT = 4  # for the synthetic exam: two to calibrate on, two to sit it


def set_exams(
    arrays: ArrayStore, split: Split, geometry: Geometry, anomalies: int, drawn_in: Geometry | None = None
) -> Exams:
    """Return the exams of a division.

    The search images (lock: half) are the labelled one, calibrated on all held-out normal images. In the synthetic
    one every second held-out image sits, and is what the anomalies are made of; the others calibrate. A labelled
    exam is enough for a search: images that no synthetic one can be made of do not stop it.

    Args:
        arrays: the host's store of decoded images.
        split: the division.
        geometry: of the images.
        anomalies: how many synthetic anomalies there are.
        drawn_in: the geometry that these are made in, and brought to the images' from: one for all sizes of a
            search, so that each sits the same exam. None for the images' own.

    Raises:
        BadDataError: there are no search images, and no synthetic exam can be made.
    """
    if not split.search:
        return Exams(None, _set_synthetic(arrays, split, geometry, anomalies, drawn_in or geometry))
    labelled = _set_labelled(arrays, split.search, split.held_out, geometry)
    try:
        return Exams(labelled, _set_synthetic(arrays, split, geometry, anomalies, drawn_in or geometry))
    except BadDataError as error:
        _log.warning("trials are scored on labelled images alone: %s", error.message)
        return Exams(labelled, None)


def count_frames(held_out: int, anomalies: int) -> int:
    """Count the frames that the synthetic exam keeps, with a mask each: of normal images, and of anomalies."""
    return held_out // 2 + anomalies


def set_locked(arrays: ArrayStore, split: Split, geometry: Geometry) -> Exam:
    """Return the exam of the locked images, calibrated on all held-out normal ones; a confirmation's alone."""
    return _set_labelled(arrays, split.locked, split.held_out, geometry)


def _set_labelled(
    arrays: ArrayStore, labelled: Sequence[ImageRecord], held_out: Sequence[ImageRecord], geometry: Geometry
) -> Exam:
    return Exam(
        keys=tuple(record.key for record in labelled),
        images=load_images(arrays, labelled, geometry),
        labels=np.array([record.label == "bad" for record in labelled], dtype=np.int64),
        masks=load_masks(arrays, labelled, geometry),
        is_masked=np.array([has_mask(record) for record in labelled]),
        calibration=load_images(arrays, held_out, geometry),
        clusters=tuple(record.scene_id for record in labelled),
    )


def _set_synthetic(
    arrays: ArrayStore, split: Split, geometry: Geometry, anomalies: int, drawn_in: Geometry
) -> Exam:
    """Set every second held-out image against anomalies made of it, by generators that no trial trains on."""
    if len(split.held_out) < _LEAST_HELD_OUT:
        raise BadDataError(
            f"the synthetic exam needs at least {_LEAST_HELD_OUT} held-out normal images, and there are"
            f" {len(split.held_out)}",
            "add normal images to validation",
        )
    held_out = load_images(arrays, split.held_out, geometry)
    sitting = slice(1, None, 2)
    normal = held_out.choose(sitting)
    bases = list_bases(len(normal), anomalies, _SEED)
    drawn = normal if drawn_in == geometry else load_images(arrays, split.held_out, drawn_in).choose(sitting)
    papers = _open_papers(arrays, describe_images(split.held_out, drawn_in), drawn, bases)
    if drawn_in != geometry:
        papers = _open_resized(arrays, describe_images(split.held_out, geometry), papers, drawn, normal, bases)
    keys = [record.key for record in split.held_out[sitting]]
    keys += [f"exam/{index:04d}_{kind}" for index, kind in enumerate(list_kinds(anomalies))]
    scenes = [record.scene_id for record in split.held_out[1::2]]
    content_px = np.concatenate([normal.content_px, normal.content_px[bases]])
    return Exam(
        keys=tuple(keys),
        images=Frames(papers[..., :3], content_px, geometry),
        labels=np.array([0] * len(normal) + [1] * anomalies, dtype=np.int64),
        masks=papers[..., 3],
        is_masked=np.ones(len(keys), dtype=bool),
        calibration=held_out.choose(slice(None, None, 2)),
        clusters=(*scenes, *(scenes[base] for base in bases)),
    )


def _open_papers(arrays: ArrayStore, content: str, normal: Frames, bases: list[int]) -> np.ndarray:
    """Return the n normal images, and anomalies made of them: uint8 (m, h, w, 4), the last channel a mask.

    An anomaly lies inside a part of its image as large as what the network sees at once.
    """

    def choose_window(index: int, rng: np.random.Generator) -> Window:
        height, width = (int(length) for length in normal.content_px[index])
        if not normal.geometry.is_tiled:
            return slice(0, height), slice(0, width)
        side = normal.geometry.tile_px
        top, left = draw_corner(normal.content_px[index], side, rng)
        return slice(top, min(top + side, height)), slice(left, min(left + side, width))

    def build(out: np.ndarray) -> None:
        for index in range(len(normal)):
            out[index, ..., :3] = normal.read(index)
        made = out[len(normal) :]
        fill_exam(made[..., :3], made[..., 3], normal.read, bases, _SEED, choose_window)

    shape = (len(normal) + len(bases), *normal.geometry.frame_px, 4)
    return arrays.get(f"exam {_VERSION} {_SEED} {len(bases)} {normal.geometry} {content}", build, shape, np.uint8)


def _open_resized(
    arrays: ArrayStore, content: str, papers: np.ndarray, drawn: Frames, normal: Frames, bases: list[int]
) -> np.ndarray:
    """Return the same papers in the geometry of `normal`: uint8 (m, h, w, 4).

    Outside of its mask an anomaly is its normal image as decoded at that size: resized twice, the whole image
    would give itself away.

    Args:
        arrays: the host's store of arrays.
        content: describes the held-out images at that size.
        papers: of `_open_papers`, uint8 (m, h', w', 4).
        drawn: the n normal images that they were made of.
        normal: the same images at the wanted size.
        bases: which of them each anomaly is made of.
    """

    def build(out: np.ndarray) -> None:
        for index in range(len(normal)):
            out[index, ..., :3] = normal.read(index)
        for index, base in enumerate(bases, start=len(normal)):
            (from_height, from_width), (height, width) = drawn.content_px[base], normal.content_px[base]
            large = np.ascontiguousarray(papers[index, :from_height, :from_width])
            mask = shrink_mask(large[..., 3], (height, width))
            resized = Image.fromarray(large[..., :3]).resize((width, height), Image.Resampling.BICUBIC)
            out[index, ..., :3] = normal.read(base)
            out[index, :height, :width, :3][mask] = np.asarray(resized)[mask]
            out[index, :height, :width, 3] = mask

    shape = (len(papers), *normal.geometry.frame_px, 4)
    where = f"{drawn.geometry} {normal.geometry}"
    return arrays.get(f"exam {_VERSION} {_SEED} {len(bases)} {where} {content}", build, shape, np.uint8)

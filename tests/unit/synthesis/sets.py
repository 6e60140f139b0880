"""Pools and exams in memory, to look at what is filled into the arrays of a host."""

import numpy as np

from anomalyvfm_opt.synthesis.change import Pair, Pixels
from anomalyvfm_opt.synthesis.exam import fill_exam, list_bases, list_kinds
from anomalyvfm_opt.synthesis.mixture import fill_pool


def make_pool(kind: str, intensity: float, normals: Pixels, size: int, seed: int) -> Pair:
    """Images, uint8 (size, h, w, 3), and masks, uint8 {0, 1} (size, h, w)."""
    images = np.empty((size, *normals.shape[1:]), np.uint8)
    masks = np.empty(images.shape[:3], np.uint8)
    fill_pool(images, masks, kind, intensity, normals, seed)
    return images, masks


def make_exam(normals: Pixels, count: int, seed: int) -> tuple[Pixels, Pixels, list[str]]:
    """Images, uint8 (count, h, w, 3); masks, uint8 {0, 1} (count, h, w); kinds, `count` names."""
    images = np.empty((count, *normals.shape[1:]), np.uint8)
    masks = np.empty(images.shape[:3], np.uint8)
    fill_exam(images, masks, lambda index: normals[index], list_bases(len(normals), count, seed), seed)
    return images, masks, list_kinds(count)

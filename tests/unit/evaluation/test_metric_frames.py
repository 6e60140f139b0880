"""Masks and maps are brought to one resolution, and no defect vanishes on the way."""

import numpy as np
import pytest

from anomalyvfm_opt.evaluation.metric_frames import reduce_masks, resize_maps


@pytest.mark.parametrize(
    ("shape", "reduced"), [((40, 800), (40, 800)), ((30, 801), (15, 401)), ((2000, 7), (667, 3))]
)
def test_masks_of_large_frames_are_reduced_and_keep_their_smallest_defects(
    shape: tuple[int, int], reduced: tuple[int, int]
) -> None:
    masks = np.zeros((3, *shape), np.uint8)
    masks[2, -1, -1] = 1
    found = reduce_masks(masks, np.array([0, 2]))
    assert found.shape == (2, *reduced)
    assert found[0].max() == 0
    assert np.argwhere(found[1]).tolist() == [[reduced[0] - 1, reduced[1] - 1]]


def test_maps_are_resized_between_cells() -> None:
    maps = np.array([[[0.0, 1.0], [0.0, 1.0]]], np.float32)
    np.testing.assert_allclose(resize_maps(maps, (2, 4))[0], [[0, 0.25, 0.75, 1]] * 2)

"""Heat over images is on one scale, and leaves what is normal as it is."""

import io

import numpy as np
import pytest
from PIL import Image

from anomalyvfm_opt.inference.pictures import HeatScale, pack_picture, paint_overlay


def test_the_scale_goes_from_cold_over_warm_to_hot() -> None:
    scale = HeatScale(2.0, 4.0)
    np.testing.assert_allclose(scale.measure(np.array([-1.0, 2.0, 3.0, 4.0, 6.0, 99.0])), [0, 0, 0.25, 0.5, 1, 1])


@pytest.mark.parametrize("scale", [HeatScale(0.0, 0.0), HeatScale(3.0, 3.0), HeatScale(-2.0, -2.0)])
def test_a_scale_of_one_scene_is_one(scale: HeatScale) -> None:
    assert scale.measure(np.array([scale.cold]))[0] == 0
    assert np.isfinite(scale.measure(np.array([-5.0, 5.0]))).all()


def test_cold_pixels_are_left_alone_and_hot_ones_are_red() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    painted = paint_overlay(image, np.array([[0.0, 1.0], [2.0, 9.0]], np.float32), HeatScale(1.0, 2.0))
    assert (painted[0] == 100).all()
    assert painted[1, 1, 0] > painted[1, 1, 1]
    assert painted.dtype == np.uint8
    assert (image == 100).all()


def test_a_map_is_kept_to_the_bit() -> None:
    heat = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(pack_picture(heat, "TIFF")))), heat)

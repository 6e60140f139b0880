"""AU-PRO in draws of images, against the exact metric on the images drawn."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomalyvfm_opt.evaluation.au_pro_resample import resample_au_pro
from anomalyvfm_opt.evaluation.metrics import au_pro, evaluate


def draw_maps(seed: int, images: int, side_px: int, gap: float, levels: float) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps of about `levels` values, and masks with several regions in every second image."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((images, side_px, side_px)), (0, 2, 2))
    masks = (ndimage.gaussian_filter(rng.standard_normal(smooth.shape), (0, 2, 2)) > 0.25).astype(np.uint8)
    masks[::2] = 0
    shifts = rng.normal(0, 0.1, (images, 1, 1))  # some images score higher than others
    maps = smooth + gap * masks + shifts
    return (np.round(maps * levels) / levels).astype(np.float32), masks


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.integers(2, 8),
    st.integers(16, 40),
    st.sampled_from([-0.3, 0.0, 0.1, 0.3, 2.0]),
    st.sampled_from([2.0, 7.0, 50.0, 1e6]),
    st.sampled_from([0.05, 0.30, 1.0]),
)
def test_each_draw_is_near_the_exact_metric_of_what_was_drawn(
    seed: int, images: int, side_px: int, gap: float, levels: float, limit: float
) -> None:
    maps, masks = draw_maps(seed, images, side_px, gap, levels)
    if not masks.any():
        return
    counts = np.random.default_rng(seed).integers(0, 4, (4, images))
    counts[0] = 1
    counts[1:, np.flatnonzero(masks.any(axis=(1, 2)))[0]] += 1
    found = resample_au_pro(maps, masks, None, counts, limit)
    for value, times in zip(found, counts, strict=True):
        drawn = np.repeat(np.arange(images), times)
        assert value == pytest.approx(au_pro(maps[drawn], masks[drawn], limit), abs=2e-3)


def test_large_maps_whose_edges_come_of_a_sample() -> None:
    """More pixels than the edges are chosen by, and a tenth of the normal ones share the score at the limit."""
    maps, masks = draw_maps(0, 40, 400, 0.2, 1e6)
    shared = np.quantile(maps, 0.95)
    maps[np.abs(maps - shared) < 0.02] = shared
    [value] = resample_au_pro(maps, masks, None, np.ones((1, 40), int))
    assert value == pytest.approx(au_pro(maps, masks, 0.05), abs=2e-3)


def test_padding_counts_for_nothing() -> None:
    maps, masks = draw_maps(5, 6, 32, 0.2, 1e6)
    is_image = np.ones(maps.shape, dtype=bool)
    is_image[::3, 20:] = is_image[1, :, 25:] = False
    maps[~is_image] += 50
    labels = np.array([0, 1] * 3)
    exact = evaluate(labels + 0.0, labels, maps, masks, is_image).au_pro_005
    [value] = resample_au_pro(maps, masks, is_image, np.ones((1, 6), int))
    assert value == pytest.approx(exact, abs=2e-3)


def test_known_cases() -> None:
    masks = np.zeros((2, 20, 20), np.uint8)
    masks[0, 2:5, 2:9] = masks[0, 12:14, 3:5] = 1
    counts = np.array([[1, 1], [3, 0], [1, 5]])
    assert resample_au_pro(masks.astype(np.float32), masks, None, counts) == pytest.approx([1, 1, 1])
    constant = np.zeros(masks.shape, np.float32)
    assert resample_au_pro(constant, masks, None, counts) == pytest.approx([0.025] * 3)
    half = masks.astype(np.float32)
    half[0, 12:14, 3:5] = -1  # the small region is missed; it counts as much as the large one
    assert resample_au_pro(half, masks, None, counts) == pytest.approx([0.5] * 3, abs=2e-3)


def test_a_draw_without_a_region_has_no_value() -> None:
    maps, masks = draw_maps(1, 4, 16, 0.2, 1e6)
    found = resample_au_pro(maps, masks, None, np.array([[2, 0, 2, 0], [1, 1, 1, 1], [0, 0, 0, 0]]))
    assert np.isnan(found).tolist() == [True, False, True]
    masks[:] = 1
    assert np.isnan(resample_au_pro(maps, masks, None, np.ones((1, 4), int))).all()


def test_unusable_maps_are_refused() -> None:
    maps, masks = draw_maps(1, 4, 16, 0.2, 1e6)
    counts = np.ones((2, 4), int)
    with pytest.raises(ValueError, match="images, height, width"):
        resample_au_pro(maps, masks[:3], None, counts)
    with pytest.raises(ValueError, match="draws, images"):
        resample_au_pro(maps, masks, None, counts[:, :3])
    with pytest.raises(ValueError, match="fpr_limit"):
        resample_au_pro(maps, masks, None, counts, 0.0)
    maps[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        resample_au_pro(maps, masks, None, counts)


def test_four_hundred_draws_take_a_moment() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((100, 192, 192), dtype=np.float32)
    masks = np.zeros(maps.shape, np.uint8)
    masks[::2, 50:90, 60:80] = masks[::3, 150:160, 100:180] = 1
    counts = rng.integers(0, 3, (400, 100))
    start = time.process_time()
    resample_au_pro(maps, masks, None, counts)
    assert time.process_time() - start < 2  # about 0.3 s

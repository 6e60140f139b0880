"""What every generator of training anomalies promises, and what each of the three does besides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.synthesis.change import VISIBLE_LEVELS
from anomalyvfm_opt.synthesis.contextual import make_contextual
from anomalyvfm_opt.synthesis.mixture import INTENSITIES
from anomalyvfm_opt.synthesis.structural import make_structural
from anomalyvfm_opt.synthesis.texture import make_texture

GENERATORS = [make_texture, make_structural, make_contextual]
generators = pytest.mark.parametrize("generate", GENERATORS)


def assert_truthful(image, altered, mask):
    """The mask says where the image changed: nowhere outside it, and in all of its parts inside."""
    assert altered.shape == image.shape
    assert altered.dtype == np.uint8
    assert mask.shape == image.shape[:2]
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 1}
    assert mask.sum() >= 3
    change = np.abs(altered.astype(int) - image).max(-1)
    assert not change[mask == 0].any()
    visible = change >= VISIBLE_LEVELS
    assert visible[mask == 1].mean() > 0.6
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    assert all(visible[parts == i].any() for i in range(1, count + 1))


@generators
@pytest.mark.parametrize("intensity", INTENSITIES)
def test_mask_tells_the_truth(generate, intensity, normals):
    for seed in range(20):
        altered, mask = generate(normals[0], normals[1:], intensity, np.random.default_rng(seed))
        assert_truthful(normals[0], altered, mask)


@generators
@settings(max_examples=25, deadline=None)
@given(height=st.integers(16, 90), width=st.integers(16, 90), seed=st.integers(0, 2**31))
def test_any_image_size(generate, height, width, seed):
    normals = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    altered, mask = generate(normals[0], normals[1:], 1.0, np.random.default_rng(seed))
    assert_truthful(normals[0], altered, mask)


@generators
def test_seed_decides_and_inputs_stay(generate, normals):
    before = normals.copy()
    first, again, other = (
        generate(normals[0], normals[1:], 1.0, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    assert np.array_equal(normals, before)


@generators
def test_intensity_is_strength(generate, normals):
    """Averaged over many anomalies, each level changes the image more than the level below it."""

    def mean_change(intensity):
        changes = []
        for seed in range(60):
            altered, mask = generate(normals[0], normals[1:], intensity, np.random.default_rng(seed))
            changes.append(np.abs(altered.astype(int) - normals[0])[mask == 1].mean())
        return np.mean(changes)

    strengths = [mean_change(intensity) for intensity in (0.33, 0.67, 1.0, 1.5)]
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.6 * strengths[2]


@generators
def test_grey_stays_grey_and_colour_is_coloured(generate, normals):
    altered, mask = generate(normals[0], normals[1:], 1.0, np.random.default_rng(0))
    is_grey = np.ptp(normals[0], axis=-1).max() == 0
    assert (np.ptp(altered, axis=-1)[mask == 1].max() == 0) == is_grey


@generators
def test_sizes_scale_with_the_image(generate):
    """The part of the image that is altered does not depend on the resolution."""
    parts = []
    for side in (96, 288):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        masks = [generate(images[0], images[1:], 1.0, np.random.default_rng(seed))[1] for seed in range(60)]
        parts.append(np.mean(masks))
    assert parts[0] == pytest.approx(parts[1], rel=0.3)


@generators
def test_shapes_vary(generate, normals):
    """Both compact and irregular regions occur, and sizes spread over more than a factor of two."""
    masks = [generate(normals[0], normals[1:], 1.0, np.random.default_rng(seed))[1] for seed in range(60)]
    areas = [mask.sum() for mask in masks]
    fill = []
    for mask in masks:
        rows, columns = np.nonzero(mask)
        fill.append(mask.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
    assert np.quantile(areas, 0.9) > 2 * np.quantile(areas, 0.1)
    assert min(fill) < 0.6
    assert max(fill) > 0.85


@generators
@pytest.mark.parametrize("intensity", [0.0, -1.0, float("nan"), float("inf")])
def test_intensity_out_of_range_is_refused(generate, intensity, normals):
    with pytest.raises(ValueError, match="intensity"):
        generate(normals[0], normals[1:], intensity, np.random.default_rng(0))


@pytest.mark.parametrize(("intensity", "expected_sd"), [(0.67, 20), (1.0, 30), (1.17, 35)])
def test_texture_noise_is_that_of_the_first_experiment(intensity, expected_sd):
    """On mid-grey nothing is mirrored: the SD of the strongest patches is that of v1.2's noise."""
    image = np.full((256, 256, 3), 128, np.uint8)
    spreads = []
    for seed in range(80):
        altered, mask = make_texture(image, image[None], intensity, np.random.default_rng(seed))
        if mask.sum() > 300:
            spreads.append((altered.astype(float) - 128)[mask == 1].std())
    assert np.quantile(spreads, 0.9) == pytest.approx(expected_sd, rel=0.12)


@pytest.mark.parametrize("shade", [0, 255])
def test_texture_on_saturated_surface_is_not_lost(shade):
    """Half of the noise would leave 0-255 and is mirrored: its mean size is what it is elsewhere."""
    image = np.full((256, 256, 3), shade, np.uint8)
    middle = np.full((256, 256, 3), 128, np.uint8)
    for seed in range(10):
        sizes = []
        for surface in (image, middle):
            altered, mask = make_texture(surface, surface[None], 1.0, np.random.default_rng(seed))
            sizes.append(np.abs(altered.astype(float) - surface)[mask == 1].mean())
        assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_structural_fill_has_contrast_on_any_shade():
    for shade in (0, 60, 128, 255):
        image = np.full((128, 128, 3), shade, np.uint8)
        for seed in range(30):
            altered, mask = make_structural(image, image[None], 1.0, np.random.default_rng(seed))
            change = np.abs(altered.astype(int) - shade)[mask == 1]
            assert change.max() >= 0.65 * 90 - 1


def test_contextual_marks_only_what_differs():
    """Two images that are equal in their left halves: whatever is marked there came from elsewhere."""
    image = np.full((96, 96, 3), 100, np.uint8)
    other = image.copy()
    other[:, 48:] = 180
    for seed in range(30):
        altered, mask = make_contextual(image, other[None], 1.0, np.random.default_rng(seed))
        assert_truthful(image, altered, mask)
        assert (altered[mask == 1] > 100 + VISIBLE_LEVELS - 1).all()


def test_contextual_blends_within_the_stated_share():
    image, other = np.zeros((64, 64, 3), np.uint8), np.full((1, 64, 64, 3), 200, np.uint8)
    for intensity, low, high in ((1.0, 0.6, 0.8), (0.33, 0.198, 0.264), (1.5, 0.9, 1.0)):
        peaks = []
        for seed in range(40):
            altered, _ = make_contextual(image, other, intensity, np.random.default_rng(seed))
            peaks.append(altered.max() / 200)
        assert low - 0.01 <= min(peaks)
        assert max(peaks) <= high + 0.01


def test_contextual_refuses_what_cannot_change():
    flat = np.full((3, 64, 64, 3), 90, np.uint8)
    with pytest.raises(BadDataError, match="no visible anomaly"):
        make_contextual(flat[0], flat[1:], 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least one image"):
        make_contextual(flat[0], flat[:0], 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least one image"):
        make_contextual(flat[0], flat[:, :32], 1.0, np.random.default_rng(0))

import numpy as np
import pytest
from scipy import ndimage

from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.synthesis.change import VISIBLE_LEVELS
from anomalyvfm_opt.synthesis.exam import EXAM_KINDS, make_cutpaste, make_perlin, make_scar
from anomalyvfm_opt.synthesis.foreign import draw_foreign, perlin_noise
from tests.unit.synthesis.sets import make_exam

GENERATORS = [make_perlin, make_cutpaste, make_scar]


@pytest.mark.parametrize("generate", GENERATORS)
def test_mask_tells_the_truth(generate, normals):
    for seed in range(25):
        altered, mask = generate(normals[0], np.random.default_rng(seed))
        change = np.abs(altered.astype(int) - normals[0]).max(-1)
        assert set(np.unique(mask)) == {0, 1}
        assert not change[mask == 0].any()
        assert (change >= VISIBLE_LEVELS)[mask == 1].mean() > 0.6
        assert change[mask == 1].mean() >= 10  # moderate, never invisible


@pytest.mark.parametrize("generate", GENERATORS)
def test_colour_is_not_given_to_grey_images(generate, normals):
    is_grey = np.ptp(normals[0], axis=-1).max() == 0
    for seed in range(10):
        altered, _ = generate(normals[0], np.random.default_rng(seed))
        assert not is_grey or np.ptp(altered, axis=-1).max() == 0


def test_exam_is_even_deterministic_and_uses_all_normals(normals):
    images, masks, kinds = make_exam(normals, 18, 3)
    again = make_exam(normals, 18, 3)
    assert np.array_equal(images, again[0])
    assert np.array_equal(masks, again[1])
    assert [kinds.count(kind) for kind in EXAM_KINDS] == [6, 6, 6]
    assert images.shape == (18, *normals.shape[1:])
    assert masks.any(axis=(1, 2)).all()
    untouched = [
        [bool((image == normal).all(-1)[mask == 0].all()) for normal in normals]
        for image, mask in zip(images, masks, strict=True)
    ]
    assert (np.sum(untouched, axis=0) == 3).all()  # 18 items on 6 normal images


def test_exam_begins_alike_whatever_its_length_and_differs_by_seed(normals):
    short, long, other = make_exam(normals, 5, 0), make_exam(normals, 13, 0), make_exam(normals, 5, 1)
    assert np.array_equal(short[0], long[0][:5])
    assert short[2] == long[2][:5]
    assert not np.array_equal(short[1], other[1])


def test_exam_sizes_vary_but_stay_moderate():
    normals = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    _, masks, _ = make_exam(normals, 90, 0)
    areas = masks.mean(axis=(1, 2))
    assert areas.min() < 0.005
    assert areas.max() > 0.03
    assert areas.max() < 0.2


def test_cutpaste_pastes_what_the_image_has():
    """An image of two shades: a jittered patch stays within the jitter of those shades."""
    image = np.full((96, 96, 3), 100, np.uint8)
    image[:, 48:] = 200
    for seed in range(20):
        altered, mask = make_cutpaste(image, np.random.default_rng(seed))
        pasted = altered[mask == 1].astype(float)
        assert pasted.min() >= 100 * 0.9 - 12
        assert pasted.max() <= 200 * 1.1 + 12


def test_scars_are_thin(normals):
    for seed in range(30):
        image = np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
        _, mask = make_scar(image, np.random.default_rng(seed))
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))
        assert depth.max() <= 5  # half of the widest scar, 20 px at 518 px, and a pixel of rotation


def test_flat_images_cannot_be_examined_by_pasting_nothing():
    black = np.zeros((48, 48, 3), np.uint8)
    for generate in (make_cutpaste, make_scar):
        with pytest.raises(BadDataError, match="no visible anomaly"):
            generate(black, np.random.default_rng(0))


def test_perlin_noise_is_smooth_and_vanishes_at_its_nodes():
    noise = perlin_noise(120, 60, (4, 3), np.random.default_rng(0))
    assert noise.shape == (120, 60)
    assert noise[::30, ::20] == pytest.approx(0, abs=1e-6)
    assert 0.2 < np.abs(noise).max() <= 1
    assert np.abs(np.diff(noise, axis=0)).max() < 0.15


def test_foreign_textures_differ_and_stay_in_range(normals):
    textures = [draw_foreign(normals[0], False, np.random.default_rng(seed)) for seed in range(12)]
    for texture in textures:
        assert texture.shape == normals[0].shape
        assert texture.min() >= 0
        assert texture.max() <= 255
        assert texture.std() > 5
    assert len({texture.tobytes() for texture in textures}) == 12

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyvfm_opt.errors import BadDataError
from anomalyvfm_opt.spec.parameters import Parameters
from anomalyvfm_opt.spec.references import reference_parameters
from anomalyvfm_opt.synthesis.mixture import KINDS, Mixture, draw, fill_pool
from tests.unit.synthesis.sets import make_pool

unit = st.floats(0, 1)


@st.composite
def mixtures(draw_from, max_count=400):
    texture = draw_from(unit)
    structural = draw_from(unit) * (1 - texture)
    return Mixture(
        texture=texture,
        structural=structural,
        contextual=max(0.0, 1 - texture - structural),
        count=draw_from(st.integers(0, max_count)),
        intensity=1.0,
    )


def mixture_of(parameters: Parameters) -> Mixture:
    return Mixture(
        texture=parameters.texture,
        structural=parameters.structural,
        contextual=parameters.contextual,
        count=parameters.synthesis_count,
        intensity=parameters.synthesis_intensity,
    )


@given(mixtures(max_count=10**6))
def test_counts_sum_and_are_rounded_shares(mixture):
    counts = mixture.counts()
    assert tuple(counts) == KINDS
    assert sum(counts.values()) == mixture.count
    for kind, number in counts.items():
        assert number >= 0
        assert abs(number - mixture.count * getattr(mixture, kind)) < 1 + 1e-6


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_counts_give_back_whole_numbers(texture, structural, contextual):
    total = texture + structural + contextual
    if total:
        mixture = Mixture(
            texture=texture / total,
            structural=structural / total,
            contextual=contextual / total,
            count=total,
            intensity=1.0,
        )
        assert list(mixture.counts().values()) == [texture, structural, contextual]


def test_counts_of_the_references():
    assert list(mixture_of(reference_parameters("v1.1", "can", 64)).counts().values()) == [30, 30, 30]
    assert list(mixture_of(reference_parameters("v1.2", "walnuts", 64)).counts().values()) == [40, 25, 25]
    assert list(mixture_of(reference_parameters("v1.2", "vial", 64)).counts().values()) == [20, 35, 35]


def test_largest_remainder_gets_the_rest():
    assert list(
        Mixture(texture=0.48, structural=0.30, contextual=0.22, count=10, intensity=1.0).counts().values()
    ) == [5, 3, 2]
    assert list(
        Mixture(texture=0.42, structural=0.29, contextual=0.29, count=2, intensity=1.0).counts().values()
    ) == [1, 1, 0]


@pytest.mark.parametrize(
    "values",
    [
        (0.5, 0.5, 0.1, 10, 1.0),
        (0.2, 0.2, 0.2, 10, 1.0),
        (-0.1, 0.6, 0.5, 10, 1.0),
        (float("nan"), 0.5, 0.5, 10, 1.0),
        (0.4, 0.3, 0.3, -1, 1.0),
        (0.4, 0.3, 0.3, 10, 0.0),
        (0.4, 0.3, 0.3, 10, float("nan")),
    ],
)
def test_impossible_mixtures_are_refused(values):
    with pytest.raises(ValueError, match=r"shares|count|intensity"):
        Mixture(**dict(zip((*KINDS, "count", "intensity"), values, strict=True)))


@given(mixtures(), st.integers(0, 2**32))
def test_draw_is_without_replacement_from_the_pool(mixture, seed):
    chosen = draw(mixture, 400, seed)
    again = draw(mixture, 400, seed)
    for kind, number in mixture.counts().items():
        assert len(chosen[kind]) == number
        assert len(set(chosen[kind].tolist())) == number
        assert all(0 <= index < 400 for index in chosen[kind])
        assert np.array_equal(chosen[kind], again[kind])


@given(mixtures(), mixtures(), st.integers(0, 1000))
def test_draws_of_one_seed_are_nested(first, second, seed):
    one, other = draw(first, 400, seed), draw(second, 400, seed)
    for kind in KINDS:
        shared = min(len(one[kind]), len(other[kind]))
        assert np.array_equal(one[kind][:shared], other[kind][:shared])


def test_draw_differs_by_seed_and_kind_and_covers_the_pool():
    mixture = Mixture(texture=0.5, structural=0.5, contextual=0.0, count=40, intensity=1.0)
    first, second = draw(mixture, 100, 0), draw(mixture, 100, 1)
    assert set(first["texture"].tolist()) != set(second["texture"].tolist())
    assert set(first["texture"].tolist()) != set(first["structural"].tolist())
    everything = np.concatenate([draw(mixture, 100, seed)["texture"] for seed in range(60)])
    assert set(everything.tolist()) == set(range(100))


def test_draw_refuses_a_pool_that_is_too_small():
    with pytest.raises(ValueError, match=r"60 texture anomalies .* pool of 50"):
        draw(Mixture(texture=0.6, structural=0.2, contextual=0.2, count=100, intensity=1.0), 50, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_larger_pool_begins_with_the_smaller(kind, normals):
    small, large = make_pool(kind, 0.67, normals, 4, 9), make_pool(kind, 0.67, normals, 9, 9)
    assert np.array_equal(small[0], large[0][:4])
    assert np.array_equal(small[1], large[1][:4])
    assert small[1].any(axis=(1, 2)).all()


def test_pool_depends_on_seed_kind_and_intensity(normals):
    pools = [
        make_pool("texture", 1.0, normals, 3, 0),
        make_pool("texture", 1.0, normals, 3, 1),
        make_pool("texture", 1.17, normals, 3, 0),
        make_pool("structural", 1.0, normals, 3, 0),
    ]
    for i, (_, masks) in enumerate(pools):
        assert all(not np.array_equal(masks, other) for _, other in pools[i + 1 :])


def test_parts_of_a_pool_fill_a_memory_map(normals, tmp_path):
    shape = (7, *normals.shape[1:])
    images = np.lib.format.open_memmap(tmp_path / "images.npy", "w+", np.uint8, shape)
    masks = np.lib.format.open_memmap(tmp_path / "masks.npy", "w+", np.uint8, shape[:3])
    fill_pool(images[4:], masks[4:], "structural", 1.0, normals, 5, start=4)
    fill_pool(images[:4], masks[:4], "structural", 1.0, normals, 5)
    whole = make_pool("structural", 1.0, normals, 7, 5)
    assert np.array_equal(images, whole[0])
    assert np.array_equal(masks, whole[1])


def test_every_normal_image_serves_in_a_large_pool():
    shades = np.arange(20, 220, 40, dtype=np.uint8)
    normals = np.broadcast_to(shades[:, None, None, None], (5, 48, 48, 3)).copy()
    images, _ = make_pool("structural", 1.0, normals, 60, 0)
    assert {int(np.bincount(image.ravel()).argmax()) for image in images} == set(shades.tolist())


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(0, 100))
def test_contextual_never_pastes_an_image_into_itself(count, seed):
    """Flat images of different shades: a paste from the same image would change nothing at all."""
    shades = np.linspace(20, 220, count).astype(np.uint8)
    normals = np.broadcast_to(shades[:, None, None, None], (count, 32, 32, 3)).copy()
    images, masks = make_pool("contextual", 1.0, normals, 4, seed)
    assert all(
        (image[mask == 1] != np.bincount(image.ravel()).argmax()).any()
        for image, mask in zip(images, masks, strict=True)
    )


def test_one_normal_image_is_enough_unless_it_is_flat(normals):
    _, masks = make_pool("contextual", 1.0, normals[:1], 3, 0)
    assert masks.any(axis=(1, 2)).all()
    with pytest.raises(BadDataError):
        make_pool("contextual", 1.0, np.full((1, 48, 48, 3), 7, np.uint8), 1, 0)


def test_unusable_requests_are_refused(normals):
    with pytest.raises(KeyError, match="rust"):
        make_pool("rust", 1.0, normals, 1, 0)
    with pytest.raises(ValueError, match="at least one normal"):
        make_pool("texture", 1.0, normals[:0], 1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_anomalies_lie_in_what_is_no_padding_of_their_own_image(kind: str, normals: np.ndarray) -> None:
    """One upright image among lying ones: none of them is confined to what all have in common."""
    height, width = normals.shape[1:3]
    content_px = np.tile((height // 2, width), (len(normals), 1))
    content_px[0] = (height, width // 2)
    images, masks = np.empty((40, *normals.shape[1:]), np.uint8), np.empty((40, height, width), np.uint8)
    fill_pool(images, masks, kind, 1.0, normals, 5, content_px=content_px)
    bases = [int(np.argmin([(image != normal).any(axis=-1).sum() for normal in normals])) for image in images]
    upright = np.array(bases) == 0
    assert upright.any()
    assert masks.any(axis=(1, 2)).all()
    assert not masks[~upright, height // 2 :].any()
    assert not masks[upright][:, :, width // 2 :].any()
    if kind != "contextual":  # whose patches come from where two images have content
        assert masks[~upright][:, :, width // 2 :].any()

import numpy as np
import pytest
import torch
from torch import Tensor

from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.evaluation.coreset import choose_coreset
from anomalyvfm_opt.evaluation.features import Features, TileFeatures


def wrap(patches: Tensor, batch: int = 100, content_px: tuple[int, int] = (64, 64)) -> TileFeatures:
    """Features (n, 4, 4, c) as those of square frames, in batches."""
    n, geometry = len(patches), Geometry.square(64, keeps_aspect=True)
    frames = Frames(np.zeros((n, 64, 64, 3), np.uint8), np.tile(content_px, (n, 1)), geometry)
    parts = (patches[start : start + batch] for start in range(0, n, batch))
    return TileFeatures(frames, (Features(part, torch.zeros(len(part), 2)) for part in parts))


def draw(n: int, channels: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, 4, 4, channels, generator=torch.Generator().manual_seed(seed))


def measure_gap(points: Tensor, chosen: np.ndarray) -> float:
    """Distance of the point that is farthest from the chosen ones."""
    return float(torch.cdist(points, points[chosen]).min(dim=1).values.max())


def test_few_patches_are_all_remembered() -> None:
    np.testing.assert_array_equal(choose_coreset(wrap(draw(3)), most=48, seed=0), np.arange(48))


def test_none_is_remembered_twice_and_none_too_many() -> None:
    equal = torch.ones(10, 4, 4, 6)
    for patches in (draw(10), equal):
        chosen = choose_coreset(wrap(patches), most=20, seed=0)
        assert len(chosen) == len(set(chosen.tolist())) == 20
        assert (np.diff(chosen) > 0).all()


def test_rare_patches_are_remembered() -> None:
    """Five clusters, four of which have one patch each among 800: a random draw would miss most of them."""
    patches = 0.01 * draw(50)
    flat = patches.view(-1, 6)
    rare = [17, 230, 444, 799]
    for axis, index in enumerate(rare):
        flat[index, axis] += 10
    assert set(rare) <= set(choose_coreset(wrap(patches), most=60, seed=0).tolist())


@pytest.mark.parametrize("channels", [6, 300], ids=["as they are", "projected"])
def test_no_patch_is_farther_away_than_after_a_random_choice(channels: int) -> None:
    patches = draw(60) @ torch.randn(6, channels, generator=torch.Generator().manual_seed(1))  # of 6 dimensions
    points = patches.reshape(-1, channels)
    chosen = choose_coreset(wrap(patches), most=90, seed=0)
    random = [np.random.default_rng(seed).choice(len(points), 90, replace=False) for seed in range(20)]
    assert measure_gap(points, chosen) < min(measure_gap(points, one) for one in random)


def test_batches_make_no_difference() -> None:
    whole, parts = (choose_coreset(wrap(draw(40), batch), most=60, seed=0) for batch in (100, 7))
    np.testing.assert_array_equal(whole, parts)


def test_padding_is_not_remembered() -> None:
    patches = draw(30)
    patches[:, 2:] += 100  # the lower half, which is padding
    chosen = choose_coreset(wrap(patches, content_px=(32, 64)), most=50, seed=0)
    assert len(chosen) == 50
    assert (chosen % 16 < 8).all()


def test_more_patches_than_can_be_compared_are_thinned_first() -> None:
    chosen = [choose_coreset(wrap(draw(40)), most=4, seed=seed) for seed in (0, 0, 1)]
    assert all(len(one) == 4 for one in chosen)
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert (chosen[0] != chosen[2]).any()

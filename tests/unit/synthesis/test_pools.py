"""Pools of synthetic anomalies: one for all trials of a host, from which a trial's seed chooses."""

from pathlib import Path

import numpy as np
import pytest

from anomalyvfm_opt.data.arrays import ArrayStore
from anomalyvfm_opt.data.frames import Frames
from anomalyvfm_opt.data.geometry import Geometry
from anomalyvfm_opt.synthesis.mixture import Mixture
from anomalyvfm_opt.synthesis.pools import PoolStore

MIXTURE = Mixture(texture=0.5, structural=0.25, contextual=0.25, count=8, intensity=1.0)


@pytest.fixture
def frames() -> Frames:
    pixels = np.random.default_rng(0).integers(90, 150, (4, 64, 64, 3), dtype=np.uint8)
    return Frames(pixels, np.tile((64, 64), (4, 1)), Geometry.square(64))


def test_a_trial_draws_as_many_as_it_asked_for_each_with_its_mask(tmp_path: Path, frames: Frames) -> None:
    images, masks = PoolStore(ArrayStore(tmp_path), frames, "content", size=8).draw(MIXTURE, seed=1)
    assert images.shape == (8, 64, 64, 3)
    assert masks.shape == (8, 64, 64)
    assert set(np.unique(masks)) == {0, 1}
    assert masks.any(axis=(1, 2)).all()


def test_the_seed_chooses_and_another_host_or_no_cache_gives_the_same(tmp_path: Path, frames: Frames) -> None:
    kept = PoolStore(ArrayStore(tmp_path / "one"), frames, "content", size=8)
    nothing_kept = PoolStore(ArrayStore(tmp_path / "none", max_bytes=0), frames, "content", size=8)
    for one, other in zip(kept.draw(MIXTURE, 1), nothing_kept.draw(MIXTURE, 1), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(kept.draw(MIXTURE, 1)[0], kept.draw(MIXTURE, 2)[0])
    assert not (tmp_path / "none").exists()

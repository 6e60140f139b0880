import numpy as np
import pytest


def draw_normals(surface: str, count: int, height: int, width: int) -> np.ndarray:
    """Normal images uint8 (count, height, width, 3) of a grey, coloured or black-and-white surface."""
    rng = np.random.default_rng(len(surface))
    y, x = np.mgrid[:height, :width]
    phase = rng.uniform(0, 6, (count, 1, 1))
    waves = np.sin(x / width * 20 + phase) + np.sin(y / height * 9 + 2 * phase)
    if surface == "binary":
        return np.repeat((255 * (waves > 0)).astype(np.uint8)[..., None], 3, axis=-1)
    grain = rng.normal(0, 4, waves.shape)
    if surface == "grey":
        return np.repeat((128 + 45 * waves + grain).astype(np.uint8)[..., None], 3, axis=-1)
    tint = np.array([1.0, 0.7, 0.4])
    return np.clip((140 + 50 * waves + grain)[..., None] * tint, 0, 255).astype(np.uint8)


@pytest.fixture(params=["grey", "coloured", "binary"])
def normals(request: pytest.FixtureRequest) -> np.ndarray:
    return draw_normals(request.param, 6, 96, 80)

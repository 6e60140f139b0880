import numpy as np
import pytest

from anomalyvfm_opt.data.defects import DEFECTS, add_defect


def _texture(size: int = 64) -> np.ndarray:
    rows, columns = np.indices((size, size))
    return (120 + 60 * np.sin(rows / 2) * np.cos(columns / 3)).astype(np.float32)


@pytest.mark.parametrize("kind", DEFECTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_defect_changes_what_its_mask_marks_and_little_else(kind: str, seed: int) -> None:
    image = _texture()
    changed, mask = add_defect(image, kind, 1.3, np.random.default_rng(seed))
    difference = np.abs(changed - image)
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert 0 < mask.mean() < 0.25
    assert difference[mask].mean() > 4
    assert difference[mask].mean() > 5 * difference[~mask].mean()


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_is_a_function_of_its_seed(kind: str) -> None:
    first, second, other = (add_defect(_texture(), kind, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
    assert (first[0] != other[0]).any()

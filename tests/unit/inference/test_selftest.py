"""How far apart scores may lie that should be the same."""

import numpy as np
import pytest

from anomalyvfm_opt.evaluation.scorer_bank import CalibratedBank, ScorerBank
from anomalyvfm_opt.inference.selftest import compare, measure_difference

NAMES = ["a", "b", "c"]
RAW = {"mahalanobis": np.array([29.9, 30.0, 30.2]), "patch_knn": np.array([1.0, 2.0, 3.0])}


def join(bank: CalibratedBank, raw: dict[str, np.ndarray]) -> np.ndarray:
    """The ensemble's scores, as the bank joins them."""
    return np.mean([(raw[name] - bank.location[name]) / bank.scale[name] for name in raw], axis=0)


@pytest.fixture
def bank() -> CalibratedBank:
    """Scales of normal images: one scorer's scores lie close together and far from zero."""
    return CalibratedBank(
        ScorerBank({}), {"mahalanobis": 30.0, "patch_knn": 1.0}, {"mahalanobis": 0.01, "patch_knn": 1.0}
    )


def test_rounding_of_what_an_ensemble_is_made_of_is_no_difference(bank: CalibratedBank) -> None:
    wanted = join(bank, RAW)
    found = join(bank, {"mahalanobis": RAW["mahalanobis"] * (1 + 1e-6), "patch_knn": RAW["patch_knn"]})
    minuends = {"ensemble": bank.measure_minuends(RAW)}
    np.testing.assert_allclose(minuends["ensemble"], [1495.5, 1501.0, 1511.5])
    assert measure_difference(wanted, found).max() > 1e-5  # a millionth of 30 is a sizeable part of their SD
    agreement = compare({"ensemble": wanted}, {"ensemble": found}, NAMES, True, minuends)
    assert agreement.is_close
    assert 5e-7 < agreement.difference < 2e-6


def test_another_ensemble_is_a_difference(bank: CalibratedBank) -> None:
    wanted = join(bank, RAW)
    found = join(bank, {"mahalanobis": RAW["mahalanobis"] * (1 + 1e-4), "patch_knn": RAW["patch_knn"]})
    agreement = compare(
        {"ensemble": wanted}, {"ensemble": found}, NAMES, True, {"ensemble": bank.measure_minuends(RAW)}
    )
    assert not agreement.is_close
    assert "is allowed" in agreement.describe()


@pytest.mark.parametrize(("found", "is_close"), [(1 + 9e-6, True), (1 + 2e-5, False), (float("nan"), False)])
def test_the_worst_pair_decides(found: float, is_close: bool) -> None:
    wanted = np.array([1.0, -1.0, 1.0])
    other = wanted * np.array([1.0, 1.0, found])
    agreement = compare({"decoder": wanted}, {"decoder": other}, NAMES, True, {})
    assert (agreement.name, agreement.scorer, agreement.is_close) == ("c", "decoder", is_close)

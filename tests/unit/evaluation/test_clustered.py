import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.evaluation.clustered import auroc_variance, chance_variance, estimate_auroc
from anomalyvfm_opt.evaluation.metrics import auroc

_SIZES = st.integers(2, 12)


def draw(seed: int, positives: int, negatives: int, is_tied: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two scorers, (2, n), and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation([1] * positives + [0] * negatives)
    scores = rng.normal(labels, 1.0, (2, len(labels)))
    return (scores.round() if is_tied else scores), labels


def name_each(labels: np.ndarray) -> list[str]:
    return [str(i) for i in range(len(labels))]


def delong(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """DeLong et al. (1988), as they write it: covariances of placement values."""
    x, y = scores[:, labels == 1], scores[:, labels == 0]
    psi = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    return np.cov(psi.mean(axis=2)) / x.shape[1] + np.cov(psi.mean(axis=1)) / y.shape[1]


@given(st.integers(0, 10_000), _SIZES, _SIZES, st.booleans())
def test_one_image_a_cluster_is_delongs_variance(seed: int, positives: int, negatives: int, is_tied: bool) -> None:
    scores, labels = draw(seed, positives, negatives, is_tied)
    found = estimate_auroc(scores, labels, name_each(labels))
    assert found is not None
    np.testing.assert_allclose(found.covariance, delong(scores, labels), atol=1e-12)
    np.testing.assert_allclose(found.values, [auroc(row, labels) for row in scores])
    assert (found.positive_clusters, found.negative_clusters) == (positives, negatives)


@given(st.integers(0, 10_000), _SIZES, _SIZES, st.integers(2, 5))
def test_more_of_the_same_images_show_no_more(seed: int, positives: int, negatives: int, times: int) -> None:
    scores, labels = draw(seed, positives, negatives)
    names = name_each(labels)
    once = estimate_auroc(scores, labels, names)
    often = estimate_auroc(np.tile(scores, times), np.tile(labels, times), names * times)
    assert once is not None
    assert often is not None
    np.testing.assert_allclose(often.covariance, once.covariance, atol=1e-12)
    np.testing.assert_allclose(often.values, once.values)


@given(st.integers(0, 10_000), _SIZES, _SIZES, st.floats(0.5, 2.0))
def test_only_the_order_of_scores_and_images_that_belong_together_count(
    seed: int, positives: int, negatives: int, power: float
) -> None:
    scores, labels = draw(seed, positives, negatives)
    rng = np.random.default_rng(seed)
    names = [f"c{i}" for i in rng.integers(0, 4, len(labels))]
    found = estimate_auroc(scores, labels, names)
    order = rng.permutation(len(labels))
    other = estimate_auroc(np.exp(power * scores[:, order]), labels[order], [f"other {names[i]}" for i in order])
    assert (found is None) == (other is None)
    if found is not None and other is not None:
        np.testing.assert_allclose(other.covariance, found.covariance, atol=1e-12)
        # turned scores are as sure as the others
        turned = estimate_auroc(-scores, labels, names)
        assert turned is not None
        np.testing.assert_allclose(turned.covariance, found.covariance, atol=1e-12)
        np.testing.assert_allclose(turned.values, 1 - found.values)


def test_the_variance_is_that_of_simulated_scenes_which_hold_both_labels() -> None:
    """40 scenes of 3 normal and 2 anomalous images that share a random shift; DeLong would see 200 images."""
    rng = np.random.default_rng(1)
    labels, names = np.tile([0, 0, 0, 1, 1], 40), np.repeat(np.arange(40), 5).astype(str).tolist()
    values, variances = [], []
    for _ in range(600):
        shifts = np.repeat(rng.normal(0, 1.0, 40), 5)
        own = rng.normal(0, 0.5, 200) + np.where(labels == 1, np.repeat(rng.normal(0.8, 0.7, 40), 5), 0.0)
        found = estimate_auroc((shifts + own)[None], labels, names)
        assert found is not None
        values.append(found.values[0])
        variances.append(found.covariance[0, 0])
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.12)


@pytest.mark.parametrize("scenes", [2, 5, 20])
def test_scores_that_separate_the_labels_leave_a_doubt_that_shrinks_with_the_scenes(scenes: int) -> None:
    labels = np.array([0] * scenes + [1] * scenes)
    found = estimate_auroc(np.stack([labels, -labels]).astype(float), labels, name_each(labels))
    assert found is not None
    assert found.covariance[0, 0] == 0
    low, high = found.interval(0, 0.95)
    assert low < 1 == high
    assert found.interval(1, 0.95) == (0.0, pytest.approx(1 - low))
    assert low < {2: 0.1, 5: 0.95, 20: 0.995}[scenes]


def test_the_interval_covers() -> None:
    """A true AUROC of 0.76, ten scenes a label under three lights."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    names = np.repeat(np.arange(20), 3).astype(str).tolist()
    covered = 0
    for _ in range(400):
        scores = np.repeat(rng.normal(0, np.sqrt(0.8), 20), 3) + rng.normal(labels, np.sqrt(0.2))
        found = estimate_auroc(scores[None], labels, names)
        assert found is not None
        low, high = found.interval(0, 0.95)
        covered += low <= 0.7602 <= high
    assert covered / 400 > 0.92


def test_a_single_cluster_of_a_label_says_nothing() -> None:
    labels = np.array([0, 0, 1, 1])
    assert estimate_auroc(np.array([[1.0, 2, 3, 4]]), labels, ["a", "b", "c", "c"]) is None
    assert estimate_auroc(np.array([[1.0, 2, 3, 4]]), labels, ["a", "b", "a", "b"]) is not None


def test_the_variance_at_chance_is_hanley_and_mcneils() -> None:
    assert auroc_variance(0.5, 12, 9) == pytest.approx(chance_variance(12, 9))

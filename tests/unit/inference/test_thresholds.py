"""What thresholds promise, they keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyvfm_opt.inference.thresholds import (
    NormalScenes,
    count_needed,
    find_best_f1,
    find_rank,
    set_thresholds,
)

SHARES = st.floats(0.001, 0.999)


@pytest.mark.parametrize(
    ("scenes", "share", "rank"),
    [
        (19, 0.05, 19),
        (18, 0.05, None),
        (20, 0.05, 20),
        (39, 0.05, 38),
        (49, 0.02, 49),
        (48, 0.02, None),
        (9, 0.1, 9),
    ],
)
def test_the_rank_is_that_of_the_formula(scenes: int, share: float, rank: int | None) -> None:
    assert find_rank(scenes, share) == rank


@given(SHARES)
def test_the_fewest_scenes_are_just_enough(share: float) -> None:
    needed = count_needed(share)
    assert find_rank(needed, share) is not None
    assert needed == 1 or find_rank(needed - 1, share) is None


@given(st.integers(1, 200), SHARES)
def test_no_more_than_the_promised_share_of_exchangeable_scenes_lies_above(scenes: int, share: float) -> None:
    """Of n + 1 scores in any order, the last one is as likely to have any of the ranks."""
    rank = find_rank(scenes, share)
    if rank is not None:
        above = scenes + 1 - rank  # ranks among all n + 1 that lie above the k-th of the other n
        assert above / (scenes + 1) <= share + 1e-9


def test_normal_scores_keep_to_the_promise() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        normal = NormalScenes(rng.normal(size=25), rng.normal(size=25))
        threshold = set_thresholds(normal, 0.1, None).score
        assert threshold is not None
        shares.append(np.mean(rng.normal(size=200) > threshold))
    assert np.mean(shares) < 0.11


@given(st.lists(st.floats(-5, 5), min_size=19, max_size=60))
def test_above_the_threshold_is_where_the_p_value_is_small(values: list[float]) -> None:
    normal = NormalScenes(np.array(values), np.array(values))
    threshold = set_thresholds(normal, 0.05, None).score
    assert threshold is not None
    for score in (*values, threshold, 6.0, -6.0):
        if score > threshold:
            assert normal.p_normal(score) <= 0.05 + 1e-9
        assert 0 < normal.p_normal(score) <= 1


def test_too_few_scenes_are_refused_with_the_reason() -> None:
    found = set_thresholds(NormalScenes(np.arange(16.0), np.arange(16.0)), 0.05, None)
    assert (found.score, found.pixel, found.rank) == (None, None, None)
    assert "need 19 held-out normal scenes, and there are 16" in found.refused


def test_of_a_scene_the_highest_image_counts() -> None:
    normal = NormalScenes.group(np.array([1.0, 5.0, 2.0]), np.array([3.0, 1.0, 7.0]), ["a", "a", "b"])
    assert normal.scores.tolist() == [5.0, 2.0]
    assert normal.peaks.tolist() == [3.0, 7.0]


def count_f1(scores: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    is_alarm = scores > threshold
    hits = np.count_nonzero(is_alarm & (labels == 1))
    return 2 * hits / (np.count_nonzero(is_alarm) + np.count_nonzero(labels == 1))


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_has_a_better_f1(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = (np.array(side) for side in zip(*pairs, strict=True))
    found = find_best_f1(scores.astype(float), labels.astype(int), [str(i) for i in range(len(scores))])
    if labels.all() or not labels.any():
        assert found is None
        return
    assert found is not None
    assert found.f1 == pytest.approx(count_f1(scores, labels.astype(int), found.threshold))
    tried = [count_f1(scores, labels.astype(int), at) for at in np.arange(-5, 5, 0.5)]
    assert found.f1 == pytest.approx(max(tried))
    assert found.low <= found.high

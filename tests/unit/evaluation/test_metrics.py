"""Metrics against sklearn, against plain and slow implementations, and in cases solved by hand."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from sklearn import metrics as sk

from anomalyvfm_opt.evaluation.metrics import (
    Metrics,
    au_pro,
    auroc,
    average_precision,
    evaluate,
    f1_max,
    pixel_auroc,
)


@st.composite
def scored(draw, levels=6):
    """Scores of few distinct values, so that ties are the rule, and labels of both classes."""
    n = draw(st.integers(2, 40))
    scores = np.array(draw(st.lists(st.integers(-levels, levels), min_size=n, max_size=n))) / 3.0
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    assume(0 < labels.sum() < n)
    return scores, labels


@st.composite
def mapped(draw):
    """Maps of few distinct values, and masks with any number of regions."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    maps = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 5))) / 2.0
    masks = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))
    assume(0 < masks.sum() < masks.size)
    return maps, masks


def pairs_won(scores, labels):
    anomalous, normal = scores[labels == 1], scores[labels == 0]
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(anomalous, normal)]
    return sum(won) / len(won)


def plain_au_pro(maps, masks, fpr_limit):
    """The definition, one threshold after another, one region after another, one trapezoid after another."""
    regions = []
    for i, mask in enumerate(masks):
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(i, parts == part) for part in range(1, count + 1)]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        false = float(np.mean((maps >= threshold)[masks == 0]))
        overlap = float(np.mean([np.mean(maps[i][part] >= threshold) for i, part in regions]))
        points.append((false, overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 >= fpr_limit or x1 == x0:
            continue
        end = min(x1, fpr_limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        area += (end - x0) * (y0 + y_end) / 2
    return area / fpr_limit


@given(scored())
def test_auroc_is_the_share_of_pairs_won(case):
    scores, labels = case
    assert auroc(scores, labels) == pytest.approx(pairs_won(scores, labels), abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(scored())
def test_image_metrics_equal_those_of_sklearn(case):
    scores, labels = case
    assert auroc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(sk.average_precision_score(labels, scores))
    best = max(sk.f1_score(labels, scores >= threshold) for threshold in scores)
    assert f1_max(scores, labels) == pytest.approx(best)


@given(scored())
def test_turning_scores_round_turns_auroc_round(case):
    scores, labels = case
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels))
    assert auroc(scores, 1 - labels) == pytest.approx(1 - auroc(scores, labels))


@given(scored())
def test_image_metrics_depend_on_order_alone(case):
    scores, labels = case
    for metric in (auroc, average_precision, f1_max):
        assert metric(np.exp(scores) * 7 - 3, labels) == pytest.approx(metric(scores, labels))
        assert metric(scores.astype(np.float32), labels.astype(bool)) == pytest.approx(metric(scores, labels))


def test_image_metrics_in_known_cases():
    labels = np.array([0, 0, 1, 1])
    assert evaluate(np.array([0.1, 0.2, 0.3, 0.4]), labels) == Metrics(
        image_auroc=1, image_ap=1, image_f1_max=1, pixel_auroc=None, au_pro_005=None, au_pro_030=None
    )
    constant = evaluate(np.full(4, 0.7), labels)
    assert (constant.image_auroc, constant.image_ap) == (0.5, 0.5)
    assert constant.image_f1_max == pytest.approx(2 / 3)
    assert auroc(np.array([0.4, 0.3, 0.2, 0.1]), labels) == 0
    assert average_precision(np.array([0.4, 0.1, 0.3, 0.2]), labels) == pytest.approx((1 / 2 + 2 / 3) / 2)


@settings(deadline=None, max_examples=200)
@given(mapped(), st.sampled_from([0.05, 0.30, 0.1, 0.5, 1.0]))
def test_au_pro_equals_its_plain_definition(case, fpr_limit):
    maps, masks = case
    assert au_pro(maps, masks, fpr_limit) == pytest.approx(plain_au_pro(maps, masks, fpr_limit), abs=1e-12)


@pytest.mark.parametrize("fpr_limit", [0.05, 0.30])
@pytest.mark.parametrize("steps", [4, 30, 10**9])
def test_au_pro_equals_its_plain_definition_on_larger_maps(fpr_limit, steps):
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((4, 24, 20)), (0, 2, 2))
    masks = (smooth > 0.25).astype(np.uint8)
    assert ndimage.label(masks[0])[1] > 1
    maps = np.floor((smooth + rng.normal(0, 0.3, smooth.shape)) * steps) / steps
    assert au_pro(maps, masks, fpr_limit) == pytest.approx(plain_au_pro(maps, masks, fpr_limit), abs=1e-12)


@settings(deadline=None)
@given(mapped())
def test_pixel_metrics_depend_on_order_alone(case):
    maps, masks = case
    moved = np.exp(maps) - 5
    assert pixel_auroc(moved, masks) == pixel_auroc(maps, masks)
    assert au_pro(moved, masks, 0.3) == au_pro(maps, masks, 0.3)
    assert pixel_auroc(maps, masks) == pytest.approx(sk.roc_auc_score(masks.ravel(), maps.ravel()))


@pytest.mark.parametrize("fpr_limit", [0.05, 0.30, 1.0])
def test_au_pro_in_known_cases(fpr_limit):
    masks = np.zeros((2, 20, 20), np.uint8)
    masks[0, 2:5, 2:9] = masks[0, 12:14, 3:5] = 1
    assert au_pro(masks.astype(np.float32), masks, fpr_limit) == pytest.approx(1)
    rank = np.arange(masks.size).reshape(masks.shape) / masks.size  # no ties: the curve is a corner
    assert au_pro(rank + 5 * masks, masks, fpr_limit) == 1
    assert au_pro(rank - 5 * masks, masks, fpr_limit) == 0
    assert au_pro(np.zeros(masks.shape), masks, fpr_limit) == pytest.approx(fpr_limit / 2)


def test_au_pro_weighs_regions_not_pixels():
    """A large region that is found and a small one that is missed: one half, whatever their sizes."""
    masks = np.zeros((1, 30, 30), np.uint8)
    masks[0, :10, :10] = masks[0, 20, 20] = 1
    maps = np.arange(900.0).reshape(1, 30, 30) / 900
    maps[0, :10, :10] = 5
    maps[0, 20, 20] = -5
    assert au_pro(maps, masks, 0.3) == pytest.approx(0.5)
    assert pixel_auroc(maps, masks) == pytest.approx(100 / 101)


def test_regions_join_over_corners_but_not_over_images():
    corner = np.zeros((1, 8, 8), np.uint8)
    corner[0, 1, 1] = corner[0, 2, 2] = corner[0, 6, 6] = 1
    maps = np.arange(64.0).reshape(1, 8, 8) / 64
    maps[0, 1, 1] = maps[0, 2, 2] = 5  # both belong to one of two regions
    maps[0, 6, 6] = -5
    assert au_pro(maps, corner, 0.3) == pytest.approx(0.5)
    apart = np.zeros((2, 8, 8), np.uint8)
    apart[:, 3, 3] = 1  # the same place in two images: two regions
    apart[1, 3, 4] = 1
    maps = np.arange(128.0).reshape(2, 8, 8) / 128
    maps[0, 3, 3], maps[1, 3, 3:5] = 5, -5
    assert au_pro(maps, apart, 0.3) == pytest.approx(0.5)


def test_interpolation_at_the_limit():
    """10 normal pixels; flagging 2 of them finds half of the defect: at rate 0.1 the line is at 0.25."""
    masks = np.array([[[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]])
    maps = np.array([[[2.0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]]])
    assert au_pro(maps, masks, 0.1) == pytest.approx(0.25 / 2)
    assert au_pro(maps, masks, 0.2) == pytest.approx(0.5 / 2)
    beyond = 0.5 + 0.5 * (0.2 / 0.8)  # rate 0.4 on the line from (0.2, 0.5) to (1, 1)
    assert au_pro(maps, masks, 0.4) == pytest.approx((0.05 + 0.2 * (0.5 + beyond) / 2) / 0.4)


def test_evaluate_gives_each_metric():
    rng = np.random.default_rng(1)
    scores, labels = rng.random(20), np.arange(20) % 2
    masks = np.zeros((20, 16, 16), np.uint8)
    masks[1::2, 4:9, 3:7] = 255
    maps = rng.random(masks.shape).astype(np.float32) + (masks > 0) * 0.4
    assert evaluate(scores, labels, maps, masks) == Metrics(
        image_auroc=auroc(scores, labels),
        image_ap=average_precision(scores, labels),
        image_f1_max=f1_max(scores, labels),
        pixel_auroc=pixel_auroc(maps, masks),
        au_pro_005=pytest.approx(au_pro(maps, masks, 0.05)),
        au_pro_030=pytest.approx(au_pro(maps, masks, 0.30)),
    )


@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max])
def test_unusable_scores_are_refused(metric):
    labels = np.array([0, 1, 1])
    with pytest.raises(ValueError, match="2 of 3 scores are NaN or infinite"):
        metric(np.array([math.nan, 1, math.inf]), labels)
    with pytest.raises(ValueError, match="3 of 3 images are anomalous"):
        metric(np.zeros(3), np.ones(3, int))
    with pytest.raises(ValueError, match="0 of 3 images are anomalous"):
        metric(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match="one length"):
        metric(np.zeros(4), labels)
    with pytest.raises(ValueError, match="0 of 0"):
        metric(np.zeros(0), np.zeros(0, int))
    with pytest.raises(ValueError, match="0 or 1"):
        metric(np.zeros(3), np.array([0, 1, 2]))


def test_unusable_maps_are_refused():
    maps, masks = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(ValueError, match="0 of 32 pixels are anomalous"):
        pixel_auroc(maps, masks)
    masks[0, 0, 0] = 1
    for limit in (0, -0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="fpr_limit"):
            au_pro(maps, masks, limit)
    with pytest.raises(ValueError, match=r"\(images, height, width\)"):
        pixel_auroc(maps, masks[:1])
    with pytest.raises(ValueError, match="only one of them"):
        evaluate(np.array([0.0, 1.0]), np.array([0, 1]), maps)
    maps[1, 2, :3] = math.nan
    with pytest.raises(ValueError, match="3 of 32 map values are NaN or infinite"):
        au_pro(maps, masks, 0.3)


def test_a_hundred_maps_take_seconds():
    rng = np.random.default_rng(0)
    maps = rng.random((100, 224, 224), dtype=np.float32)
    masks = np.zeros(maps.shape, np.uint8)
    masks[::2, 50:90, 60:80] = masks[::3, 150:160, 100:180] = 1
    start = time.process_time()
    pixel_auroc(maps, masks)
    au_pro(maps, masks, 0.30)
    assert time.process_time() - start < 6  # about 1 s; leaves room for a slow machine

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomalyvfm_opt.synthesis.regions import draw_blob, draw_disc, draw_length, draw_stroke, place, soften

seeds = st.integers(0, 2**32)


@settings(deadline=None)
@given(st.integers(2, 80), st.integers(2, 80), seeds)
def test_blobs_are_connected_and_within_their_window(height, width, seed):
    blob = draw_blob(height, width, np.random.default_rng(seed))
    assert blob.shape[0] <= height
    assert blob.shape[1] <= width
    assert ndimage.label(blob)[1] == 1
    for edge in (blob[0], blob[-1], blob[:, 0], blob[:, -1]):
        assert edge.any()  # cut to its bounding box


@settings(deadline=None)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(1, 7), st.integers(0, 3), seeds)
def test_strokes_lie_inside_the_image(height, width, segments, branches, seed):
    region = draw_stroke(40, 3, segments, branches, (height, width), np.random.default_rng(seed))
    rows, columns = region.window
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width
    assert region.inside.any()


@given(st.integers(8, 60), st.integers(8, 60), st.floats(0, 8), seeds)
def test_placed_shapes_lie_inside_the_image(height, width, softness_px, seed):
    region = place(draw_disc(5), (height, width), softness_px, np.random.default_rng(seed))
    rows, columns = region.window
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


def test_placing_reaches_every_corner():
    rng = np.random.default_rng(0)
    corners = {(r.top, r.left) for r in (place(np.ones((3, 3), bool), (5, 4), 0, rng) for _ in range(200))}
    assert corners == {(top, left) for top in range(3) for left in range(2)}


def test_soft_edges_rise_inwards_and_stay_inside():
    disc = draw_disc(10)
    opacity = soften(disc, 4)
    assert ((opacity > 0) == disc).all()
    assert opacity[10, 10] == 1
    profile = opacity[10, :11]
    assert (np.diff(profile) >= 0).all()
    assert profile[0] == pytest.approx(0.2)
    assert (soften(disc, 0) == disc).all()
    assert soften(draw_disc(2), 9).max() == 1


@given(seeds)
def test_lengths_scale_with_the_shorter_side(seed):
    full, half = (draw_length(40, 120, size, np.random.default_rng(seed)) for size in ((518, 518), (259, 900)))
    assert 40 <= full <= 120
    assert half == pytest.approx(full / 2, abs=0.5)
    assert draw_length(3, 15, (20, 20), np.random.default_rng(seed)) == 1

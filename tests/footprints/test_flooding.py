"""The watershed is that of a priority queue, computed for all pixels at once."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from geossda.footprints.flooding import flood

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def ground(seed, shape, smoothing):
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), smoothing), rng


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(3, 90), st.integers(3, 90)),
    st.sampled_from([0.3, 1.5, 4.0]),
    st.integers(1, 7),
    st.booleans(),
)
def test_pixels_get_the_labels_of_a_priority_queue(seed, shape, smoothing, count, whole):
    surface, rng = ground(seed, shape, smoothing)
    mask = np.ones(shape, bool) if whole else ground(seed + 1, shape, 3)[0] > -0.05
    markers = np.zeros(shape, np.int32)
    markers[rng.integers(shape[0], size=count), rng.integers(shape[1], size=count)] = range(
        1, count + 1
    )
    markers = cv2.dilate(markers.astype(np.uint8), np.ones((3, 3))).astype(np.int32) * mask
    assert np.array_equal(flood(surface, markers, mask), watershed(surface, markers, mask=mask))


@pytest.mark.parametrize("length", [9, 30])
def test_level_ground_is_shared_by_the_nearest(length):
    surface = np.zeros((5, length), np.float32)
    markers = np.zeros((5, length), np.int32)
    markers[:, 0], markers[:, -1] = 1, 2
    found = flood(surface, markers, np.ones_like(surface, bool))
    columns = np.arange(length)
    clear = columns != length - 1 - columns  # the middle of an odd length may be either's
    nearest = np.where(columns < length - 1 - columns, 1, 2)
    assert (found == nearest)[:, clear].all() and (found > 0).all()


def pass_heights(surface, markers, inside):
    """Least height that a path within pixels to a marker climbs over."""
    top = surface.max() + 1
    walled = np.where(inside, surface, top)
    filled = reconstruction(
        np.where((markers > 0) & inside, walled, top), walled, "erosion", footprint=CROSS
    )
    return np.where(inside, filled, np.inf)


def test_on_steps_no_piece_has_a_way_to_its_marker_over_higher_ground():
    surface, rng = ground(0, (120, 160), 3)
    surface = np.round(surface / surface.std() * 6).astype(np.float32)
    markers = np.zeros(surface.shape, np.int32)
    markers[rng.integers(120, size=9), rng.integers(160, size=9)] = range(1, 10)
    found = flood(surface, markers, np.ones(surface.shape, bool))
    lowest = pass_heights(surface, markers, np.ones(surface.shape, bool))
    own = [pass_heights(surface, markers, found == label) for label in range(1, 10)]
    assert np.array_equal(np.min(own, axis=0), lowest)


def test_where_no_marker_reaches_stays_dry():
    mask = np.ones((4, 9), bool)
    mask[:, 4] = False
    markers = np.zeros((4, 9), np.int32)
    markers[1, 1] = 3
    found = flood(np.zeros((4, 9), np.float32), markers, mask)
    assert (found[:, :4] == 3).all() and not found[:, 4:].any()
    assert not flood(np.zeros((4, 9), np.float32), np.zeros_like(markers), mask).any()

"""Windows tile the raster exactly once, on lattices that know nothing of chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geossda.errors import InputError
from geossda.raster.windows import Window, starts, tiles

shapes = st.tuples(st.integers(1, 90), st.integers(1, 90))
windows = st.builds(Window, st.integers(0, 40), st.integers(0, 40), st.integers(1, 40),
                    st.integers(1, 40))  # fmt: skip


@given(shapes, st.integers(1, 100))
def test_tiles_cover_every_pixel_exactly_once(shape, size):
    seen = np.zeros(shape, int)
    for tile in tiles(shape, size):
        assert 1 <= tile.height <= size and 1 <= tile.width <= size
        assert tile.row % size == 0 and tile.col % size == 0
        seen[tile.rows, tile.cols] += 1
    assert (seen == 1).all()


@given(st.integers(1, 500), st.integers(1, 80), st.integers(0, 79))
def test_starts_cover_the_length_on_a_fixed_lattice(length, patch, overlap):
    if overlap >= patch:
        with pytest.raises(InputError, match=f"0 to {patch - 1}"):
            starts(length, patch, overlap)
        return
    found = starts(length, patch, overlap)
    assert found == [index * (patch - overlap) for index in range(len(found))]
    covered = np.zeros(length, int)
    for start in found:
        assert start < length
        covered[start : start + patch] += 1
    assert covered.min() >= 1
    if len(found) > 1:
        assert found[-2] + patch < length, "no patch is needless"


@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 60), st.integers(0, 59))
def test_starts_of_a_longer_raster_begin_alike(length, more, patch, overlap):
    overlap = min(overlap, patch - 1)
    short, long = starts(length, patch, overlap), starts(length + more, patch, overlap)
    assert long[: len(short)] == short


@given(windows, st.integers(0, 50), shapes)
def test_grown_adds_the_margin_inside_the_raster_and_within_cuts_it_off(window, margin, shape):
    shape = (shape[0] + window.row + window.height, shape[1] + window.col + window.width)
    grown = window.grown(margin, shape)
    raster = np.arange(shape[0] * shape[1]).reshape(shape)
    assert np.array_equal(
        raster[grown.rows, grown.cols][window.within(grown)], raster[window.rows, window.cols]
    )
    assert grown.row == max(0, window.row - margin)
    assert grown.col == max(0, window.col - margin)
    assert grown.row + grown.height == min(shape[0], window.row + window.height + margin)
    assert grown.col + grown.width == min(shape[1], window.col + window.width + margin)


@given(windows, windows)
def test_intersection_is_the_common_pixels(one, other):
    seen = np.zeros((80, 80), int)
    seen[one.rows, one.cols] += 1
    seen[other.rows, other.cols] += 1
    common = one.intersection(other)
    assert common == other.intersection(one)
    if common is None:
        assert seen.max() == 1
    else:
        assert (seen[common.rows, common.cols] == 2).all()
        assert common.height * common.width == np.count_nonzero(seen == 2)


def test_a_tile_of_nothing_is_refused():
    with pytest.raises(InputError, match="0 px"):
        list(tiles((5, 5), 0))

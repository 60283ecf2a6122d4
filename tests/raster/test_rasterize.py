"""Burning polygons into pixels."""

import sys
import threading

import numpy as np
import pytest
import shapely
from rasterio import Affine

from geossda.raster.rasterize import burn


def test_the_last_polygon_is_on_top_and_the_rest_is_filled():
    shapes = [(shapely.box(0, 0, 3, 3), 1), (shapely.box(2, 2, 5, 5), 2)]
    burnt = burn(shapes, (6, 6), Affine.identity(), fill=7, dtype=np.int32)
    expected = np.full((6, 6), 7)
    expected[:3, :3] = 1
    expected[2:5, 2:5] = 2
    assert burnt.dtype == np.int32
    np.testing.assert_array_equal(burnt, expected)


def test_no_polygon_leaves_the_fill():
    assert (burn([], (2, 3), Affine.identity(), fill=4) == 4).all()


@pytest.fixture
def hasty_threads():
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_threads_hear_no_warning_of_rasterio(hasty_threads):
    failures = []

    def work():
        try:
            for _ in range(300):
                burn([(shapely.box(1, 1, 9, 9), 1)], (16, 16), Affine.identity())
        except Warning as warning:  # pytest makes warnings errors
            failures.append(warning)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures

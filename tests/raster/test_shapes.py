"""Geometries in one CRS."""

import numpy as np
import shapely

from geossda.raster.shapes import Shapes, close_together


def areas_of(groups):
    return [shapely.area(group.geometry).tolist() for group in groups]


def test_polygons_whose_boxes_overlap_are_one_group():
    a, far, beside = shapely.box(0, 0, 4, 4), shapely.box(90, 0, 93, 3), shapely.box(4, 0, 6, 1)
    triangle = shapely.Polygon([(5, 0.5), (8, 0.5), (8, 4)])
    groups = close_together(Shapes([a, far, beside, triangle], 32633))
    assert areas_of(groups) == [[16, 2, 5.25], [9]] and groups[0].crs.to_epsg() == 32633


def test_a_chain_that_leaves_its_box_empty_is_no_group():
    chain = [shapely.box(9 * i, 9 * i, 9 * i + 10, 9 * i + 10) for i in range(9)]
    assert areas_of(close_together(Shapes(chain))) == [[100]] * 9
    assert areas_of(close_together(Shapes(chain[:3]))) == [[100] * 3]


def test_boxes_that_touch_at_a_corner_and_none_at_all():
    squares = [shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)]
    assert np.sum([len(group) for group in close_together(Shapes(squares))]) == 2
    assert close_together(Shapes([])) == []

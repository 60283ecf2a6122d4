"""Outlines with right angles only, fitted to an outline along pixels."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

# A run is cut in two by a step if it leaves its axis by more than this slope.
_MAX_SLOPE = 0.4
# What a corner has to gain: mean distance to the pixels, in tolerances.
_CORNER_COST = 0.01
# Walls are no shorter than so many tolerances, and courtyards no smaller than its square.
_MIN_WALL = 2.0


class Wall(NamedTuple):
    """A wall along an axis.

    Attributes
    ----------
    axis : int
        The coordinate that is constant: 0 for x, 1 for y.
    offset : float
        Its value.
    weight : float
        Number of points the offset is the mean of.
    """

    axis: int
    offset: float
    weight: float


def rectilinear_outline(
    shape: Any, runs: list[list[NDArray[np.float64]]], angles: list[float], tolerance: float
) -> Any:
    """Return the rectilinear polygon that is nearest to a shape for its number of corners.

    Parameters
    ----------
    shape : shapely.Polygon
    runs : list of list of (n, 2) array
        The exterior ring's points in order, cut where the direction changes; once for each way
        of cutting it.
    angles : list of float
        Directions of the walls to try, in radians.
    tolerance : float
        How far walls may be moved, in the points' unit.

    Returns
    -------
    shapely.Polygon or None
        Valid; None if no valid polygon was found. Courtyards become rectangles.
    """
    best, least = None, math.inf
    for angle in angles:
        courtyards = [_rectangle(ring, angle) for ring in shape.interiors]
        for cut in runs:
            for outline in _outlines(cut, angle, _MIN_WALL * tolerance):
                corners = len(outline.exterior.coords) - 1
                if courtyards:
                    outline = shapely.difference(outline, shapely.union_all(courtyards))
                    if outline.geom_type != "Polygon":
                        continue
                astray = shapely.area(shapely.symmetric_difference(outline, shape)) / shape.length
                cost = astray / tolerance + _CORNER_COST * corners
                if cost < least:
                    best, least = outline, cost
    return best


def _outlines(runs: list[NDArray[np.float64]], angle: float, min_wall: float) -> Iterator[Any]:
    """Yield valid rectilinear polygons of fewer and fewer corners, down to a box.

    The shortest wall is left out, and its two neighbours, which are parallel, become one.
    """
    turned = _rotation(angle)
    walls = _alternating([run @ turned for run in runs])
    while len(walls) >= 4:
        corners = np.array([_corner(walls[i - 1], wall) for i, wall in enumerate(walls)])
        lengths = np.abs(np.roll(corners, -1, axis=0) - corners).sum(axis=1)
        shortest = int(np.argmin(lengths))
        if lengths[shortest] >= min_wall or len(walls) == 4:
            polygon = shapely.Polygon(corners @ turned.T)
            if polygon.is_valid and polygon.area > 0:
                yield polygon
        if len(walls) == 4:
            return
        before, after = (shortest - 1) % len(walls), (shortest + 1) % len(walls)
        walls[before] = _joined(walls[before], walls[after], lengths[before], lengths[after])
        walls = [wall for i, wall in enumerate(walls) if i not in (shortest, after)]


def _alternating(runs: list[NDArray[np.float64]]) -> list[Wall]:
    """Return a ring's walls, along x and y by turns."""
    walls: list[Wall] = []
    for run in runs:
        across, along = sorted(np.abs(run[-1] - run[0]))
        axis = int(abs(run[-1] - run[0])[0] > abs(run[-1] - run[0])[1])
        if across > _MAX_SLOPE * along:
            middle, half = (run[0] + run[-1]) / 2, len(run) / 2
            added = [
                Wall(axis, float(run[0][axis] + middle[axis]) / 2, half),
                Wall(1 - axis, float(middle[1 - axis]), 0.5),
                Wall(axis, float(run[-1][axis] + middle[axis]) / 2, half),
            ]
        else:
            added = [Wall(axis, float(np.median(run[:, axis])), float(len(run)))]
        for wall in added:
            if walls and walls[-1].axis == wall.axis:
                walls[-1] = _joined(walls[-1], wall, walls[-1].weight, wall.weight)
            else:
                walls.append(wall)
    if len(walls) > 1 and walls[0].axis == walls[-1].axis:
        last = walls.pop()
        walls[0] = _joined(last, walls[0], last.weight, walls[0].weight)
    return walls


def _joined(one: Wall, other: Wall, weight: float, other_weight: float) -> Wall:
    """Return one wall for two parallel ones, at their weighted mean."""
    total = max(weight + other_weight, 1e-9)
    offset = (one.offset * weight + other.offset * other_weight) / total
    return Wall(one.axis, float(offset), one.weight + other.weight)


def _corner(before: Wall, wall: Wall) -> tuple[float, float]:
    """Return the corner between two walls along different axes."""
    x, y = (wall, before) if wall.axis == 0 else (before, wall)
    return x.offset, y.offset


def _rectangle(ring: Any, angle: float) -> Any:
    """Return the rectangle around a ring's middle whose area is the ring's."""
    turned = _rotation(angle)
    points = shapely.get_coordinates(ring) @ turned
    low, high = points.min(axis=0), points.max(axis=0)
    share = math.sqrt(shapely.Polygon(ring).area / float(np.prod(high - low)))
    middle, half = (low + high) / 2, (high - low) / 2 * share
    box = shapely.get_coordinates(shapely.box(*(middle - half), *(middle + half)))
    return shapely.Polygon(box @ turned.T)


def _rotation(angle: float) -> NDArray[np.float64]:
    """Return the matrix that turns row vectors by minus `angle`."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])

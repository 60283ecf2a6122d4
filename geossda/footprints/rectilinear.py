"""Outlines with right angles only, fitted to an outline along pixels."""

import math
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.wall_lines import median

# A run is cut in two by a step if it leaves its axis by more than this slope.
_MAX_SLOPE = 0.4
# What a corner has to gain: mean distance to the pixels, in tolerances.
_CORNER_COST = 0.02
# Walls are no shorter than so many tolerances, and courtyards no smaller than its square.
_MIN_WALL = 2.0
# Corners times edges that are computed at once, and what stands in for a width of 0.
_MOST_CELLS, _TINY = 2**16, 1e-30


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
    best: Any = None
    least = math.inf
    for angle in angles:
        turned = _rotation(angle)
        courtyards = shapely.union_all([_rectangle(ring, angle) for ring in shape.interiors])
        yard_area = courtyards.area
        yard_common = shapely.area(shapely.intersection(courtyards, shape)) if yard_area else 0.0
        area = _CumulativeArea(shape, angle)
        for cut in runs:
            # Few corners first: with more, what they cost alone is soon too much.
            for corners in reversed(_outlines(cut, angle, _MIN_WALL * tolerance)):
                corner_cost = _CORNER_COST * len(corners)
                if corner_cost >= least:
                    break
                common = area.within(corners) - yard_common
                astray = _area(corners) - yard_area + shape.area - 2 * common
                cost = astray / shape.length / tolerance + corner_cost
                if cost >= least and not yard_area:
                    continue
                outline = shapely.Polygon(corners @ turned.T)
                if not outline.is_valid or outline.area == 0:
                    continue
                if yard_area and not shapely.contains_properly(outline, courtyards):
                    pierced = shapely.difference(outline, courtyards)
                    if pierced.geom_type != "Polygon":
                        continue
                    astray = shapely.area(shapely.symmetric_difference(pierced, shape))
                    cost = astray / shape.length / tolerance + corner_cost
                if cost < least:
                    best, least = outline, cost
                    if yard_area:
                        best = shapely.difference(outline, courtyards)
    return best


def _area(corners: NDArray[np.float64]) -> float:
    """Return the area of a rectilinear polygon."""
    return abs(float(_signs(len(corners)) @ corners.prod(axis=1)))


def _signs(count: int) -> NDArray[np.float64]:
    """Return 1 and -1 by turns."""
    signs = np.ones(count)
    signs[1::2] = -1.0
    return signs


class _CumulativeArea:
    """Area of a polygon below and left of points, along rotated axes.

    The area that the polygon shares with a rectilinear outline is the sum of these areas at the
    outline's corners with alternating signs, as in a summed-area table: overlaying each outline
    with the polygon takes twenty times as long.

    Parameters
    ----------
    shape : shapely.Polygon
    angle : float
        Direction of the first axis in radians.
    """

    def __init__(self, shape: Any, angle: float) -> None:
        turned = _rotation(angle)
        starts, ends, signs = [], [], []
        for index, ring in enumerate((shape.exterior, *shape.interiors)):
            points = shapely.get_coordinates(ring) @ turned
            signs.append(np.full(len(points) - 1, 1.0 if ring.is_ccw == (index == 0) else -1.0))
            starts.append(points[:-1])
            ends.append(points[1:])
        self._start, self._end = np.concatenate(starts), np.concatenate(ends)
        self._signs = np.concatenate(signs)
        rise = self._end[:, 1] - self._start[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (self._end[:, 0] - self._start[:, 0]) / rise
        self._slope = np.where(rise == 0, 0.0, slope)
        self._known: dict[tuple[float, float], float] = {}

    def within(self, corners: NDArray[np.float64]) -> float:
        """Return the area in common with a rectilinear outline.

        Parameters
        ----------
        corners : (n, 2) array
            Corners along the rotated axes, in order.
        """
        signs = _signs(len(corners))
        if signs @ corners.prod(axis=1) < 0:
            signs = -signs
        keys = list(map(tuple, corners.tolist()))
        # Outlines of one more wall have most corners in common.
        if new := [key for key in dict.fromkeys(keys) if key not in self._known]:
            self._known.update(zip(new, self._below(np.array(new)).tolist(), strict=True))
        return float(signs @ np.array([self._known[key] for key in keys]))

    def _below(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integrate min(X, x) dY along the rings where Y <= y, at corners (Green's theorem)."""
        below = []
        for part in np.array_split(corners, 1 + corners.size * len(self._slope) // _MOST_CELLS):
            x, y = part[:, :1], part[:, 1:]
            x0, y0 = self._start.T
            low, high = np.minimum(y0, y), np.minimum(self._end[:, 1], y)
            left = (low - y0) * self._slope + (x0 - x)
            right = (high - y0) * self._slope + (x0 - x)
            # Twice the mean of min(X - x, 0) between two ends: on one side of x, or across it.
            lower, upper = np.minimum(left, right), np.maximum(left, right)
            under = np.minimum(lower, 0)
            across = under / np.maximum(upper - lower, _TINY) * under
            twice = np.where(upper > 0, -across, lower + upper)
            area = (twice * 0.5 + x) * (high - low) * self._signs
            below.append(area.sum(axis=1))
        return np.concatenate(below)


def _outlines(
    runs: list[NDArray[np.float64]], angle: float, min_wall: float
) -> list[NDArray[np.float64]]:
    """Return the corners of rectilinear outlines, along the rotated axes, the last ones a box's.

    The shortest wall is left out, and its two neighbours, which are parallel, become one. Outlines
    may cross themselves.
    """
    outlines: list[NDArray[np.float64]] = []
    turned = _rotation(angle)
    walls = _alternating([run @ turned for run in runs])
    first_upright = bool(walls) and walls[0].axis == 0
    offset = [wall.offset for wall in walls]
    # Length of wall i: from its corner with wall i - 1 to that with wall i + 1.
    lengths = [abs(offset[(i + 1) % len(offset)] - offset[i - 1]) for i in range(len(offset))]
    while len(offset) >= 4:
        shortest = lengths.index(min(lengths))
        if lengths[shortest] >= min_wall or len(offset) == 4:
            outlines.append(_corners(offset, first_upright))
        if len(offset) == 4:
            break
        count = len(offset)
        before, after = (shortest - 1) % count, (shortest + 1) % count
        total = lengths[before] + lengths[after]
        offset[before] = (offset[before] * lengths[before] + offset[after] * lengths[after]) / max(
            total, 1e-9
        )
        for index in sorted((shortest, after), reverse=True):
            del offset[index], lengths[index]
        first_upright ^= after == 0
        before -= (shortest < before) + (after < before)
        count -= 2
        for index in (before - 1, before, (before + 1) % count):
            lengths[index] = abs(offset[(index + 1) % count] - offset[index - 1])
    return outlines


def _corners(offset: list[float], first_upright: bool) -> NDArray[np.float64]:
    """Return the corner of each wall with the one before, (n, 2), of walls upright by turns."""
    corners = np.array([offset, offset[-1:] + offset[:-1]]).T
    corners[first_upright::2] = corners[first_upright::2, ::-1]
    return corners


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
            added = [Wall(axis, median(run[:, axis]), float(len(run)))]
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

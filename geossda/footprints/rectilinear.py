"""Outlines with right angles only, fitted to an outline along pixels."""

import math
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.runs import Runs

# A run is cut in two by a step if it leaves its axis by more than this slope.
_MAX_SLOPE = 0.4
# What a corner has to gain: mean distance to the pixels, in tolerances. The dearer corners are, the
# fewer an outline has, and the farther it is from the pixels.
_CORNER_COSTS = 0.12, 0.06, 0.02
# Walls are no shorter than so many tolerances, and courtyards no smaller than its square.
MIN_WALL = 2.0
# Corners times edges that are computed at once, and outlines whose corners are.
_MOST_CELLS, _OUTLINES = 2**16, 8
# What stands in for a width of 0.
_TINY = 1e-30
_SIGNS = np.resize([1.0, -1.0], 1024)


class Walls(NamedTuple):
    """Walls around an outline, upright and level by turns, in one direction.

    Attributes
    ----------
    offsets : list of float
        Coordinate along the rotated axis that each wall is across.
    first_upright : bool
        Whether that is x for the first wall.
    """

    offsets: list[float]
    first_upright: bool


def alternating_walls(runs: Runs, angles: NDArray[np.float64]) -> list[Walls]:
    """Return the walls around each of several rings.

    A run along neither axis becomes a step of three walls. Of parallel neighbours the mean is
    taken, weighted by their points.

    Parameters
    ----------
    runs : Runs
        Of rings that are numbered from 0, with no number missing.
    angles : (r,) float array
        Direction of the first axis for each ring, in radians.
    """
    ring = runs.ring[runs.owner]
    cos, sin = np.cos(angles)[ring], np.sin(angles)[ring]
    x, y = runs.points.T
    points = np.stack([x * cos + y * sin, y * cos - x * sin], axis=1)
    start, stop = points[runs.first], points[runs.last]
    extent, middle = np.abs(stop - start), (start + stop) / 2
    axis = (extent[:, 0] > extent[:, 1]).astype(np.intp)
    steep = extent.min(axis=1) > _MAX_SLOPE * extent.max(axis=1)
    each, counts = np.arange(len(axis)), runs.last - runs.first + 1
    # Three walls a run, of which only a steep one needs those before and after.
    axes = np.stack([axis, np.where(steep, 1 - axis, axis), axis], axis=1)
    offsets = np.stack(
        [
            (start[each, axis] + middle[each, axis]) / 2,
            np.where(steep, middle[each, 1 - axis], runs.medians(points, axis)),
            (stop[each, axis] + middle[each, axis]) / 2,
        ],
        axis=1,
    )
    weights = np.stack([counts / 2, np.where(steep, 0.5, counts), counts / 2], axis=1)
    kept = np.stack([steep, np.ones_like(steep), steep], axis=1)
    axes, offsets, weights = axes[kept], offsets[kept], weights[kept]
    ring = np.repeat(runs.ring, kept.sum(axis=1))
    begins = np.flatnonzero(np.append(True, (axes[1:] != axes[:-1]) | (ring[1:] != ring[:-1])))
    weight = np.add.reduceat(weights, begins)
    moment = np.add.reduceat(offsets * weights, begins)
    axes, ends = axes[begins], np.searchsorted(ring[begins], np.arange(len(angles) + 1))
    # The last wall of a ring goes on in the first.
    first, last = ends[:-1], ends[1:] - 1
    same = (axes[first] == axes[last]) & (last > first)
    moment[first] += np.where(same, moment[last], 0)
    weight[first] += np.where(same, weight[last], 0)
    offset, upright = (moment / weight).tolist(), (axes[first] == 0).tolist()
    stops = (last + ~same).tolist()
    return [
        Walls(offset[begin:end], up) for begin, end, up in zip(first, stops, upright, strict=True)
    ]


class _Choice:
    """The best outline so far, where a corner costs so much.

    Parameters
    ----------
    shape : shapely.Polygon
    corner_cost, tolerance : float
        A corner costs as much as `corner_cost` tolerances along all of the shape's outline astray.
    """

    def __init__(self, shape: Any, corner_cost: float, tolerance: float) -> None:
        self._size, self._unit = float(shape.area), float(shape.length * tolerance)
        self._corner_cost, self._least = corner_cost, math.inf
        self.outline: Any = None
        self.iou = 0.0

    def is_better(self, astray: float, corners: int) -> bool:
        """Return whether an outline with so much area astray would be better."""
        return self._cost(astray, corners) < self._least

    def offer(self, outline: Any, astray: float, corners: int) -> None:
        """Take an outline if it is better."""
        if self.is_better(astray, corners):
            self._least, self.outline = self._cost(astray, corners), outline
            both = outline.area + self._size
            self.iou = (both - astray) / (both + astray)

    def _cost(self, astray: float, corners: int) -> float:
        return astray / self._unit + self._corner_cost * corners


def rectilinear_outlines(
    shape: Any, directions: list[tuple[float, list[Walls]]], tolerance: float
) -> list[tuple[Any, float]]:
    """Return the rectilinear polygons that are nearest to a shape for their number of corners.

    Parameters
    ----------
    shape : shapely.Polygon
    directions : list of (float, list of Walls)
        Directions of the walls to try, in radians, each with the walls that the outer ring has in
        it, once for each way of cutting the ring into runs.
    tolerance : float
        How far walls may be moved, in the points' unit.

    Returns
    -------
    list of (shapely.Polygon, float)
        Valid outlines, each with its intersection over union with the shape: the best where
        corners are dear, then those where they are cheaper, as far as they are others. Empty if
        no valid polygon was found. Courtyards become rectangles.
    """
    size = shape.area
    choices = [_Choice(shape, cost, tolerance) for cost in _CORNER_COSTS]
    edges, interiors = _Edges.of(shape), list(shape.interiors)
    yard_area = yard_common = 0.0
    for angle, cuts in directions:
        turned = _rotation(angle)
        if interiors:
            courtyards = shapely.union_all([_rectangle(ring, angle) for ring in interiors])
            yard_area = courtyards.area
            yard_common = shapely.area(shapely.intersection(courtyards, shape))
        area = _CumulativeArea(edges, angle)
        outlines = [each for walls in cuts for each in _outlines(walls, MIN_WALL * tolerance)]
        outlines.sort(key=len)  # those of few corners rule out many others
        for first in range(0, len(outlines), _OUTLINES):
            group, covered = [], []
            for corners in outlines[first : first + _OUTLINES]:
                # No less is astray than the areas differ by, with or without courtyards.
                larger = _area(corners) - size
                astray = max(larger - yard_area, -larger)
                if any(choice.is_better(astray, len(corners)) for choice in choices):
                    group.append(corners)
                    covered.append(larger + size)
            for corners, inside, common in zip(group, covered, area.common(group), strict=True):
                # Courtyards that the outline contains take their area from it.
                astray = inside - yard_area + size - 2 * common
                if not any(choice.is_better(astray, len(corners)) for choice in choices):
                    continue
                astray += 2 * yard_common
                outline: Any = shapely.Polygon(corners @ turned.T)
                if not outline.is_valid or outline.area == 0:
                    continue
                if yard_area:
                    pierced = shapely.difference(outline, courtyards)
                    if pierced.geom_type != "Polygon":
                        continue
                    if not shapely.contains_properly(outline, courtyards):
                        astray = shapely.area(shapely.symmetric_difference(pierced, shape))
                    outline = pierced
                for choice in choices:
                    choice.offer(outline, astray, len(corners))
    distinct = {id(each.outline): (each.outline, each.iou) for each in choices}
    return [each for each in distinct.values() if each[0] is not None]


def _area(corners: NDArray[np.float64]) -> float:
    """Return the area of a rectilinear polygon."""
    return abs(float(_signs(len(corners)) @ (corners[:, 0] * corners[:, 1])))


def _signs(count: int) -> NDArray[np.float64]:
    """Return 1 and -1 by turns."""
    return _SIGNS[:count] if count <= len(_SIGNS) else np.resize([1.0, -1.0], count)


class _Edges(NamedTuple):
    """The edges of a polygon.

    Attributes
    ----------
    start, end : (n, 2) float arrays
    signs : (n,) float array
        1 for those that have the polygon on their left side, else -1.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    signs: NDArray[np.float64]

    @classmethod
    def of(cls, shape: Any) -> "_Edges":
        """Return those of all rings."""
        rings = shapely.get_rings(shape)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        along = ring[1:] == ring[:-1]
        start, end, ring = points[:-1][along], points[1:][along], ring[:-1][along]
        # Around the polygon, the outer ring goes counterclockwise and the others clockwise.
        turning = start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]
        counterclockwise = np.bincount(ring, turning) > 0
        forward = counterclockwise == (np.arange(len(rings)) == 0)
        return cls(start, end, np.where(forward[ring], 1.0, -1.0))


class _CumulativeArea:
    """Area of a polygon below and left of points, along rotated axes.

    The area that the polygon shares with a rectilinear outline is the sum of these areas at the
    outline's corners with alternating signs, as in a summed-area table: overlaying each outline
    with the polygon takes twenty times as long.

    Parameters
    ----------
    edges : _Edges
        Of the polygon.
    angle : float
        Direction of the first axis in radians.
    """

    def __init__(self, edges: _Edges, angle: float) -> None:
        turned = _rotation(angle)
        start, end, self._signs = edges.start @ turned, edges.end @ turned, edges.signs
        self._start, self._rise = start, end[:, 1] - start[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (end[:, 0] - start[:, 0]) / self._rise
        self._slope = np.where(self._rise == 0, 0.0, slope)
        self._middle = (start[:, 0] + end[:, 0]) / 2
        self._low, self._high = np.minimum(start, end).T, np.maximum(start, end).T

    def common(self, outlines: list[NDArray[np.float64]]) -> list[float]:
        """Return the areas that rectilinear outlines have in common with the polygon.

        Parameters
        ----------
        outlines : list of (n, 2) array
            Corners along the rotated axes, in order.
        """
        if not outlines:
            return []
        x, y = np.concatenate(outlines).T
        # Outlines of one more wall have most corners in common.
        points, places = np.unique(x + 1j * y, return_inverse=True)
        below = self._below(points.real, points.imag)[places]
        signs = np.concatenate([_signs(len(each)) for each in outlines])
        ends = np.cumsum([len(each) for each in outlines])
        first = ends - [len(each) for each in outlines]
        shared, signed = np.add.reduceat(np.stack([signs * below, signs * x * y]), first, axis=1)
        areas: list[float] = np.where(signed >= 0, shared, -shared).tolist()
        return areas

    def _below(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integrate min(X, x) dY along the rings where Y <= y, at corners (Green's theorem)."""
        rise = self._rise * self._signs
        (left, low), (right, high) = self._low, self._high
        areas = []
        parts = 1 + len(x) * len(rise) // _MOST_CELLS
        for x_, y_ in zip(np.array_split(x, parts), np.array_split(y, parts), strict=True):
            beside, above = x_[:, None], y_[:, None]
            under = high <= above
            area = (np.minimum(self._middle, beside) * under) @ rise
            # Edges that the corner's quadrant cuts in two are integrated up to where it does.
            cut = (left < beside) & (right > beside)
            cut |= ~under
            cut &= low < above
            corner, edge = np.divmod(np.flatnonzero(cut), len(rise))
            pieces = self._cut(edge, x_[corner], y_[corner])
            pieces -= np.minimum(self._middle[edge], x_[corner]) * under[corner, edge] * rise[edge]
            areas.append(area + np.bincount(corner, pieces, len(area)))
        return np.concatenate(areas)

    def _cut(
        self, edge: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Integrate min(X, x) dY along edges where Y <= y."""
        x0, y0 = self._start[edge].T
        low, high = np.minimum(y0, y), np.minimum(y0 + self._rise[edge], y)
        slope = self._slope[edge]
        one, other = (low - y0) * slope + (x0 - x), (high - y0) * slope + (x0 - x)
        # Twice the mean of min(X - x, 0) between two ends: on one side of x, or across it.
        lower, upper = np.minimum(one, other), np.maximum(one, other)
        under = np.minimum(lower, 0)
        across = under / np.maximum(upper - lower, _TINY) * under
        twice = np.where(upper > 0, -across, lower + upper)
        return np.asarray((twice * 0.5 + x) * (high - low) * self._signs[edge])


def _outlines(walls: Walls, min_wall: float) -> list[NDArray[np.float64]]:
    """Return the corners of rectilinear outlines, along the rotated axes, the last ones a box's.

    The shortest wall is left out, and its two neighbours, which are parallel, become one. Outlines
    may cross themselves.
    """
    outlines: list[NDArray[np.float64]] = []
    offset, first_upright = walls.offsets.copy(), walls.first_upright
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

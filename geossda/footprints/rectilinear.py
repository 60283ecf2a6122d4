"""Outlines with right angles only, fitted to an outline along pixels."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.runs import Runs

# A run is cut in two by a step if it leaves its axis by more than this slope.
_MAX_SLOPE = 0.4
# What a corner has to gain: mean distance to the pixels, in tolerances.
_CORNER_COST = 0.02
# Walls are no shorter than so many tolerances, and courtyards no smaller than its square.
_MIN_WALL = 2.0
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


def rectilinear_outline(
    shape: Any, directions: list[tuple[float, list[Walls]]], tolerance: float
) -> tuple[Any, float]:
    """Return the rectilinear polygon that is nearest to a shape for its number of corners.

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
    outline : shapely.Polygon or None
        Valid; None if no valid polygon was found. Courtyards become rectangles.
    iou : float
        Its intersection over union with the shape.
    """
    best: Any = None
    least, least_astray = math.inf, math.inf
    size = shape.area
    unit = shape.length * tolerance  # area astray that costs as much as `1 / _CORNER_COST` corners
    for angle, cuts in directions:
        turned = _rotation(angle)
        courtyards = shapely.union_all([_rectangle(ring, angle) for ring in shape.interiors])
        yard_area = courtyards.area
        yard_common = shapely.area(shapely.intersection(courtyards, shape)) if yard_area else 0.0
        area = _CumulativeArea(shape, angle)
        for walls in cuts:
            # Few corners first: with more, what they cost alone is soon too much.
            outlines, areas = [], []
            for corners in reversed(_outlines(walls, _MIN_WALL * tolerance)):
                corner_cost = _CORNER_COST * len(corners)
                if corner_cost >= least:
                    break
                # No less is astray than the areas differ by, with or without courtyards.
                larger = _area(corners) - size
                if max(larger - yard_area, -larger) / unit + corner_cost < least:
                    outlines.append(corners)
                    areas.append(larger + size)
            for (corners, common), covered in zip(area.within(outlines), areas, strict=True):
                corner_cost = _CORNER_COST * len(corners)
                if corner_cost >= least:
                    break
                # Courtyards that the outline contains take their area from it.
                astray = covered - yard_area + size - 2 * common
                if astray / unit + corner_cost >= least:
                    continue
                astray += 2 * yard_common
                outline = shapely.Polygon(corners @ turned.T)
                if not outline.is_valid or outline.area == 0:
                    continue
                if yard_area and not shapely.contains_properly(outline, courtyards):
                    pierced = shapely.difference(outline, courtyards)
                    if pierced.geom_type != "Polygon":
                        continue
                    astray = shapely.area(shapely.symmetric_difference(pierced, shape))
                cost = astray / unit + corner_cost
                if cost < least:
                    best, least, least_astray = outline, cost, astray
                    if yard_area:
                        best = shapely.difference(outline, courtyards)
    if best is None:
        return None, 0.0
    both = best.area + size
    return best, (both - least_astray) / (both + least_astray)


def _area(corners: NDArray[np.float64]) -> float:
    """Return the area of a rectilinear polygon."""
    return abs(float(_signs(len(corners)) @ (corners[:, 0] * corners[:, 1])))


def _signs(count: int) -> NDArray[np.float64]:
    """Return 1 and -1 by turns."""
    return _SIGNS[:count] if count <= len(_SIGNS) else np.resize([1.0, -1.0], count)


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
        rings = shapely.get_rings(shape)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        points, along = points @ _rotation(angle), ring[1:] == ring[:-1]
        start, end, ring = points[:-1][along], points[1:][along], ring[:-1][along]
        # Around the polygon, the outer ring goes counterclockwise and the others clockwise.
        turning = start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]
        counterclockwise = np.bincount(ring, turning) > 0
        forward = counterclockwise == (np.arange(len(rings)) == 0)
        self._signs = np.where(forward[ring], 1.0, -1.0)
        self._start, self._rise = start, end[:, 1] - start[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (end[:, 0] - start[:, 0]) / self._rise
        self._slope = np.where(self._rise == 0, 0.0, slope)
        self._middle = (start[:, 0] + end[:, 0]) / 2
        self._low, self._high = np.minimum(start, end).T, np.maximum(start, end).T

    def within(
        self, outlines: list[NDArray[np.float64]]
    ) -> Iterator[tuple[NDArray[np.float64], float]]:
        """Yield rectilinear outlines, each with its area in common with the polygon.

        Parameters
        ----------
        outlines : list of (n, 2) array
            Corners along the rotated axes, in order. Areas are computed for some outlines ahead.
        """
        for first in range(0, len(outlines), _OUTLINES):
            group = outlines[first : first + _OUTLINES]
            x, y = np.concatenate(group).T
            # Outlines of one more wall have most corners in common.
            points, places = np.unique(x + 1j * y, return_inverse=True)
            below = self._below(points.real, points.imag)[places]
            ends = np.cumsum([len(each) for each in group])
            for each, end in zip(group, ends.tolist(), strict=True):
                signs = _signs(len(each))
                common = float(signs @ below[end - len(each) : end])
                yield each, common if signs @ (each[:, 0] * each[:, 1]) >= 0 else -common

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

"""The simplest outlines: a regular polygon for round buildings, and a box."""

import math
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import index_ranges
from geossda.footprints.runs import Rings
from geossda.footprints.wall_lines import Proposal

# How far a box may be turned from the main direction, which an annexe can distort, and the steps
# of the search, in radians.
_MAX_TURN_RAD, _TURN_STEPS_RAD = math.radians(12), np.radians([6.0, 3.0, 1.0])
# Cost in parameters of a regular polygon (centre, radius) and of a box (centre, sides, angle), for
# the information criterion; each corner cut off a box adds two.
_DISC_PARAMETERS, _BOX_PARAMETERS, _CUT_PARAMETERS = 3, 5, 2
# Rounds of fitting the walls of a box, each to what lies beside the two others.
_WALL_ROUNDS = 6
# Rings whose boxes are fitted at once differ in length by no more than this, in its logarithm.
_LOG_ALIKE = 0.7


def discs(
    rings: Rings, polygons: NDArray[np.object_], tolerances: NDArray[np.float64]
) -> list[Proposal | None]:
    """Return a regular polygon of the same area for each outline that is round, else None.

    Parameters
    ----------
    rings : Rings
        The outer ring of each polygon.
    polygons : (n,) array of shapely.Polygon
        The outlines that the rings belong to.
    tolerances : (n,) float array
        In the unit of the points.
    """
    owner = np.repeat(np.arange(len(polygons)), rings.counts)
    mean = np.add.reduceat(rings.points, rings.first, axis=0) / rings.counts[:, None]
    x, y = (rings.points - mean[owner]).T
    square = x * x + y * y
    # The circle through points in the sense of least squares of x² + y² (Kåsa 1976).
    sums = np.add.reduceat([x * x, x * y, y * y, x * square, y * square], rings.first, axis=1)
    xx, xy, yy, x_square, y_square = sums
    determinant = 2 * (xx * yy - xy * xy)
    centre = np.stack([yy * x_square - xy * y_square, xx * y_square - xy * x_square])
    centre = centre / np.where(determinant > 0, determinant, np.inf)
    distance = np.hypot(x - centre[0, owner], y - centre[1, owner])
    radius = np.add.reduceat(distance, rings.first) / rings.counts
    deviation = np.add.reduceat((distance - radius[owner]) ** 2, rings.first) / rings.counts
    # The outline of a square varies by a tenth of its radius, that of an octagon by a fortieth.
    round_ = np.sqrt(deviation) <= np.minimum(0.04 * radius, tolerances / 2)
    round_ &= (radius >= 4 * tolerances) & (shapely.get_num_interior_rings(polygons) == 0)
    proposals: list[Proposal | None] = [None] * len(polygons)
    for index in np.flatnonzero(round_).tolist():
        half_turn = math.acos(1 - float(tolerances[index] / 4 / radius[index]))
        corners = max(8, math.ceil(math.pi / half_turn))
        turn = 2 * math.pi / corners
        size = math.sqrt(2 * polygons[index].area / (corners * math.sin(turn)))
        angles = np.arange(corners) * turn
        ring = np.column_stack([np.cos(angles), np.sin(angles)]) * size
        outline = shapely.Polygon(ring + mean[index] + centre[:, index])
        proposals[index] = Proposal(outline, _DISC_PARAMETERS)
    return proposals


def boxes(
    rings: Rings,
    polygons: NDArray[np.object_],
    main: NDArray[np.float64],
    pixels: NDArray[np.float64],
    tolerances: NDArray[np.float64],
    *,
    turn: NDArray[np.bool_],
) -> list[Proposal]:
    """Return the box that has the least area not in common with each outline.

    Each wall has as much of the outline on its outer as on its inner side (the median, which an
    annexe or a notch on less than half of a wall does not move). A corner far outside the outline
    is cut off.

    Parameters
    ----------
    rings : Rings
        The outer ring of each polygon.
    polygons : (n,) array of shapely.Polygon
        The outlines that the rings belong to.
    main : (n,) float array
        Main direction of the walls, in radians.
    pixels, tolerances : (n,) float arrays
        Pixel size, and distance that walls may be moved by, in the unit of the points.
    turn : (n,) bool array
        Whether to search for the best direction around `main`.

    Returns
    -------
    list of Proposal
    """
    angle, walls = main.copy(), np.zeros((len(main), 2, 2))
    order = np.lexsort((rings.counts, turn))
    step = np.diff(turn[order]) | (np.diff(np.floor(np.log(rings.counts[order]) / _LOG_ALIKE)) > 0)
    for group in np.split(order, np.flatnonzero(step) + 1) if len(order) else ():
        extents = _Extents.of(rings, group, pixels[group])
        if turn[group[0]]:
            angle[group], walls[group] = _best_turn(extents, main[group])
        else:
            walls[group] = extents.fit(main[group, None])[1][:, 0]
    corners = np.stack([walls[:, [0, 1, 1, 0], 0], walls[:, [0, 0, 1, 1], 1]], axis=2)
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.stack([np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)], axis=1)
    whole = shapely.polygons(corners @ back)
    around = shapely.buffer(shapely.convex_hull(polygons), 2 * tolerances, join_style="mitre")
    cut = shapely.simplify(shapely.intersection(whole, around), pixels)
    extra_corners = shapely.get_num_coordinates(cut) - 5
    parameters = _BOX_PARAMETERS + _CUT_PARAMETERS * extra_corners
    return [Proposal(*each) for each in zip(cut, parameters.tolist(), strict=True)]


def _best_turn(
    extents: "_Extents", main: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the direction around the main one in which each ring is most like a box."""
    each = np.arange(len(main))
    turns = np.arange(-_MAX_TURN_RAD, _MAX_TURN_RAD + 1e-9, _TURN_STEPS_RAD[0])
    angles = turns + main[:, None]
    costs, walls = extents.fit(angles)
    for step in (*_TURN_STEPS_RAD[1:].tolist(), None):
        least = costs.argmin(axis=1)
        angle, cost, wall = angles[each, least], costs[each, least], walls[each, least]
        if step is not None:
            sides = np.stack([angle - step, angle + step], axis=1)
            (low, high), (one, other) = (np.moveaxis(a, 1, 0) for a in extents.fit(sides))
            angles = np.stack([sides[:, 0], angle, sides[:, 1]], axis=1)
            costs = np.stack([low, cost, high], axis=1)
            walls = np.stack([one, wall, other], axis=1)
    return angle, wall


class _Extents(NamedTuple):
    """Rings of similar length, whose boxes are fitted at once.

    Attributes
    ----------
    points : (m, 2) float array
        Ring by ring.
    first, counts : (n,) int arrays
        Place of the first point of each, and number of its points.
    pixels : (n,) float array
        Pixel size of each.
    """

    points: NDArray[np.float64]
    first: NDArray[np.intp]
    counts: NDArray[np.intp]
    pixels: NDArray[np.float64]

    @classmethod
    def of(cls, rings: Rings, members: NDArray[np.intp], pixels: NDArray[np.float64]) -> "_Extents":
        """Return those of some rings."""
        first, count = rings.first[members], rings.counts[members]
        points = rings.points[index_ranges(first, first + count)]
        return cls(points, np.cumsum(count) - count, count, pixels)

    def fit(self, angles: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fit a box to each ring in each of several directions.

        Parameters
        ----------
        angles : (n, k) float array
            In radians.

        Returns
        -------
        area : (n, k) float array
            Approximate area not in common with the outline.
        walls : (n, k, 2, 2) float array
            The box in rotated coordinates: least x and y, greatest x and y.
        """
        owner = np.repeat(np.arange(len(angles)), self.counts)
        cos, sin = np.cos(angles).T[:, owner], np.sin(angles).T[:, owner]
        x, y = self.points.T
        turned = np.stack([x * cos + y * sin, y * cos - x * sin])
        least = np.minimum.reduceat(turned, self.first, axis=2)
        greatest = np.maximum.reduceat(turned, self.first, axis=2)
        cells = ((turned - least[:, :, owner]) / self.pixels[owner]).astype(np.intp)
        boxes = np.arange(angles.size).reshape(angles.T.shape)
        pixels = np.tile(self.pixels, angles.shape[1])[:, None]
        sides = []
        # For each axis and box: extent of the outline in each row of cells across the axis.
        for axis in (0, 1):
            count = int(cells[1 - axis].max()) + 1
            low = np.full((angles.size, count), np.inf)
            high = -low
            place = (cells[1 - axis] + count * boxes[:, owner]).ravel()
            values = turned[axis].ravel()
            np.minimum.at(low.ravel(), place, values)
            np.maximum.at(high.ravel(), place, values)
            middle = least[1 - axis].reshape(-1, 1) + (np.arange(count) + 0.5) * pixels
            middle[np.isinf(low)] = np.nan  # beside no wall
            sides.append((low, high, middle))
        around = np.stack([least, greatest]).reshape(2, 2, -1).transpose(2, 0, 1)
        area, walls = _fit_boxes(sides, around)
        area *= pixels[:, 0] / 2
        shape = angles.T.shape
        return area.reshape(shape).T, walls.reshape(*shape, 2, 2).transpose(1, 0, 2, 3)


_Side = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _fit_boxes(
    sides: list[_Side], around: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit upright boxes to the extents of outlines, starting from their bounding boxes.

    Around a yard that is open on one side, opposite walls may pass each other. The bounding box is
    then returned, which other proposals are better than.
    """
    walls = around.copy()
    moving = np.arange(len(walls))
    before = [np.full((len(walls), 2), -1), np.full((len(walls), 2), -1)]
    for turn in range(_WALL_ROUNDS):
        axis = turn % 2
        low, high, middle = (extent[moving] for extent in sides[axis])
        start, stop = walls[moving, :, 1 - axis].T[:, :, None]
        beside = (middle >= start) & (middle < stop)
        outer = np.stack([(middle < start).sum(axis=1), (middle < stop).sum(axis=1)], axis=1)
        moved = (outer != before[axis][moving]).any(axis=1)  # else no wall will move any more
        before[axis][moving] = outer
        passed = outer[:, 0] >= outer[:, 1]
        walls[moving[moved & passed]] = around[moving[moved & passed]]
        moved &= ~passed
        moving, beside = moving[moved], beside[moved]
        if not len(moving):
            break
        walls[moving, 0, axis] = _medians(low[moved], beside)
        walls[moving, 1, axis] = _medians(high[moved], beside)
    area = np.zeros(len(walls))
    for axis, (low, high, middle) in enumerate(sides):
        start, stop = walls[:, :, 1 - axis].T[:, :, None]
        left, right = walls[:, :, axis].T[:, :, None]
        beside = (middle >= start) & (middle < stop)
        astray = np.where(beside, np.abs(low - left) + np.abs(high - right), high - low)
        area += np.where(np.isnan(middle), 0, astray).sum(axis=1)
    return area, walls


def _medians(values: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the median of the values used in each row."""
    values = np.sort(np.where(used, values, np.inf), axis=1)
    rows, counts = np.arange(len(values)), used.sum(axis=1)
    return np.asarray((values[rows, (counts - 1) // 2] + values[rows, counts // 2]) / 2)

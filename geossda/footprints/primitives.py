"""The simplest outlines: a regular polygon for round buildings, and a box."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import cast

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.wall_lines import Proposal, median

# How far a box may be turned from the main direction, which an annexe can distort, and the steps
# of the search, in radians.
_MAX_TURN_RAD, _TURN_STEPS_RAD = math.radians(12), np.radians([4.0, 2.0, 1.0, 0.5])
# Cost in parameters of a regular polygon (centre, radius) and of a box (centre, sides, angle), for
# the information criterion; each corner cut off a box adds two.
_DISC_PARAMETERS, _BOX_PARAMETERS, _CUT_PARAMETERS = 3, 5, 2
# Rounds of fitting the walls of a box, each to what lies beside the two others.
_WALL_ROUNDS = 6


def disc(
    points: NDArray[np.float64], polygon: shapely.Polygon, tolerance: float
) -> Proposal | None:
    """Return a regular polygon of the same area if an outline is round, else None.

    Parameters
    ----------
    points : (n, 2) array
        Midpoints of the pixel edges along the ring.
    polygon : Polygon
        The outline that the ring belongs to.
    tolerance : float
        In the unit of the points.
    """
    if len(polygon.interiors):
        return None
    system = np.column_stack([2 * points, np.ones(len(points))])
    (x, y, _), *_ = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)
    distance = np.hypot(points[:, 0] - x, points[:, 1] - y)
    radius = distance.mean()
    # The outline of a square varies by a tenth of its radius, that of an octagon by a fortieth.
    if radius < 4 * tolerance or distance.std() > min(0.04 * radius, tolerance / 2):
        return None
    corners = max(8, math.ceil(math.pi / math.acos(1 - tolerance / 4 / radius)))
    turn = 2 * math.pi / corners
    radius = math.sqrt(2 * polygon.area / (corners * math.sin(turn)))
    angles = np.arange(corners) * turn
    ring = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
    return Proposal(shapely.Polygon(ring), _DISC_PARAMETERS)


def box(
    points: NDArray[np.float64],
    polygon: shapely.Polygon,
    main: float,
    pixel: float,
    tolerance: float,
    *,
    turn: bool,
) -> Proposal:
    """Return the box that has the least area not in common with an outline.

    Each wall has as much of the outline on its outer as on its inner side (the median, which an
    annexe or a notch on less than half of a wall does not move). A corner far outside the outline
    is cut off.

    Parameters
    ----------
    points : (n, 2) array
        Midpoints of the pixel edges along the ring.
    polygon : Polygon
        The outline that the ring belongs to.
    main : float
        Main direction of the walls, in radians.
    pixel, tolerance : float
        Pixel size, and distance that walls may be moved by, in the unit of the points.
    turn : bool
        Whether to search for the best direction around `main`.

    Returns
    -------
    Proposal
    """
    best = main
    if turn:
        angles = np.arange(-_MAX_TURN_RAD, _MAX_TURN_RAD + 1e-9, _TURN_STEPS_RAD[0]) + main
        fits = dict(zip(angles.tolist(), _fit_boxes(points, angles.tolist(), pixel), strict=True))
        best = min(fits, key=lambda angle: fits[angle][0])
        for step in _TURN_STEPS_RAD[1:].tolist():
            both = [best - step, best + step]
            fits |= dict(zip(both, _fit_boxes(points, both, pixel), strict=True))
            best = min((both[0], best, both[1]), key=lambda angle: fits[angle][0])
        _, walls = fits[best]
    else:
        ((_, walls),) = _fit_boxes(points, [main], pixel)
    (left, top), (right, bottom) = walls
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    whole = shapely.Polygon(corners @ _rotation(best).T)
    around = shapely.buffer(polygon.convex_hull, 2 * tolerance, join_style="mitre")
    cut = cast(shapely.Polygon, shapely.simplify(shapely.intersection(whole, around), pixel))
    extra_corners = len(cut.exterior.coords) - 5
    return Proposal(cut, _BOX_PARAMETERS + _CUT_PARAMETERS * extra_corners)


def _rotation(angle: float) -> NDArray[np.float64]:
    along, across = math.cos(angle), math.sin(angle)
    return np.array([[along, -across], [across, along]])


def _fit_boxes(
    points: NDArray[np.float64], angles: Sequence[float], pixel: float
) -> list[tuple[float, NDArray[np.float64]]]:
    """Fit a box in each of several directions.

    Returns
    -------
    list of (float, (2, 2) array)
        Approximate area not in common with the outline, and the box in rotated coordinates: least
        x and y, greatest x and y.
    """
    rotated = np.stack([(points @ _rotation(angle)).T for angle in angles])
    least, greatest = rotated.min(axis=2), rotated.max(axis=2)
    cells = ((rotated - least[:, :, None]) / pixel).astype(np.intp)
    # For each axis and angle: extent of the outline in each row of cells across the axis.
    sides = []
    for axis in (0, 1):
        rows = cells[:, 1 - axis]
        count = int(rows.max()) + 1
        low = np.full((len(angles), count), np.inf)
        high = -low
        flat = (rows + count * np.arange(len(angles))[:, None]).ravel()
        values = rotated[:, axis].ravel()
        np.minimum.at(low.ravel(), flat, values)
        np.maximum.at(high.ravel(), flat, values)
        middle = least[:, 1 - axis, None] + (np.arange(count) + 0.5) * pixel
        sides.append((low, high, middle))
    fits = []
    for index in range(len(angles)):
        extents = []
        for low, high, middle in sides:
            occupied = np.isfinite(low[index])
            extents.append(
                (low[index][occupied], high[index][occupied], middle[index][occupied].tolist())
            )
        fits.append(_fit_box(extents, np.stack([least[index], greatest[index]]), pixel))
    return fits


def _fit_box(
    extents: list[tuple[NDArray[np.float64], NDArray[np.float64], list[float]]],
    walls: NDArray[np.float64],
    pixel: float,
) -> tuple[float, NDArray[np.float64]]:
    """Fit an upright box to the extents of an outline, starting from its bounding box.

    Around a yard that is open on one side, opposite walls may pass each other. The bounding box is
    then returned, which other proposals are better than.
    """
    around = walls.copy()
    before: list[tuple[int, int] | None] = [None, None]
    for turn in range(_WALL_ROUNDS):
        axis = turn % 2
        low, high, middle = extents[axis]
        beside = (
            bisect_left(middle, walls[0, 1 - axis]),
            bisect_left(middle, walls[1, 1 - axis]),
        )
        if beside == before[axis]:
            break  # no wall will move any more
        before[axis] = beside
        if beside[0] >= beside[1]:
            walls = around
            break
        walls[:, axis] = median(low[slice(*beside)]), median(high[slice(*beside)])
    area = 0.0
    for axis, (low, high, middle) in enumerate(extents):
        first, last = (bisect_left(middle, wall) for wall in walls[:, 1 - axis].tolist())
        left, right = walls[:, axis].tolist()
        area += np.abs(low[first:last] - left).sum() + np.abs(high[first:last] - right).sum()
        width = high - low
        area += width[:first].sum() + width[last:].sum()
    return float(area) * pixel / 2, walls

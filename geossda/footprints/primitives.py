"""The plainest outlines: a disc and a box."""

import functools
import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.wall_lines import Proposal

# How far the walls of a box may be turned from the main direction, which an annexe can mislead,
# and by what steps it is looked for.
_TURN, _STEPS = math.radians(12), np.radians([4.0, 2.0, 1.0, 0.5])


def disc(points: NDArray[np.float64], shape: Any, tolerance: float) -> Proposal | None:
    """Give a regular polygon of the same area if the ring is round, else None.

    Parameters
    ----------
    points : (n, 2) array
        Middles of the pixel edges along the ring.
    shape : Polygon
        What the ring is of.
    tolerance : float
        In the points' unit.
    """
    if len(shape.interiors):
        return None
    system = np.column_stack([2 * points, np.ones(len(points))])
    (x, y, _), *_ = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)
    away = np.hypot(points[:, 0] - x, points[:, 1] - y)
    radius = away.mean()
    # A square's outline strays by a tenth of its radius, an octagon's by a fortieth.
    if radius < 4 * tolerance or away.std() > min(0.04 * radius, tolerance / 2):
        return None
    corners = max(8, math.ceil(math.pi / math.acos(1 - tolerance / 4 / radius)))
    turn = 2 * math.pi / corners
    radius = math.sqrt(2 * shape.area / (corners * math.sin(turn)))
    angles = np.arange(corners) * turn
    around = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
    return Proposal(shapely.Polygon(around), 3)


def box(
    points: NDArray[np.float64],
    shape: Any,
    main: float,
    pixel: float,
    tolerance: float,
    *,
    turn: bool,
) -> Proposal:
    """Give the box that has the least area not in common with a ring.

    Each of its walls has as much of the outline before it as behind it, as seen from that side
    (the median, which an annexe or a notch on less than half of a wall does not move). A corner far
    outside, which the outline cuts off, is cut off.

    Parameters
    ----------
    points : (n, 2) array
        Middles of the pixel edges along the ring.
    shape : Polygon
        What the ring is of.
    main : float
        About which direction, in radians.
    pixel, tolerance : float
        Pixel side, and how far walls may be moved, in the points' unit.
    turn : bool
        Whether to turn it to where least strays.
    """

    @functools.cache
    def upright(angle: float) -> tuple[float, NDArray[np.float64]]:
        return _upright(points @ _turned(angle), pixel)

    def stray(angle: float) -> float:
        return upright(angle)[0]

    best = main
    if turn:
        best = min(np.arange(-_TURN, _TURN + 1e-9, _STEPS[0]) + main, key=stray)
        for step in _STEPS[1:]:
            best = min((best - step, best, best + step), key=stray)
    (left, top), (right, bottom) = upright(best)[1]
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    whole = shapely.Polygon(corners @ _turned(best).T)
    around = shapely.buffer(shape.convex_hull, 2 * tolerance, join_style="mitre")
    cut = shapely.simplify(shapely.intersection(whole, around), pixel)
    return Proposal(cut, 5 + 2 * (len(cut.exterior.coords) - 5))


def _turned(angle: float) -> NDArray[np.float64]:
    along, across = math.cos(angle), math.sin(angle)
    return np.array([[along, -across], [across, along]])


def _upright(points: NDArray[np.float64], pixel: float) -> tuple[float, NDArray[np.float64]]:
    """Give the best upright box, (2, 2): low and high, and by what area it differs, about."""
    corner = points.min(axis=0)
    cells = ((points - corner) / pixel).astype(np.intp)
    sides = []
    for axis in (0, 1):
        rows = cells[:, 1 - axis]
        low, high = np.full(rows.max() + 1, np.inf), np.full(rows.max() + 1, -np.inf)
        np.minimum.at(low, rows, points[:, axis])
        np.maximum.at(high, rows, points[:, axis])
        where = corner[1 - axis] + (np.arange(len(low)) + 0.5) * pixel
        some = np.isfinite(low)
        sides.append((low[some], high[some], where[some]))
    walls = np.stack([corner, points.max(axis=0)])
    before: list[slice | None] = [None, None]  # what is beside the walls, of either side
    for turn in range(6):
        axis = turn % 2
        low, high, where = sides[axis]
        beside = slice(*np.searchsorted(where, walls[:, 1 - axis]).tolist())
        if beside == before[axis]:
            break  # and so will everything
        before[axis] = beside
        walls[:, axis] = _median(low[beside]), _median(high[beside])
    area = 0.0
    for axis, (low, high, where) in enumerate(sides):
        first, last = np.searchsorted(where, walls[:, 1 - axis]).tolist()
        left, right = walls[:, axis].tolist()
        area += np.abs(low[first:last] - left).sum() + np.abs(high[first:last] - right).sum()
        width = high - low
        area += width[:first].sum() + width[last:].sum()
    return float(area) * pixel / 2, walls


def _median(values: NDArray[np.float64]) -> float:
    # NumPy's takes four times as long for so few.
    values = np.sort(values)
    return float(values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2

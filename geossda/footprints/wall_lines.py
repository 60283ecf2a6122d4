"""Straight walls from the lines fitted to an outline along pixels, and the polygons they form.

A line near the building's main direction, or at 45 or 90 degrees to it, is turned there if that
moves neither of its ends by more than the tolerance; other lines stay as they are. Neighbouring
lines are intersected.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.runs import FittedRuns

Point = tuple[float, float]

# Sine of the angle (10 degrees) below which two lines count as parallel.
_PARALLEL_SINE = 0.17


class Proposal(NamedTuple):
    """Proposed outline of a building.

    Attributes
    ----------
    outline : shapely.Polygon
        Valid.
    parameters : int
        Number of free parameters, for the information criterion.
    """

    outline: shapely.Polygon
    parameters: int


@dataclass(frozen=True)
class Line:
    """Fitted line: the points p with normal . p = offset.

    Attributes
    ----------
    angle : float
        Direction along the ring, in radians.
    axis : int or None
        Multiple of 45 degrees from the main direction; None if the angle is free.
    points : (n, 2) array
        Points it was fitted to.
    centre : (float, float)
        Mean of the points.
    """

    angle: float
    axis: int | None
    points: NDArray[np.float64]
    centre: Point

    @property
    def normal(self) -> Point:
        """Unit vector across the line."""
        return -math.sin(self.angle), math.cos(self.angle)

    @property
    def offset(self) -> float:
        """Distance of the line from the origin, along the normal."""
        return self.along_normal(self.centre)

    @property
    def length(self) -> float:
        """Extent of the points along the line."""
        along = self.points @ np.array([math.cos(self.angle), math.sin(self.angle)])
        return float(along.max() - along.min())

    def along_normal(self, point: Point) -> float:
        """Return the distance of a point from the origin, along the normal."""
        return -math.sin(self.angle) * point[0] + math.cos(self.angle) * point[1]

    def nearest(self, point: Point) -> Point:
        """Return the point of the line that is nearest to another."""
        x, y = self.normal
        distance = self.offset - self.along_normal(point)
        return point[0] + distance * x, point[1] + distance * y

    def crossing(self, other: "Line") -> Point | None:
        """Return the intersection with another line; None if they are nearly parallel."""
        (a, b), (c, d) = self.normal, other.normal
        sine = a * d - b * c
        if abs(sine) < _PARALLEL_SINE:
            return None
        one, two = self.offset, other.offset
        return (one * d - b * two) / sine, (a * two - one * c) / sine

    def junction(self, following: "Line") -> Point:
        """Return the midpoint between the last point and the first of the following line."""
        (a, b), (c, d) = self.points[-1].tolist(), following.points[0].tolist()
        return (a + c) / 2, (b + d) / 2


def lines_of(fitted: FittedRuns) -> list[list[Line]]:
    """Return the lines of one polygon's runs, ring by ring."""
    runs = fitted.runs
    lines = [
        (ring, Line(angle, None, runs.points[first : last + 1], (x, y)))
        for ring, angle, first, last, (x, y) in zip(
            runs.ring.tolist(),
            fitted.angle.tolist(),
            runs.first.tolist(),
            runs.last.tolist(),
            fitted.centre.tolist(),
            strict=True,
        )
    ]
    by_ring = itertools.groupby(lines, key=lambda numbered: numbered[0])
    return [[line for _, line in group] for _, group in by_ring]


def snap_lines(lines: list[Line], main: float, tolerance: float) -> list[Line]:
    """Turn the lines of a ring to the main direction where that moves them little.

    Parameters
    ----------
    lines : list of Line
        In the order of the ring.
    main : float
        Main direction in radians.
    tolerance : float
        Distance that the ends of a line may be moved by.

    Returns
    -------
    list of Line
        Collinear neighbours merged, small bevels removed.
    """
    snapped = []
    for line in lines:
        length = line.length
        eighth = round((line.angle - main) / (math.pi / 4))
        for axis in sorted(
            (eighth, eighth - 1, eighth + 1), key=lambda a: (a % 2, abs(a - eighth))
        ):
            angle = main + axis * math.pi / 4
            apart = abs((line.angle - angle + math.pi) % (2 * math.pi) - math.pi)
            # 45 degrees are rare among walls, so they must fit twice as well.
            limit = tolerance if axis % 2 == 0 else tolerance / 2
            long_enough = axis % 2 == 0 or length > 4 * tolerance
            if long_enough and length / 2 * math.sin(min(apart, math.pi / 2)) <= limit:
                line = replace(line, angle=angle, axis=axis % 8)
                break
        snapped.append(line)
    merged = _merge_collinear(snapped, tolerance)
    return _merge_collinear(_without_bevels(merged, tolerance), tolerance)


def _merge_collinear(lines: list[Line], tolerance: float) -> list[Line]:
    """Merge collinear neighbours; put a step at right angles between parallel ones that are not."""
    merged: list[Line] = []
    for line in [*lines, None]:
        if line is None:
            if len(merged) < 3:
                break
            line, *merged = merged  # the first line follows the last
        before = merged[-1] if merged else None
        if before is None or line.axis is None or before.axis is None:
            merged.append(line)
        elif line.axis == before.axis:
            if abs(line.offset - before.offset) <= tolerance:
                merged[-1] = _union(before, line)
            else:
                merged += [_step(before, line), line]
        elif (line.axis - before.axis) % 8 == 4 and len(line.points) > 1:
            merged += [_step(before, line), line]
        else:
            merged.append(line)
    return merged


def _union(one: Line, other: Line) -> Line:
    """Return the line of both lines' points, in the direction of the first."""
    m, n = len(one.points), len(other.points)
    (a, b), (c, d) = one.centre, other.centre
    centre = (m * a + n * c) / (m + n), (m * b + n * d) / (m + n)
    return replace(one, points=np.concatenate([one.points, other.points]), centre=centre)


def _step(before: Line, after: Line) -> Line:
    """Return the short wall between two parallel lines, through their junction."""
    junction = before.junction(after)
    side = 1 if before.along_normal(after.centre) > before.offset else -1
    angle, axis = before.angle + side * math.pi / 2, (before.axis or 0) + 2 * side
    return Line(angle, axis, np.array([junction]), junction)


def _without_bevels(lines: list[Line], tolerance: float) -> list[Line]:
    """Remove short lines that cut off the corner between two walls at right angles."""
    kept = []
    for index, line in enumerate(lines):
        before, after = lines[index - 1], lines[(index + 1) % len(lines)]
        square = (
            before.axis is not None
            and after.axis is not None
            and (before.axis - after.axis) % 4 == 2
            and (line.axis is None or line.axis % 2 == 1)
        )
        if square and len(lines) > 4:
            corner = before.crossing(after)
            if corner is not None and abs(line.along_normal(corner) - line.offset) <= 2 * tolerance:
                continue
        kept.append(line)
    return kept


def intersect_lines(rings: list[list[Line]], tolerance: float) -> Proposal | None:
    """Intersect neighbouring lines.

    Parameters
    ----------
    rings : list of lists of Line
        The outer ring, then the holes.
    tolerance : float
        A corner farther than three times this from the junction is replaced by two.

    Returns
    -------
    Proposal or None
        None if the result is not a valid polygon.
    """
    corners: list[list[Point]] = []
    for lines in rings:
        if len(lines) < 3:
            if not corners:
                return None
            continue  # a courtyard too small to have walls
        points: list[Point] = []
        for index, line in enumerate(lines):
            before = lines[index - 1]
            junction = before.junction(line)
            corner = before.crossing(line)
            if corner is not None and math.dist(corner, junction) <= 3 * tolerance:
                points.append(corner)
            else:
                points += [before.nearest(junction), line.nearest(junction)]
        corners.append(points)
    polygon = shapely.Polygon(corners[0], corners[1:])
    # A line along a common direction has one parameter, its offset; any other has its angle too.
    parameters = 1 + sum(1 if line.axis is not None else 2 for lines in rings for line in lines)
    return Proposal(polygon, parameters) if polygon.is_valid and polygon.area > 0 else None

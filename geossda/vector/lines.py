"""Straight walls fitted to outlines along pixels, and the polygons they make.

An outline is cut into runs by Douglas and Peucker's rule, a line is fitted to the middles of the
pixel edges of each run (they scatter evenly about the true wall, as corners of pixels do not), and
neighbouring lines are intersected. Lines near to the building's main direction, or at 45 or 90
degrees to it, are turned there if that moves no end of them by more than the tolerance; others stay
as they are.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

# Of the main direction: edges within so many degrees of each other count together.
_SPREAD = math.radians(12)


class Proposal(NamedTuple):
    """A valid polygon, and how many numbers it takes to tell it."""

    outline: Any
    numbers: int


@dataclass(frozen=True)
class Line:
    """A fitted edge: points p with normal . p = offset.

    Attributes
    ----------
    angle : float
        Direction in radians, walking along the ring.
    axis : int or None
        Multiple of 45 degrees from the main direction, or None if free.
    points : (n, 2) array
        What it was fitted to.
    """

    angle: float
    axis: int | None
    points: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across it."""
        return np.array([-math.sin(self.angle), math.cos(self.angle)])

    @property
    def offset(self) -> float:
        """How far it lies from the origin, along the normal."""
        return float((self.points @ self.normal).mean())

    @property
    def length(self) -> float:
        """How far its points reach along it."""
        along = self.points @ np.array([math.cos(self.angle), math.sin(self.angle)])
        return float(along.max() - along.min()) if len(along) else 0.0

    @property
    def chord(self) -> float:
        """How far its last point is from its first."""
        return math.dist(self.points[0], self.points[-1])

    def nearest(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the point of it that is nearest to another."""
        normal = self.normal
        return np.asarray(point + (self.offset - normal @ point) * normal)

    def crossing(self, other: "Line") -> NDArray[np.float64] | None:
        """Give where it meets another; None if they are nearly parallel."""
        both = np.array([self.normal, other.normal])
        if abs(np.linalg.det(both)) < 0.17:  # less than 10 degrees
            return None
        return np.asarray(np.linalg.solve(both, [self.offset, other.offset]))


def middles(ring: Any, pixel: float) -> NDArray[np.float64]:
    """Give the middles of the pixel edges along a ring, in order, from a far corner."""
    corners = shapely.get_coordinates(ring)
    steps = np.diff(corners, axis=0)
    counts = np.maximum(1, np.rint(np.hypot(*steps.T) / pixel)).astype(int)
    which = np.repeat(np.arange(len(steps)), counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    points = corners[:-1][which] + steps[which] * ((place + 0.5) / counts[which])[:, None]
    start = np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1))
    return np.roll(points, -start, axis=0)


def runs_of(points: NDArray[np.float64], tolerance: float) -> list[NDArray[np.float64]]:
    """Cut a ring of points where Douglas and Peucker keep one; a run has both its ends."""
    if len(points) < 4:
        return [points]
    closed = np.concatenate([points, points[:1]])
    kept = shapely.get_coordinates(shapely.simplify(shapely.LineString(closed), tolerance * 0.75))
    whole = closed[:, 0] + 1j * closed[:, 1]
    places = np.flatnonzero(np.isin(whole[:-1], kept[:, 0] + 1j * kept[:, 1]))
    ends = [*places.tolist(), len(points)]
    return [closed[a : b + 1] for a, b in itertools.pairwise(ends)]


def direction(points: NDArray[np.float64]) -> float:
    """Fit a direction to points in order (total least squares), walking from first to last."""
    chord = points[-1] - points[0]
    if len(points) > 3:
        spread = points - points.mean(axis=0)
        _, vectors = np.linalg.eigh(spread.T @ spread)
        axis = vectors[:, 1]
        chord = axis if axis @ chord >= 0 else -axis
    return math.atan2(chord[1], chord[0])


def main_direction(lines: list[Line]) -> float:
    """Find the direction that most of the outline keeps to, square to it included."""
    # Those that count, and no more than can be compared with each other.
    told = sorted(((line.chord, line.angle) for line in lines), reverse=True)[:256]
    lengths, angles = np.array(told).T
    apart = angles[:, None] - angles[None]
    apart = np.abs((apart + math.pi / 4) % (math.pi / 2) - math.pi / 4)
    votes = (np.maximum(0, 1 - apart / _SPREAD) * lengths**2).sum(axis=1)
    near = apart[np.argmax(votes)] < _SPREAD
    weights = lengths[near] ** 2
    fourfold = (weights * np.exp(4j * angles[near])).sum()
    return float(np.angle(fourfold) / 4)


def fit(run: NDArray[np.float64]) -> Line:
    """Fit a line to a run of points."""
    return Line(direction(run), None, run)


def snapped(lines: list[Line], main: float, tolerance: float) -> list[Line]:
    """Turn lines to the main direction where that moves them little."""
    turned = []
    for line in lines:
        eighth = round((line.angle - main) / (math.pi / 4))
        for axis in sorted(
            (eighth, eighth - 1, eighth + 1), key=lambda a: (a % 2, abs(a - eighth))
        ):
            angle = main + axis * math.pi / 4
            apart = abs((line.angle - angle + math.pi) % (2 * math.pi) - math.pi)
            # At 45 degrees only what is clearly so: it is a rare angle between walls.
            limit = tolerance if axis % 2 == 0 else tolerance / 2
            long = axis % 2 == 0 or line.length > 4 * tolerance
            if long and line.length / 2 * math.sin(min(apart, math.pi / 2)) <= limit:
                line = replace(line, angle=angle, axis=axis % 8)
                break
        turned.append(line)
    return _joined(_without_cuts(_joined(turned, tolerance), tolerance), tolerance)


def _joined(lines: list[Line], tolerance: float) -> list[Line]:
    """Make one of neighbours in a line; put a square step between parallel ones that are not."""
    made: list[Line] = []
    for line in [*lines, None]:
        if line is None:
            if len(made) < 3:
                break
            line, *made = made  # the first follows the last
        before = made[-1] if made else None
        if before is None or line.axis is None or before.axis is None:
            made.append(line)
        elif line.axis == before.axis:
            if abs(line.offset - before.offset) <= tolerance:
                made[-1] = replace(before, points=np.concatenate([before.points, line.points]))
            else:
                made += [_step(before, line), line]
        elif (line.axis - before.axis) % 8 == 4 and line.length > 0:
            made += [_step(before, line), line]
        else:
            made.append(line)
    return made


def _step(before: Line, after: Line) -> Line:
    """Give the short wall between two parallel ones, through where they meet."""
    meeting = (before.points[-1] + after.points[0]) / 2
    normal = before.normal
    side = 1 if normal @ after.points.mean(axis=0) > normal @ before.points.mean(axis=0) else -1
    return Line(before.angle + side * math.pi / 2, (before.axis or 0) + 2 * side, meeting[None])


def _without_cuts(lines: list[Line], tolerance: float) -> list[Line]:
    """Leave out short edges that cut a corner off between two square walls."""
    kept = []
    for place, line in enumerate(lines):
        before, after = lines[place - 1], lines[(place + 1) % len(lines)]
        square = (
            before.axis is not None
            and after.axis is not None
            and (before.axis - after.axis) % 4 == 2
            and (line.axis is None or line.axis % 2 == 1)
        )
        if square and len(lines) > 4:
            corner = before.crossing(after)
            if corner is not None and abs(line.normal @ corner - line.offset) <= 2 * tolerance:
                continue
        kept.append(line)
    return kept


def stray(lines: list[Line]) -> float:
    """Say how far points stray from the lines that were fitted to them (root mean square)."""
    away = np.concatenate([line.points @ line.normal - line.offset for line in lines])
    return float(np.sqrt((away**2).mean()))


def alike(lines: list[Line]) -> float:
    """Say how many neighbouring points err alike, and so count as one observation.

    From the correlation of neighbours about the fitted lines: those of a mask scatter, those of a
    model's outline wander.
    """
    strays = [line.points @ line.normal - line.offset for line in lines]
    square = sum(float(stray @ stray) for stray in strays)
    beside = sum(float(stray[1:] @ stray[:-1]) for stray in strays)
    correlation = min(max(beside / max(square, 1e-12), 0.0), 0.95)
    return (1 + correlation) / (1 - correlation)


def intersected(rings: list[list[Line]], tolerance: float) -> Proposal | None:
    """Intersect neighbouring lines; None if no valid polygon comes of it."""
    made: list[list[NDArray[np.float64]]] = []
    for lines in rings:
        if len(lines) < 3:
            if not made:
                return None
            continue  # a courtyard too small to have walls
        points: list[NDArray[np.float64]] = []
        for place, line in enumerate(lines):
            before = lines[place - 1]
            meeting = (before.points[-1] + line.points[0]) / 2
            corner = before.crossing(line)
            if corner is not None and math.dist(corner, meeting) <= 3 * tolerance:
                points.append(corner)
            else:
                points += [before.nearest(meeting), line.nearest(meeting)]
        made.append(points)
    polygon = shapely.Polygon(made[0], made[1:])
    # A line in one of the common directions is told by its offset, another by its angle too.
    numbers = 1 + sum(1 if line.axis is not None else 2 for lines in rings for line in lines)
    return Proposal(polygon, numbers) if polygon.is_valid and polygon.area > 0 else None

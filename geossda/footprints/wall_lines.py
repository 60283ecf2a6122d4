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

Point = tuple[float, float]

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
    centre : (float, float)
        Their mean.
    """

    angle: float
    axis: int | None
    points: NDArray[np.float64]
    centre: Point

    @property
    def normal(self) -> Point:
        """Unit vector across it."""
        return -math.sin(self.angle), math.cos(self.angle)

    @property
    def offset(self) -> float:
        """How far it lies from the origin, along the normal."""
        return self.along_normal(self.centre)

    @property
    def length(self) -> float:
        """How far its points reach along it."""
        along = self.points @ np.array([math.cos(self.angle), math.sin(self.angle)])
        return float(along.max() - along.min())

    def along_normal(self, point: Point) -> float:
        """Say how far a point lies from the origin, along the normal."""
        return -math.sin(self.angle) * point[0] + math.cos(self.angle) * point[1]

    def nearest(self, point: Point) -> Point:
        """Give the point of it that is nearest to another."""
        x, y = self.normal
        away = self.offset - self.along_normal(point)
        return point[0] + away * x, point[1] + away * y

    def crossing(self, other: "Line") -> Point | None:
        """Give where it meets another; None if they are nearly parallel."""
        (a, b), (c, d) = self.normal, other.normal
        turn = a * d - b * c
        if abs(turn) < 0.17:  # less than 10 degrees
            return None
        one, two = self.offset, other.offset
        return (one * d - b * two) / turn, (a * two - one * c) / turn

    def meeting(self, after: "Line") -> Point:
        """Give the middle between its last point and the first of the one that follows."""
        (a, b), (c, d) = self.points[-1].tolist(), after.points[0].tolist()
        return (a + c) / 2, (b + d) / 2


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


def fit(runs: list[NDArray[np.float64]]) -> list[Line]:
    """Fit a line to each run of points (total least squares), walking from first to last.

    All at once: most runs are so short that a call of NumPy takes longer than its work.
    """
    counts = np.array([len(run) for run in runs])
    ends = np.cumsum(counts)
    begins = ends - counts
    points = np.concatenate(runs)
    centres = np.add.reduceat(points, begins) / counts[:, None]
    x, y = (points - np.repeat(centres, counts, axis=0)).T
    xx, xy, yy = np.add.reduceat(np.stack([x * x, x * y, y * y]), begins, axis=1)
    chords = points[ends - 1] - points[begins]
    angles = np.arctan2(2 * xy, xx - yy) / 2  # of the longer principal axis
    back = np.cos(angles) * chords[:, 0] + np.sin(angles) * chords[:, 1] < 0
    angles += np.where(back, np.where(angles > 0, -math.pi, math.pi), 0)
    angles = np.where(counts > 3, angles, np.arctan2(chords[:, 1], chords[:, 0]))
    return [
        Line(angle, None, run, centre)
        for angle, run, centre in zip(
            angles.tolist(), runs, map(tuple, centres.tolist()), strict=True
        )
    ]


def main_direction(lines: list[Line]) -> float:
    """Find the direction that most of an outline's lines keep to, square to it included."""
    chords = np.array([[*line.points[0], *line.points[-1]] for line in lines])
    return main_angle(chords[:, 2:] - chords[:, :2], np.array([line.angle for line in lines]))


def main_angle(chords: NDArray[np.float64], angles: NDArray[np.float64]) -> float:
    """Find the main direction of lines from last points less first, (n, 2), and directions."""
    lengths = np.hypot(*chords.T)
    # Those that count, and no more than can be compared with each other.
    told = np.lexsort((angles, lengths))[::-1][:256]
    lengths, angles = lengths[told], angles[told]
    apart = (angles[:, None] - angles[None]) / (math.pi / 2)
    apart = np.abs(apart - np.rint(apart)) * (math.pi / 2)
    votes = np.maximum(0, 1 - apart / _SPREAD) @ lengths**2
    near = apart[np.argmax(votes)] < _SPREAD
    weights = lengths[near] ** 2
    fourfold = (weights * np.exp(4j * angles[near])).sum()
    return float(np.angle(fourfold) / 4)


def snapped(lines: list[Line], main: float, tolerance: float) -> list[Line]:
    """Turn lines to the main direction where that moves them little."""
    turned = []
    for line in lines:
        length = line.length
        eighth = round((line.angle - main) / (math.pi / 4))
        for axis in sorted(
            (eighth, eighth - 1, eighth + 1), key=lambda a: (a % 2, abs(a - eighth))
        ):
            angle = main + axis * math.pi / 4
            apart = abs((line.angle - angle + math.pi) % (2 * math.pi) - math.pi)
            # At 45 degrees only what is clearly so: it is a rare angle between walls.
            limit = tolerance if axis % 2 == 0 else tolerance / 2
            long = axis % 2 == 0 or length > 4 * tolerance
            if long and length / 2 * math.sin(min(apart, math.pi / 2)) <= limit:
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
                made[-1] = _together(before, line)
            else:
                made += [_step(before, line), line]
        elif (line.axis - before.axis) % 8 == 4 and len(line.points) > 1:
            made += [_step(before, line), line]
        else:
            made.append(line)
    return made


def _together(one: Line, other: Line) -> Line:
    """Give the line of both their points, as the first one runs."""
    m, n = len(one.points), len(other.points)
    (a, b), (c, d) = one.centre, other.centre
    centre = (m * a + n * c) / (m + n), (m * b + n * d) / (m + n)
    return replace(one, points=np.concatenate([one.points, other.points]), centre=centre)


def _step(before: Line, after: Line) -> Line:
    """Give the short wall between two parallel ones, through where they meet."""
    meeting = before.meeting(after)
    side = 1 if before.along_normal(after.centre) > before.offset else -1
    angle, axis = before.angle + side * math.pi / 2, (before.axis or 0) + 2 * side
    return Line(angle, axis, np.array([meeting]), meeting)


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
            if corner is not None and abs(line.along_normal(corner) - line.offset) <= 2 * tolerance:
                continue
        kept.append(line)
    return kept


def stray(lines: list[Line]) -> float:
    """Say how far points stray from the lines that were fitted to them (root mean square)."""
    away, _ = _strays(lines)
    return float(np.sqrt((away**2).mean()))


def alike(lines: list[Line]) -> float:
    """Say how many neighbouring points err alike, and so count as one observation.

    From the correlation of neighbours about the fitted lines: those of a mask scatter, those of a
    model's outline wander.
    """
    away, of = _strays(lines)
    beside = float((away[1:] * away[:-1])[of[1:] == of[:-1]].sum())
    correlation = min(max(beside / max(float(away @ away), 1e-12), 0.0), 0.95)
    return (1 + correlation) / (1 - correlation)


def _strays(lines: list[Line]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give each point's distance from its line, and which line that is."""
    of = np.repeat(np.arange(len(lines)), [len(line.points) for line in lines])
    told = np.array([(*line.normal, line.offset) for line in lines])[of]
    points = np.concatenate([line.points for line in lines])
    return (points * told[:, :2]).sum(axis=1) - told[:, 2], of


def intersected(rings: list[list[Line]], tolerance: float) -> Proposal | None:
    """Intersect neighbouring lines; None if no valid polygon comes of it."""
    made: list[list[Point]] = []
    for lines in rings:
        if len(lines) < 3:
            if not made:
                return None
            continue  # a courtyard too small to have walls
        points: list[Point] = []
        for place, line in enumerate(lines):
            before = lines[place - 1]
            meeting = before.meeting(line)
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

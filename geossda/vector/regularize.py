"""From outlines along pixels to few, right-angled corners.

Each ring is cut into runs by Douglas and Peucker's rule, a line is fitted to the middles of the
pixel edges of each run (they scatter evenly about the true wall, as corners of pixels do not), and
neighbouring lines are intersected. Lines near to the building's main direction, or at 45 or 90
degrees to it, are turned there if that moves no end of them by more than the tolerance; others stay
as they are, and what is round stays round.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

# What the regular outline must share with the pixels' (intersection over union) to be taken.
LEAST_IOU = 0.85
# How far a corner can come to lie outside the pixels, in tolerances.
REACH = 3.0
# Outlines of more pixel edges than that (six kilometres at 0.3 m) are no building's.
_LONGEST = 20_000
# Of the main direction: edges within so many degrees of each other count together.
_SPREAD = math.radians(12)


@dataclass(frozen=True)
class _Line:
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
        return np.array([-math.sin(self.angle), math.cos(self.angle)])

    @property
    def offset(self) -> float:
        return float((self.points @ self.normal).mean())

    @property
    def length(self) -> float:
        along = self.points @ np.array([math.cos(self.angle), math.sin(self.angle)])
        return float(along.max() - along.min()) if len(along) else 0.0

    def nearest(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        normal = self.normal
        return np.asarray(point + (self.offset - normal @ point) * normal)

    def crossing(self, other: "_Line") -> NDArray[np.float64] | None:
        both = np.array([self.normal, other.normal])
        if abs(np.linalg.det(both)) < 0.17:  # less than 10 degrees
            return None
        return np.asarray(np.linalg.solve(both, [self.offset, other.offset]))


def regularize(shape: Any, pixel: float, tolerance: float) -> Any:
    """Give one footprint few corners, right-angled where it nearly is.

    Outlines are proposed at the tolerance and at twice that, with walls turned square and as they
    are, besides a box and, where it is round, a disc. The one with the lowest Bayesian information
    criterion is taken (Schwarz 1978): corners must pay for themselves by coming nearer to the
    pixels, and those that are not square more than those that are, since each takes an angle of its
    own.

    Parameters
    ----------
    shape : shapely.Polygon
        Along pixel edges, in metres.
    pixel : float
        Pixel side in metres.
    tolerance : float
        How far walls may be moved, in metres; corners move by up to `REACH` times that.

    Returns
    -------
    shapely.Polygon
        Valid; `shape` itself, simplified, where nothing regular is near it.
    """
    tolerance = max(tolerance, pixel)
    holes = [h for h in shape.interiors if shapely.Polygon(h).area >= (4 * tolerance) ** 2]
    shape = shapely.Polygon(shape.exterior, holes)
    rings = [_middles(ring, pixel) for ring in (shape.exterior, *holes)]
    if sum(map(len, rings)) > _LONGEST:
        return _simplified(shape, tolerance / 2)
    proposed: list[_Proposal | None] = []
    for coarse in (tolerance, 2 * tolerance):
        runs = [_runs(points, coarse) for points in rings]
        main = _main_direction([run for ring in runs for run in ring])
        proposed.append(_polygon([_snapped(ring, main, coarse) for ring in runs], coarse))
        proposed.append(_polygon([[_fit(run) for run in ring] for ring in runs], coarse))
    proposed += [_box(shape, main), _disc(rings[0], shape, tolerance)]
    points = np.asarray(shapely.points(np.concatenate(rings)), object)
    count = len(points) / _alike([_fit(run) for ring in runs for run in ring])
    ranked = sorted(
        (proposal for proposal in proposed if proposal is not None),
        key=lambda proposal: _criterion(proposal, points, count, pixel),
    )
    for outline, _ in ranked:
        corners = shapely.points(shapely.get_coordinates(outline))
        near = shapely.distance(corners, shape).max() <= REACH * tolerance
        if near and overlap(outline, shape) >= LEAST_IOU:
            return outline
    return _simplified(shape, tolerance / 2)


class _Proposal(NamedTuple):
    """A valid polygon, and how many numbers it takes to tell it."""

    outline: Any
    numbers: int


def _alike(lines: list[_Line]) -> float:
    """Say how many neighbouring points err alike, and so count as one observation.

    From the correlation of neighbours about the fitted lines: those of a mask scatter, those of a
    model's outline wander.
    """
    strays = [line.points @ line.normal - line.offset for line in lines]
    square = sum(float(stray @ stray) for stray in strays)
    beside = sum(float(stray[1:] @ stray[:-1]) for stray in strays)
    correlation = min(max(beside / max(square, 1e-12), 0.0), 0.95)
    return (1 + correlation) / (1 - correlation)


def _criterion(
    proposal: _Proposal, points: NDArray[np.object_], count: float, pixel: float
) -> float:
    """Weigh the distance of pixel edges to an outline against what it takes to tell it."""
    away = shapely.distance(points, proposal.outline.boundary)
    # What a straight wall strays from its pixels is not to be explained by corners.
    stray = (away**2).mean() + (0.3 * pixel) ** 2
    count = max(2.0, count)
    return float(count * math.log(stray) + proposal.numbers * math.log(count))


def _simplified(shape: Any, tolerance: float) -> Any:
    plain = shapely.simplify(shape, tolerance)
    return plain if plain.is_valid and plain.geom_type == "Polygon" else shape


def turned_square(
    points: NDArray[np.float64], outline: Any, tolerance: float
) -> NDArray[np.float64]:
    """Fit a straight wall to points, square to an outline if that moves no end by more.

    Parameters
    ----------
    points : (n, 2) array
        Along pixel edges, in order.
    outline : Polygon
        Whose main direction counts.
    tolerance : float
        In the points' unit.

    Returns
    -------
    (2, 2) array
        Its ends.
    """
    corners = shapely.get_coordinates(outline.exterior)
    main = _main_direction(list(np.stack([corners[:-1], corners[1:]], axis=1)))
    middles = (points[:-1] + points[1:]) / 2 if len(points) > 2 else points
    angle = _direction(np.concatenate([points[:1], middles, points[-1:]]))
    square = main + round((angle - main) / (math.pi / 2)) * math.pi / 2
    length = math.dist(points[0], points[-1])
    if length / 2 * math.sin(abs(angle - square)) <= tolerance:
        angle = square
    along = np.array([math.cos(angle), math.sin(angle)])
    centre = middles.mean(axis=0)
    return np.array([centre + ((end - centre) @ along) * along for end in (points[0], points[-1])])


def overlap(one: Any, other: Any) -> float:
    """Intersection over union of two valid polygons."""
    common = shapely.area(shapely.intersection(one, other))
    return float(common / (one.area + other.area - common))


def _middles(ring: Any, pixel: float) -> NDArray[np.float64]:
    """Give the middles of the pixel edges along a ring, in order, from a far corner."""
    corners = shapely.get_coordinates(ring)
    steps = np.diff(corners, axis=0)
    counts = np.maximum(1, np.rint(np.hypot(*steps.T) / pixel)).astype(int)
    which = np.repeat(np.arange(len(steps)), counts)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    points = corners[:-1][which] + steps[which] * ((place + 0.5) / counts[which])[:, None]
    start = np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1))
    return np.roll(points, -start, axis=0)


def _runs(points: NDArray[np.float64], tolerance: float) -> list[NDArray[np.float64]]:
    """Cut a ring of points where Douglas and Peucker keep one; a run has both its ends."""
    if len(points) < 4:
        return [points]
    closed = np.concatenate([points, points[:1]])
    kept = shapely.get_coordinates(shapely.simplify(shapely.LineString(closed), tolerance * 0.75))
    whole = closed[:, 0] + 1j * closed[:, 1]
    places = np.flatnonzero(np.isin(whole[:-1], kept[:, 0] + 1j * kept[:, 1]))
    ends = [*places.tolist(), len(points)]
    return [closed[a : b + 1] for a, b in itertools.pairwise(ends)]


def _direction(points: NDArray[np.float64]) -> float:
    """Fit a direction to points in order (total least squares), walking from first to last."""
    chord = points[-1] - points[0]
    if len(points) > 3:
        spread = points - points.mean(axis=0)
        _, vectors = np.linalg.eigh(spread.T @ spread)
        axis = vectors[:, 1]
        chord = axis if axis @ chord >= 0 else -axis
    return math.atan2(chord[1], chord[0])


def _main_direction(runs: list[NDArray[np.float64]]) -> float:
    """Find the direction that most of the outline keeps to, square to it included."""
    # Those that count, and no more than can be compared with each other.
    runs = sorted(runs, key=lambda run: -math.dist(run[0], run[-1]))[:256]
    lengths = np.array([math.dist(run[0], run[-1]) for run in runs])
    angles = np.array([_direction(run) for run in runs])
    apart = angles[:, None] - angles[None]
    apart = np.abs((apart + math.pi / 4) % (math.pi / 2) - math.pi / 4)
    votes = (np.maximum(0, 1 - apart / _SPREAD) * lengths**2).sum(axis=1)
    near = apart[np.argmax(votes)] < _SPREAD
    weights = lengths[near] ** 2
    fourfold = (weights * np.exp(4j * angles[near])).sum()
    return float(np.angle(fourfold) / 4)


def _fit(run: NDArray[np.float64]) -> _Line:
    return _Line(_direction(run), None, run)


def _snapped(runs: list[NDArray[np.float64]], main: float, tolerance: float) -> list[_Line]:
    """Fit lines, turned to the main direction where that moves them little."""
    lines = []
    for run in runs:
        line = _fit(run)
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
        lines.append(line)
    return _joined(_without_cuts(_joined(lines, tolerance), tolerance), tolerance)


def _joined(lines: list[_Line], tolerance: float) -> list[_Line]:
    """Make one of neighbours in a line; put a square step between parallel ones that are not."""
    made: list[_Line] = []
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


def _step(before: _Line, after: _Line) -> _Line:
    """Give the short wall between two parallel ones, through where they meet."""
    meeting = (before.points[-1] + after.points[0]) / 2
    normal = before.normal
    side = 1 if normal @ after.points.mean(axis=0) > normal @ before.points.mean(axis=0) else -1
    return _Line(before.angle + side * math.pi / 2, (before.axis or 0) + 2 * side, meeting[None])


def _without_cuts(lines: list[_Line], tolerance: float) -> list[_Line]:
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


def _polygon(rings: list[list[_Line]], tolerance: float) -> _Proposal | None:
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
    return _Proposal(polygon, numbers) if polygon.is_valid and polygon.area > 0 else None


def _disc(points: NDArray[np.float64], shape: Any, tolerance: float) -> _Proposal | None:
    """Give a regular polygon of the same area if the ring is round, else None."""
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
    return _Proposal(shapely.Polygon(around), 3)


def _box(shape: Any, main: float) -> _Proposal:
    """Give the upright box in the main direction, of the same middle and area."""
    turn = np.array([[math.cos(main), math.sin(main)], [-math.sin(main), math.cos(main)]])
    points = shapely.get_coordinates(shape) @ turn.T
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    half *= math.sqrt(shape.area / max(1e-12, 4 * half[0] * half[1]))
    corners = middle + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return _Proposal(shapely.Polygon(corners @ turn), 5)

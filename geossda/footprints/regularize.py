"""Regularization of outlines along pixels: few corners, right-angled where possible.

Several outlines are proposed and one is chosen. Where the pixels follow walls, as those of a mask
do, proposals must come near to all of them. The outline of a model wanders, and its small corners
are as likely artefacts as real: there the simplest proposals are tried first, then a polygon of
right angles only, and what none of them is near to is only smoothed.
"""

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.primitives import box, disc
from geossda.footprints.rectilinear import rectilinear_outline
from geossda.footprints.wall_lines import (
    Proposal,
    correlated_points,
    edge_midpoints,
    fit_lines,
    intersect_lines,
    main_direction,
    residual_rms,
    snap_lines,
    split_runs,
)

# Least intersection over union of a proposal with the pixels: where the pixels follow walls; and
# where they wander, for a disc or a box, and for any other proposal. A polygon of right angles only
# is tried before the other proposals there, and last of all with the least in common.
_MIN_IOU, _MIN_IOU_PRIMITIVE, _MIN_IOU_WANDERING = 0.85, 0.88, 0.93
_MIN_IOU_RECTILINEAR = 0.75
# Greatest distance of an outline outside the pixels, in tolerances.
REACH = 3.0
# An outline wanders if the root mean square distance in pixels from the lines fitted at one and at
# two tolerances exceeds these limits. One in twenty outlines of masks does, and three in four of a
# model's (decision 0008).
_WANDERING_RMS_PX = (0.26, 0.4)
# Distance in pixels that a straight wall has from its own pixel edges (root mean square), which no
# corners need to explain.
_PIXEL_RMS_PX = 0.3
# Twice the difference in radians below which two directions are one.
_SAME_RAD = 1e-6
# Rings of more pixel edges (six kilometres at 0.3 m) belong to no building and are only smoothed.
_MAX_EDGES = 20_000


def regularize(polygon: shapely.Polygon, pixel: float, tolerance: float) -> shapely.Polygon:
    """Return an outline with few corners, right-angled where it nearly is.

    Outlines are proposed at one and at two tolerances, with walls turned to right angles and
    unchanged, besides a box and, where the outline is round, a disc. The one with the lowest
    Bayesian information criterion is taken (Schwarz 1978): a corner must pay for itself by coming
    nearer to the pixels, and a corner that is not square must pay more, since it takes an angle of
    its own. Of an outline that wanders, the disc or the box is taken if it has enough in common
    with the pixels, before any other. Where no proposal has enough in common with them, all walls
    are put along and across one direction.

    Parameters
    ----------
    polygon : shapely.Polygon
        Along pixel edges, in metres.
    pixel : float
        Pixel size in metres.
    tolerance : float
        Distance that walls may be moved by, in metres; corners move by up to :data:`REACH` times
        that.

    Returns
    -------
    shapely.Polygon
        Valid; the polygon itself, smoothed, where nothing regular is near it.
    """
    tolerance = max(tolerance, pixel)
    holes = [h for h in polygon.interiors if shapely.Polygon(h).area >= (4 * tolerance) ** 2]
    polygon = shapely.Polygon(polygon.exterior, holes)
    rings = [edge_midpoints(ring, pixel) for ring in (polygon.exterior, *holes)]
    if sum(map(len, rings)) <= _MAX_EDGES:
        surroundings = _Surroundings(polygon, pixel, REACH * tolerance)
        for proposal, min_iou in _proposals(polygon, rings, pixel, tolerance):
            if _overlaps(proposal.outline, polygon, min_iou) and proposal.outline in surroundings:
                return proposal.outline
    return smoothed(polygon, tolerance)


def _overlaps(one: shapely.Polygon, other: shapely.Polygon, min_iou: float) -> bool:
    """Return whether two polygons have an intersection over union of at least `min_iou`."""
    areas = sorted([one.area, other.area])
    # The intersection is no larger than the smaller polygon.
    return areas[0] >= min_iou * areas[1] and overlap(one, other) >= min_iou


class _Surroundings:
    """The points within `reach` of a polygon along pixels."""

    def __init__(self, polygon: shapely.Polygon, pixel: float, reach: float) -> None:
        self._polygon, self._pixel, self._reach = polygon, pixel, reach

    @functools.cached_property
    def _most(self) -> shapely.Polygon:
        """Most of them, found in a fraction of the time."""
        # The simplified polygon deviates by less than a pixel, and a buffer falls short by up to
        # 2 %.
        simple = shapely.simplify(self._polygon, self._pixel)
        most = shapely.buffer(simple, 0.98 * self._reach - self._pixel, quad_segs=4)
        shapely.prepare(most)
        return most

    def __contains__(self, outline: shapely.Polygon) -> bool:
        """Return whether all points of an outline are among them."""
        if shapely.contains_properly(self._most, outline):
            return True
        margin = (1.1 * self._reach + self._pixel) * np.array([-1, -1, 1, 1])
        for part in shapely.get_parts(shapely.difference(outline, self._most)):
            around = shapely.clip_by_rect(self._polygon, *(shapely.bounds(part) + margin).tolist())
            near = shapely.buffer(around, self._reach, quad_segs=4)
            if not shapely.contains_properly(near, part):
                return False
        return True


def _proposals(
    polygon: shapely.Polygon, rings: list[NDArray[np.float64]], pixel: float, tolerance: float
) -> Iterator[tuple[Proposal, float]]:
    """Yield proposals, best first, each with its least intersection over union."""
    reaches = tolerance, 2 * tolerance
    runs = {reach: [split_runs(points, reach) for points in rings] for reach in reaches}
    walls = {reach: list(map(fit_lines, by_ring)) for reach, by_ring in runs.items()}
    lines = {reach: list(itertools.chain(*by_ring)) for reach, by_ring in walls.items()}
    main = {reach: main_direction(fitted) for reach, fitted in lines.items()}
    wanders = all(
        residual_rms(fitted) > limit * pixel
        for fitted, limit in zip(lines.values(), _WANDERING_RMS_PX, strict=True)
    )
    boxed = box(rings[0], polygon, main[2 * tolerance], pixel, tolerance, turn=wanders)
    proposals: list[Proposal | None] = [disc(rings[0], polygon, tolerance), boxed]
    if wanders and len(rings) == 1:
        yield from ((each, _MIN_IOU_PRIMITIVE) for each in proposals if each is not None)
    outline = rectilinear_outline(
        polygon,
        [by_ring[0] for by_ring in runs.values()],
        _different([main[2 * tolerance], _longest_direction(boxed.outline)]),
        tolerance,
    )
    # A wall along a common direction is described by its offset alone.
    rectilinear = None if outline is None else Proposal(outline, len(outline.exterior.coords))
    if wanders:
        proposals = []
        if rectilinear is not None:
            yield rectilinear, _MIN_IOU
    for reach, by_ring in walls.items():
        snapped = [snap_lines(ring, main[reach], reach) for ring in by_ring]
        proposals += [intersect_lines(snapped, reach), intersect_lines(by_ring, reach)]
    proposals.append(rectilinear)
    points = np.asarray(shapely.points(np.concatenate(rings)), object)
    count = len(points) / correlated_points(lines[2 * tolerance])
    ranked = sorted(
        (proposal for proposal in proposals if proposal is not None),
        key=lambda proposal: _criterion(proposal, points, count, pixel),
    )
    if not wanders:
        yield from ((proposal, _MIN_IOU) for proposal in ranked)
    elif ranked:
        yield ranked[0], _MIN_IOU_WANDERING
    if rectilinear is not None:
        yield rectilinear, _MIN_IOU_RECTILINEAR


def _different(angles: list[float]) -> list[float]:
    """Return the angles, in radians, but for those at right angles to one before."""
    kept: list[float] = []
    for angle in angles:
        if all(abs(math.sin(2 * (angle - other))) > _SAME_RAD for other in kept):
            kept.append(angle)
    return kept


def _longest_direction(outline: shapely.Polygon) -> float:
    """Return the direction of an outline's longest wall, in radians."""
    walls = np.diff(shapely.get_coordinates(outline.exterior), axis=0)
    x, y = walls[np.argmax((walls**2).sum(axis=1))].tolist()
    return math.atan2(y, x)


def _criterion(
    proposal: Proposal, points: NDArray[np.object_], count: float, pixel: float
) -> float:
    """Compute the Bayesian information criterion of a proposal.

    Parameters
    ----------
    proposal : Proposal
    points : (n,) array of Point
        Midpoints of the pixel edges.
    count : float
        Number of independent observations among them.
    pixel : float
        Pixel size in the unit of the points.
    """
    distance = shapely.distance(points, proposal.outline.boundary)
    variance = (distance**2).mean() + (_PIXEL_RMS_PX * pixel) ** 2
    count = max(2.0, count)
    return float(count * math.log(variance) + proposal.parameters * math.log(count))


def smoothed(polygon: shapely.Polygon, tolerance: float) -> shapely.Polygon:
    """Drop corners that enclose little area (Visvalingam and Whyatt 1993), on both sides alike.

    The corners that Douglas and Peucker keep are the farthest out, so that they stray by more than
    the outline does.

    Parameters
    ----------
    polygon : shapely.Polygon
    tolerance : float
        Square root of the area, in the unit of the polygon.
    """
    simplified: shapely.Polygon = shapely.coverage_simplify([polygon], tolerance)[0]
    return simplified


def overlap(one: shapely.Polygon, other: shapely.Polygon) -> float:
    """Compute the intersection over union of two polygons.

    Parameters
    ----------
    one, other : shapely.Polygon
        Valid.
    """
    common = shapely.area(shapely.intersection(one, other))
    return float(common / (one.area + other.area - common))

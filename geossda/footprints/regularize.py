"""Regularization of outlines along pixels: few corners, right-angled where possible.

Several outlines are proposed and one is chosen. Where the pixels follow walls, as those of a mask
do, proposals must come near to all of them. The outline of a model wanders, and its small corners
are as likely artefacts as real: there the simplest proposals are tried first, then a polygon of
right angles only, and what none of them is near to is only smoothed.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.primitives import boxes, discs
from geossda.footprints.rectilinear import Walls, alternating_walls, rectilinear_outlines
from geossda.footprints.runs import FittedRuns, edge_midpoints, fit_lines, split_runs
from geossda.footprints.wall_lines import Proposal, intersect_lines, lines_of, snap_lines

# Least intersection over union of a proposal with the pixels: where the pixels follow walls; and
# where they wander, for a disc or a box, and for outlines at free angles. Polygons of right angles
# only are tried before those, with no more in common than where the pixels follow walls.
_MIN_IOU, _MIN_IOU_PRIMITIVE, _MIN_IOU_WANDERING = 0.75, 0.88, 0.93
# How much intersection over union fewer corners may cost polygons of right angles.
_MOST_FOR_CORNERS = 0.05
# Greatest distance of an outline outside the pixels, in tolerances.
REACH = 3.0
# An outline wanders if the root mean square distance in pixels from the lines fitted at one and at
# two tolerances exceeds these limits. About one in twenty outlines of masks does, and three in four
# of a model's (decision 0008).
_WANDERING_RMS_PX = (0.24, 0.4)
# Distance in pixels that a straight wall has from its own pixel edges (root mean square), which no
# corners need to explain.
_PIXEL_RMS_PX = 0.3
# Twice the difference in radians below which two directions are one.
_SAME_RAD = 1e-6
# Outlines of more pixel edges (six kilometres at 0.3 m) are no building's and are only smoothed.
_MAX_EDGES = 20_000
# Successive points whose nearest walls are sought together, and number of points times walls up to
# which that does not pay.
_TOGETHER, _FEW_PAIRS = 16, 2**14


def regularize(
    polygons: NDArray[np.object_], pixels: NDArray[np.float64], tolerance: float
) -> NDArray[np.object_]:
    """Return outlines with few corners, right-angled where they nearly are.

    Outlines are proposed at one and at two tolerances, with walls turned to right angles and
    unchanged, besides a box and, where the outline is round, a disc. The one with the lowest
    Bayesian information criterion is taken (Schwarz 1978): a corner must pay for itself by coming
    nearer to the pixels, and a corner that is not square must pay more, since it takes an angle of
    its own. An outline that wanders is a disc or a box if that has enough in common with the
    pixels, else a polygon of right angles only, else the lines turned to right angles.

    Parameters
    ----------
    polygons : (n,) array of shapely.Polygon
        Along pixel edges, in metres. None depends on the others.
    pixels : (n,) float array
        Pixel size at each in metres.
    tolerance : float
        Distance that walls may be moved by, in metres; corners move by up to :data:`REACH` times
        that.

    Returns
    -------
    (n,) array of shapely.Polygon
        Valid; the polygons themselves, smoothed, where nothing regular is near them.
    """
    tolerances = np.maximum(tolerance, pixels)
    polygons = _without_small_yards(polygons, tolerances)
    result = polygons.copy()
    ordinary = shapely.length(polygons) <= _MAX_EDGES * pixels
    for index, outline in zip(
        np.flatnonzero(ordinary).tolist(),
        _outlines_of(polygons[ordinary], pixels[ordinary], tolerances[ordinary]),
        strict=True,
    ):
        result[index] = outline.chosen()
        ordinary[index] = result[index] is not None
    for index in np.flatnonzero(~ordinary).tolist():
        result[index] = smoothed(polygons[index], tolerances[index])
    return result


def _without_small_yards(
    polygons: NDArray[np.object_], tolerances: NDArray[np.float64]
) -> NDArray[np.object_]:
    """Return polygons without the holes that are too small to have walls."""
    filled = polygons.copy()
    for index in np.flatnonzero(shapely.get_num_interior_rings(polygons)).tolist():
        outer, *holes = shapely.get_rings(polygons[index])
        large = shapely.area(shapely.polygons(holes)) >= (4 * tolerances[index]) ** 2
        filled[index] = shapely.Polygon(
            outer, [h for h, keep in zip(holes, large, strict=True) if keep]
        )
    return filled


class _Surroundings(NamedTuple):
    """The points within `reach` of a polygon along pixels.

    Attributes
    ----------
    polygon : shapely.Polygon
    most : shapely.Polygon
        Most of the points, found in a fraction of the time; prepared.
    pixel, reach : float
        In the unit of the polygon.
    """

    polygon: shapely.Polygon
    most: shapely.Polygon
    pixel: float
    reach: float

    @classmethod
    def of(
        cls,
        polygons: NDArray[np.object_],
        pixels: NDArray[np.float64],
        reaches: NDArray[np.float64],
    ) -> "list[_Surroundings]":
        """Return those of several polygons."""
        simple = shapely.simplify(polygons, pixels, preserve_topology=False)
        crossed = ~shapely.is_valid(simple)
        simple[crossed] = shapely.simplify(polygons[crossed], pixels[crossed])
        # What is simplified deviates by less than a pixel, and a buffer falls short by up to 2 %.
        most = shapely.buffer(simple, 0.98 * reaches - pixels, quad_segs=4)
        shapely.prepare(most)
        return list(map(cls, polygons, most, pixels.tolist(), reaches.tolist()))

    def __contains__(self, outline: Any) -> bool:
        """Return whether all points of an outline are among them."""
        if shapely.contains_properly(self.most, outline):
            return True
        margin = (1.1 * self.reach + self.pixel) * np.array([-1, -1, 1, 1])
        for part in shapely.get_parts(shapely.difference(outline, self.most)):
            around = shapely.clip_by_rect(self.polygon, *(shapely.bounds(part) + margin).tolist())
            near = shapely.buffer(around, self.reach, quad_segs=4)
            if not shapely.contains_properly(near, part):
                return False
        return True


class _Outline(NamedTuple):
    """An outline along pixels, and what has been fitted to it.

    Attributes
    ----------
    polygon : shapely.Polygon
    points : (n, 2) float array
        Midpoints of its pixel edges.
    walls : (FittedRuns, FittedRuns)
        Lines fitted at one and at two tolerances.
    main : (float, float)
        The main direction of each, in radians.
    wanders : bool
        Whether it is far from both.
    directions : list of (float, list of Walls)
        Directions of its walls in radians, with what :func:`rectilinear_outlines` takes.
    disc, box : Proposal or None, Proposal
    surroundings : _Surroundings
    pixel, tolerance : float
        In the unit of the polygon.
    """

    polygon: shapely.Polygon
    points: NDArray[np.float64]
    walls: tuple[FittedRuns, FittedRuns]
    main: tuple[float, float]
    wanders: bool
    directions: list[tuple[float, list[Walls]]]
    disc: Proposal | None
    box: Proposal
    surroundings: _Surroundings
    pixel: float
    tolerance: float

    def chosen(self) -> shapely.Polygon | None:
        """Return the first proposal that is near enough to the pixels."""
        for outline, iou, min_iou in self._proposals():
            near = self._overlaps(outline, min_iou) if iou is None else iou >= min_iou
            if near and outline in self.surroundings:
                return outline
        return None

    def _overlaps(self, outline: shapely.Polygon, min_iou: float) -> bool:
        """Return whether an outline has an intersection over union of at least `min_iou`."""
        areas = sorted([outline.area, self.polygon.area])
        # The intersection is no larger than the smaller polygon.
        return areas[0] >= min_iou * areas[1] and overlap(outline, self.polygon) >= min_iou

    def _proposals(self) -> Iterator[tuple[shapely.Polygon, float | None, float]]:
        """Yield outlines, best first, with their IoU where it is known, and its least."""
        proposals = [self.box] if self.disc is None else [self.disc, self.box]
        if self.wanders and not len(self.polygon.interiors):
            yield from ((each.outline, None, _MIN_IOU_PRIMITIVE) for each in proposals)
        rectilinear = rectilinear_outlines(self.polygon, self.directions, self.tolerance)
        if self.wanders:
            nearest = max((iou for _, iou in rectilinear), default=0.0)
            min_iou = max(_MIN_IOU, nearest - _MOST_FOR_CORNERS)
            yield from ((outline, iou, min_iou) for outline, iou in rectilinear)
            for fit in (1, 0):
                square = self._drawn(fit, snapped=True)
                if square is not None:
                    yield square.outline, None, _MIN_IOU_WANDERING
        else:
            drawn = (self._drawn(fit, snapped=how) for fit in (0, 1) for how in (True, False))
            proposals += [each for each in drawn if each is not None]
            # A wall along a common direction is described by its offset alone.
            proposals += [
                Proposal(outline, len(outline.exterior.coords)) for outline, _ in rectilinear[-1:]
            ]
            yield from ((each.outline, None, _MIN_IOU) for each in self._ranked(proposals))

    def _drawn(self, fit: int, *, snapped: bool) -> Proposal | None:
        """Return the outline along the walls of a fit, turned to its main direction or as it is."""
        reach, lines = (1, 2)[fit] * self.tolerance, lines_of(self.walls[fit])
        if snapped:
            lines = [snap_lines(ring, self.main[fit], reach) for ring in lines]
        return intersect_lines(lines, reach)

    def _ranked(self, proposals: list[Proposal]) -> list[Proposal]:
        """Return proposals by the Bayesian information criterion."""
        count = len(self.points) / self.walls[1].correlated_points()
        return sorted(proposals, key=lambda each: _criterion(each, self.points, count, self.pixel))


def _outlines_of(
    polygons: NDArray[np.object_], pixels: NDArray[np.float64], tolerances: NDArray[np.float64]
) -> Iterator[_Outline]:
    """Yield polygons with what is fitted to all of them at once."""
    if not len(polygons):
        return
    rings = edge_midpoints(polygons, pixels)
    outer = rings.outer()
    outermost = np.searchsorted(rings.polygon, outer.polygon)
    fits, cuts, mains, wanders = [], [], [], np.ones(len(polygons), bool)
    for factor, limit in zip((1, 2), _WANDERING_RMS_PX, strict=True):
        runs = split_runs(rings, factor * tolerances[rings.polygon])
        cuts.append(runs.of_rings(outermost))
        fitted, owner = fit_lines(runs), rings.polygon[runs.ring]
        ends = np.searchsorted(owner, np.arange(len(polygons) + 1)).tolist()
        fits.append([fitted.take(slice(*pair)) for pair in itertools.pairwise(ends)])
        mains.append([each.main_direction() for each in fits[-1]])
        squares = np.bincount(owner[runs.owner], fitted.residuals() ** 2, len(polygons))
        counts = np.bincount(owner[runs.owner], minlength=len(polygons))
        wanders &= np.sqrt(squares / counts) > limit * pixels
    boxed = boxes(outer, polygons, np.array(mains[1]), pixels, tolerances, turn=wanders)
    angles = mains[1], [_longest_direction(each.outline) for each in boxed]
    differ = np.abs(np.sin(2 * np.subtract(*angles))) > _SAME_RAD  # or are at right angles
    walls = [[alternating_walls(runs, np.array(each)) for runs in cuts] for each in angles]
    near = _Surroundings.of(polygons, pixels, REACH * tolerances)
    points = np.split(rings.points, rings.first[outermost[1:]])
    circles = discs(outer, polygons, tolerances)
    for index, polygon in enumerate(polygons):
        yield _Outline(
            polygon,
            points[index],
            (fits[0][index], fits[1][index]),
            (mains[0][index], mains[1][index]),
            bool(wanders[index]),
            [
                (angles[which][index], [each[index] for each in walls[which]])
                for which in ((0, 1) if differ[index] else (0,))
            ],
            circles[index],
            boxed[index],
            near[index],
            float(pixels[index]),
            float(tolerances[index]),
        )


def _longest_direction(outline: shapely.Polygon) -> float:
    """Return the direction of an outline's longest wall, in radians."""
    walls = np.diff(shapely.get_coordinates(outline.exterior), axis=0)
    x, y = walls[np.argmax((walls**2).sum(axis=1))].tolist()
    return math.atan2(y, x)


def _criterion(
    proposal: Proposal, points: NDArray[np.float64], count: float, pixel: float
) -> float:
    """Compute the Bayesian information criterion of a proposal.

    Parameters
    ----------
    proposal : Proposal
    points : (n, 2) float array
        Midpoints of the pixel edges.
    count : float
        Number of independent observations among them.
    pixel : float
        Pixel size in the unit of the points.
    """
    squares = _squared_distances(points, proposal.outline)
    variance = squares.mean() + (_PIXEL_RMS_PX * pixel) ** 2
    count = max(2.0, count)
    return float(count * math.log(variance) + proposal.parameters * math.log(count))


def _squared_distances(
    points: NDArray[np.float64], outline: shapely.Polygon
) -> NDArray[np.float64]:
    """Return the squared distance of each of successive points from the nearest wall of an outline.

    Of many, successive points are taken together: only the walls near their middle are near.
    """
    corners, ring = shapely.get_coordinates(shapely.get_rings(outline), return_index=True)
    along = ring[1:] == ring[:-1]
    start, wall = corners[:-1][along], np.diff(corners, axis=0)[along]
    if len(points) * len(wall) <= _FEW_PAIRS:
        return np.asarray(_squared_to_walls(points[:, None], start, wall).min(axis=1))
    parts = np.concatenate([points, np.repeat(points[-1:], -len(points) % _TOGETHER, axis=0)])
    parts = parts.reshape(-1, _TOGETHER, 2)
    middle = parts.mean(axis=1)
    radius = np.sqrt(((parts - middle[:, None]) ** 2).sum(axis=2).max(axis=1))
    away = np.sqrt(_squared_to_walls(middle[:, None], start, wall))
    near = away <= (away.min(axis=1) + 2.001 * radius)[:, None]
    group, number = np.nonzero(near)
    squares = _squared_to_walls(parts[group], start[number, None], wall[number, None])
    first = np.searchsorted(group, np.arange(len(parts)))
    return np.asarray(np.minimum.reduceat(squares, first).ravel()[: len(points)])


def _squared_to_walls(
    points: NDArray[np.float64], start: NDArray[np.float64], wall: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the squared distances of points from walls, each given by its start and extent."""
    # Both coordinates by themselves: sums of two along the last axis take three times as long.
    (x, y), (along, across) = np.moveaxis(points - start, -1, 0), np.moveaxis(wall, -1, 0)
    length = np.maximum(along**2 + across**2, 1e-30)  # two corners can be one
    share = np.clip((x * along + y * across) / length, 0, 1)
    return np.asarray((x - share * along) ** 2 + (y - share * across) ** 2)


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

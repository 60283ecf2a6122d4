"""From outlines along pixels to few, right-angled corners.

Outlines are proposed and one is chosen. Where the pixels run along walls, as those of a mask do,
what is proposed has to come near to all of them. A model's outline wanders, and its small corners
are as likely made up as built: there what is plainest is tried first, and what nothing regular
explains is only smoothed.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.vector.lines import (
    Proposal,
    alike,
    direction,
    fit,
    intersected,
    main_direction,
    middles,
    runs_of,
    snapped,
    stray,
)
from geossda.vector.plain import box, disc

# What the regular outline must share with the pixels' (intersection over union) to be taken: along
# walls; and of an outline that wanders, a plain one and any other.
LEAST_IOU, PLAIN_IOU, OTHER_IOU = 0.85, 0.88, 0.95
# How far a corner can come to lie outside the pixels, in tolerances.
REACH = 3.0
# Pixel edges along a straight wall scatter by 0.3 pixels about it; those that scatter by more about
# lines as long as the outline allows do not run along walls.
_WANDERS_PX = 0.4
# Outlines of more pixel edges than that (six kilometres at 0.3 m) are no building's.
_LONGEST = 20_000


def regularize(shape: Any, pixel: float, tolerance: float) -> Any:
    """Give one footprint few corners, right-angled where it nearly is.

    Outlines are proposed at the tolerance and at twice that, with walls turned square and as they
    are, besides a box and, where it is round, a disc. The one with the lowest Bayesian information
    criterion is taken (Schwarz 1978): corners must pay for themselves by coming nearer to the
    pixels, and those that are not square more than those that are, since each takes an angle of its
    own. Of an outline that wanders the disc or the box is taken if it has most in common with the
    pixels, before any other.

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
        Valid; `shape` itself, smoothed, where nothing regular is near it.
    """
    tolerance = max(tolerance, pixel)
    holes = [h for h in shape.interiors if shapely.Polygon(h).area >= (4 * tolerance) ** 2]
    shape = shapely.Polygon(shape.exterior, holes)
    rings = [middles(ring, pixel) for ring in (shape.exterior, *holes)]
    if sum(map(len, rings)) <= _LONGEST:
        for proposal, least in _proposals(shape, rings, pixel, tolerance):
            corners = shapely.points(shapely.get_coordinates(proposal.outline))
            near = shapely.distance(corners, shape).max() <= REACH * tolerance
            if near and overlap(proposal.outline, shape) >= least:
                return proposal.outline
    return smoothed(shape, tolerance)


def _proposals(
    shape: Any, rings: list[NDArray[np.float64]], pixel: float, tolerance: float
) -> Iterator[tuple[Proposal, float]]:
    """Give outlines, best first, with what each must have in common with the pixels."""
    coarse = [runs_of(points, 2 * tolerance) for points in rings]
    main = main_direction([run for ring in coarse for run in ring])
    wanders = stray([fit(run) for ring in coarse for run in ring]) > _WANDERS_PX * pixel
    plain = [
        disc(rings[0], shape, tolerance),
        box(rings[0], shape, main, pixel, tolerance, turn=wanders),
    ]
    if wanders:
        yield from ((proposal, PLAIN_IOU) for proposal in plain if proposal is not None)
    proposed: list[Proposal | None] = [] if wanders else plain
    for reach in (tolerance, 2 * tolerance):
        runs = coarse if reach > tolerance else [runs_of(points, reach) for points in rings]
        main = main_direction([run for ring in runs for run in ring])
        proposed.append(intersected([snapped(ring, main, reach) for ring in runs], reach))
        proposed.append(intersected([[fit(run) for run in ring] for ring in runs], reach))
    points = np.asarray(shapely.points(np.concatenate(rings)), object)
    count = len(points) / alike([fit(run) for ring in coarse for run in ring])
    ranked = sorted(
        (proposal for proposal in proposed if proposal is not None),
        key=lambda proposal: _criterion(proposal, points, count, pixel),
    )
    if wanders:
        ranked = ranked[:1]
    least = OTHER_IOU if wanders else LEAST_IOU
    yield from ((proposal, least) for proposal in ranked)


def _criterion(
    proposal: Proposal, points: NDArray[np.object_], count: float, pixel: float
) -> float:
    """Weigh the distance of pixel edges to an outline against what it takes to tell it."""
    away = shapely.distance(points, proposal.outline.boundary)
    # What a straight wall strays from its pixels is not to be explained by corners.
    square = (away**2).mean() + (0.3 * pixel) ** 2
    count = max(2.0, count)
    return float(count * math.log(square) + proposal.numbers * math.log(count))


def smoothed(shape: Any, tolerance: float) -> Any:
    """Leave out corners that enclose little (Visvalingam and Whyatt 1993), on either side alike.

    Corners that Douglas and Peucker keep are those farthest out, so that they stray by more than
    the outline does.
    """
    return shapely.coverage_simplify([shape], tolerance)[0]


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
    main = main_direction(list(np.stack([corners[:-1], corners[1:]], axis=1)))
    middles = (points[:-1] + points[1:]) / 2 if len(points) > 2 else points
    angle = direction(np.concatenate([points[:1], middles, points[-1:]]))
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

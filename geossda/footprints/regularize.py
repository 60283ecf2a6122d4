"""From outlines along pixels to few, right-angled corners.

Outlines are proposed and one is chosen. Where the pixels run along walls, as those of a mask do,
what is proposed has to come near to all of them. A model's outline wanders, and its small corners
are as likely made up as built: there what is plainest is tried first, and what nothing regular
explains is only smoothed.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.primitives import box, disc
from geossda.footprints.wall_lines import (
    Proposal,
    alike,
    fit,
    intersected,
    main_direction,
    middles,
    runs_of,
    snapped,
    stray,
)

# What the regular outline must share with the pixels' (intersection over union) to be taken: along
# walls; and of an outline that wanders, a plain one, and any other.
LEAST_IOU, PLAIN_IOU, OTHER_IOU = 0.85, 0.88, 0.93
# How far an outline can come to lie outside the pixels, in tolerances.
REACH = 3.0
# An outline wanders if it strays by more pixels than these from the lines fitted to it at the
# tolerance, and at twice that. One of twenty masks' outlines does, and three of four of a model's
# (decision 0008).
_WANDERS_PX = (0.26, 0.4)
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
            if overlap(proposal.outline, shape) < least:
                continue
            if _within_reach(proposal.outline, shape, pixel, REACH * tolerance):
                return proposal.outline
    return smoothed(shape, tolerance)


def _within_reach(outline: Any, shape: Any, pixel: float, reach: float) -> bool:
    """Say whether no point of an outline is farther from a shape along pixels than `reach`."""
    # Most outlines are by far, and stairs smoothed are buffered in a fraction of the time. The
    # smoothed shape strays by less than a pixel, and a buffer's rounding falls short by 2 %.
    plain = shapely.simplify(shape, pixel)
    near = shapely.buffer(plain, 0.98 * reach - pixel, quad_segs=4)
    if shapely.contains_properly(near, outline):
        return True
    around = shapely.buffer(shape, reach, quad_segs=4)
    return bool(shapely.contains_properly(around, outline))


def _proposals(
    shape: Any, rings: list[NDArray[np.float64]], pixel: float, tolerance: float
) -> Iterator[tuple[Proposal, float]]:
    """Give outlines, best first, with what each must have in common with the pixels."""
    walls = {
        reach: [fit(runs_of(points, reach)) for points in rings]
        for reach in (tolerance, 2 * tolerance)
    }
    lines = {reach: list(itertools.chain(*each)) for reach, each in walls.items()}
    main = {reach: main_direction(each) for reach, each in lines.items()}
    wanders = all(
        stray(each) > limit * pixel for each, limit in zip(lines.values(), _WANDERS_PX, strict=True)
    )
    proposed: list[Proposal | None] = [
        disc(rings[0], shape, tolerance),
        box(rings[0], shape, main[2 * tolerance], pixel, tolerance, turn=wanders),
    ]
    if wanders and len(rings) == 1:
        yield from ((proposal, PLAIN_IOU) for proposal in proposed if proposal is not None)
    if wanders:
        proposed = []
    for reach, each in walls.items():
        turned = [snapped(ring, main[reach], reach) for ring in each]
        proposed += [intersected(turned, reach), intersected(each, reach)]
    points = np.asarray(shapely.points(np.concatenate(rings)), object)
    count = len(points) / alike(lines[2 * tolerance])
    ranked = sorted(
        (proposal for proposal in proposed if proposal is not None),
        key=lambda proposal: _criterion(proposal, points, count, pixel),
    )
    if not wanders:
        yield from ((proposal, LEAST_IOU) for proposal in ranked)
    elif ranked:
        yield ranked[0], OTHER_IOU


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


def overlap(one: Any, other: Any) -> float:
    """Intersection over union of two valid polygons."""
    common = shapely.area(shapely.intersection(one, other))
    return float(common / (one.area + other.area - common))

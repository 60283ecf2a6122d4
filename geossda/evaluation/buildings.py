"""Measures of footprints one by one: found again, whole, in shape."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.evaluation.metrics import Confusion

# From which two footprints are the same, for the mean over limits (COCO).
LIMITS = tuple(float(limit) for limit in np.arange(50, 100, 5) / 100)
# Corners within so many degrees of 90 are right angles.
RIGHT_DEG = 10.0
# Overlaps, in square metres, and common walls, in metres, from which they count.
_OVERLAP_M2, _WALL_M = 0.01, 0.5


class Pairs(NamedTuple):
    """Footprints found and true ones that meet.

    Attributes
    ----------
    found, true : (n,) int arrays
        Which of each.
    common : (n,) float array
        Their common area.
    iou : (n,) float array
    """

    found: NDArray[np.int64]
    true: NDArray[np.int64]
    common: NDArray[np.float64]
    iou: NDArray[np.float64]


def meet(found: NDArray[np.object_], true: NDArray[np.object_]) -> Pairs:
    """Find all pairs that meet, of valid polygons whose areas are in proportion to the ground's."""
    if not (len(found) and len(true)):
        none = np.zeros(0, np.int64)
        return Pairs(none, none, np.zeros(0), np.zeros(0))
    first, second = shapely.STRtree(true).query(found, predicate="intersects")
    common = shapely.area(shapely.intersection(found[first], true[second]))
    union = shapely.area(found)[first] + shapely.area(true)[second] - common
    return Pairs(first, second, common, common / np.maximum(union, 1e-12))


def match(pairs: Pairs, limit: float) -> NDArray[np.int64]:
    """Choose pairs one to one, best IoU first, as the SpaceNet challenges do.

    Returns
    -------
    (hits,) int array
        Places in `pairs`.
    """
    chosen = []
    taken_found: set[int] = set()
    taken_true: set[int] = set()
    for place in np.argsort(-pairs.iou, kind="stable"):
        one, other = int(pairs.found[place]), int(pairs.true[place])
        if pairs.iou[place] < limit:
            break
        if one not in taken_found and other not in taken_true:
            chosen.append(int(place))
            taken_found.add(one)
            taken_true.add(other)
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class ShapeScores:
    """How the footprints found are formed; lengths in metres, NaN where nothing was found again.

    Attributes
    ----------
    f1_mean : float
        F1 of buildings, mean over IoU limits 0.5, 0.55, ..., 0.95.
    polis_m : float
        Mean distance of corners to the other's outline, both ways (Avbelj et al. 2015), mean over
        those found again.
    hausdorff_m : float
        Largest distance between the outlines, mean likewise.
    complexity_iou : float
        IoU times one less the relative difference of corners (Zorzi et al. 2022), mean likewise.
    vertices : float
        Corners of a footprint found, the median.
    right_angles : float
        Share of corners that are within 10 degrees of a right angle.
    overlaps : int
        Pairs of footprints found that lie over each other.
    invalid : int
        Footprints whose geometry is not valid.
    splits : int
        True buildings found in two pieces or more.
    merges : int
        Footprints found that hold two true buildings or more.
    cuts : int
        Pairs of footprints found that meet along a straight line in the raster's direction, as
        pieces of work leave them.
    """

    f1_mean: float
    polis_m: float
    hausdorff_m: float
    complexity_iou: float
    vertices: float
    right_angles: float
    overlaps: int
    invalid: int
    splits: int
    merges: int
    cuts: int

    def to_dict(self) -> dict[str, float]:
        """Give the figures by name."""
        return asdict(self)


def score(
    found: NDArray[np.object_],
    true: NDArray[np.object_],
    pairs: Pairs,
    hits: NDArray[np.int64],
    *,
    metres: float,
    invalid: int,
) -> ShapeScores:
    """Measure the shapes of footprints.

    Parameters
    ----------
    found, true : arrays of Polygon
        In pixels of a grid.
    pairs : Pairs
        Of them.
    hits : (n,) int array
        Those found again, places in `pairs`.
    metres : float
        Pixel side.
    invalid : int
        Counted before the geometries were made valid.
    """
    again, there = found[pairs.found[hits]], true[pairs.true[hits]]
    corners, others = _corner_counts(again), _corner_counts(there)
    complexity = pairs.iou[hits] * (1 - np.abs(corners - others) / np.maximum(corners + others, 1))
    limits = [
        Confusion(len(same), len(found) - len(same), len(true) - len(same)).f1
        for same in (match(pairs, limit) for limit in LIMITS)
    ]
    overlaps, cuts = _neighbours(found, metres)
    angles = _corner_angles(found)
    return ShapeScores(
        f1_mean=float(np.mean(limits)),
        polis_m=metres * _mean([polis(a, b) for a, b in zip(again, there, strict=True)]),
        hausdorff_m=metres * _mean(shapely.hausdorff_distance(again, there)),
        complexity_iou=_mean(complexity),
        vertices=float(np.median(_corner_counts(found))) if len(found) else float("nan"),
        right_angles=_mean(np.abs(angles - 90) <= RIGHT_DEG),
        overlaps=overlaps,
        invalid=invalid,
        splits=_held(pairs.true, pairs.common, shapely.area(found)[pairs.found], len(true)),
        merges=_held(pairs.found, pairs.common, shapely.area(true)[pairs.true], len(found)),
        cuts=cuts,
    )


def polis(one: Any, other: Any) -> float:
    """Mean distance of the corners of each polygon to the outline of the other.

    PoLiS of Avbelj, Mueller and Bamler (2015), Eq. 2; courtyards are part of outlines.
    """
    ways = []
    for a, b in ((one, other), (other, one)):
        rings = shapely.get_rings(a)
        corners = np.concatenate([shapely.get_coordinates(ring)[:-1] for ring in rings])
        ways.append(shapely.distance(shapely.points(corners), b.boundary).mean())
    return float(np.mean(ways))


def _corner_counts(shapes: NDArray[np.object_]) -> NDArray[np.int64]:
    rings = 1 + shapely.get_num_interior_rings(shapes)
    return np.asarray(shapely.get_num_coordinates(shapes) - rings)


def _corner_angles(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give all corners' angles in degrees, 0 to 180."""
    rings, owner = shapely.get_coordinates(shapely.get_rings(shapes), return_index=True)
    if not len(rings):
        return np.zeros(0)
    step = np.diff(rings, axis=0)
    along = owner[1:] == owner[:-1]
    angles = []
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    for begin, end in zip(starts, np.append(starts[1:], len(rings)) - 1, strict=True):
        ring = step[begin:end][along[begin:end]]
        following = np.roll(ring, -1, axis=0)
        cross = ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]
        angles.append(np.degrees(np.arctan2(np.abs(cross), -(ring * following).sum(axis=1))))
    return np.concatenate(angles)


def _neighbours(found: NDArray[np.object_], metres: float) -> tuple[int, int]:
    """Count pairs that overlap, and pairs with a common wall along the raster's rows or columns."""
    if not len(found):
        return 0, 0
    one, other = shapely.STRtree(found).query(found, predicate="intersects")
    once = one < other
    common = shapely.intersection(found[one[once]], found[other[once]])
    overlaps = int((shapely.area(common) * metres**2 > _OVERLAP_M2).sum())
    cuts = 0
    for line in common[shapely.area(common) * metres**2 <= _OVERLAP_M2]:
        left, bottom, right, top = line.bounds
        straight = min(right - left, top - bottom) * metres < 0.01
        cuts += int(straight and max(right - left, top - bottom) * metres >= _WALL_M)
    return overlaps, cuts


def _held(
    holder: NDArray[np.int64], common: NDArray[np.float64], own: NDArray[np.float64], count: int
) -> int:
    """Count holders with most of two others or more in them."""
    return int((np.bincount(holder[common > own / 2], minlength=count) >= 2).sum())


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")

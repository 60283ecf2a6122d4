"""Metrics of individual footprints: matches, splits and merges, shape."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.evaluation.metrics import Confusion

# IoU from which two footprints match, for the mean over thresholds (COCO).
IOU_THRESHOLDS = tuple(float(iou) for iou in np.arange(50, 100, 5) / 100)
# Deviation from 90 degrees up to which a corner is a right angle.
RIGHT_ANGLE_DEG = 10.0
# Least area of an overlap, and least length of a common wall, that are counted.
_MIN_OVERLAP_M2, _MIN_WALL_M = 0.01, 0.5


class Pairs(NamedTuple):
    """Pairs of predicted and true footprints that intersect.

    Attributes
    ----------
    found, true : (n,) int arrays
        Indices of the predicted and of the true footprints.
    common : (n,) float array
        Areas of their intersections.
    iou : (n,) float array
    """

    found: NDArray[np.int64]
    true: NDArray[np.int64]
    common: NDArray[np.float64]
    iou: NDArray[np.float64]


def intersecting_pairs(detected: NDArray[np.object_], true: NDArray[np.object_]) -> Pairs:
    """Return all pairs that intersect.

    Parameters
    ----------
    detected, true : arrays of Polygon
        Valid, in one CRS or grid whose areas are proportional to those on the ground.
    """
    if not (len(detected) and len(true)):
        empty = np.zeros(0, np.int64)
        return Pairs(empty, empty, np.zeros(0), np.zeros(0))
    first, second = shapely.STRtree(true).query(detected, predicate="intersects")
    common = shapely.area(shapely.intersection(detected[first], true[second]))
    union = shapely.area(detected)[first] + shapely.area(true)[second] - common
    return Pairs(first, second, common, common / np.maximum(union, 1e-12))


def match(pairs: Pairs, limit: float) -> NDArray[np.int64]:
    """Match footprints one to one in descending order of IoU, as the SpaceNet challenges do.

    Parameters
    ----------
    pairs : Pairs
    limit : float
        Lowest IoU of a match, in 0..1.

    Returns
    -------
    (hits,) int array
        Indices into `pairs`.
    """
    matches = []
    matched_found: set[int] = set()
    matched_true: set[int] = set()
    for index in np.argsort(-pairs.iou, kind="stable"):
        one, other = int(pairs.found[index]), int(pairs.true[index])
        if pairs.iou[index] < limit:
            break
        if one not in matched_found and other not in matched_true:
            matches.append(int(index))
            matched_found.add(one)
            matched_true.add(other)
    return np.array(matches, np.int64)


@dataclass(frozen=True)
class ShapeScores:
    """Shape metrics of predicted footprints; NaN where nothing matches.

    Attributes
    ----------
    f1_mean : float
        Mean F1 of buildings over the IoU thresholds 0.5, 0.55, ..., 0.95.
    polis_m : float
        Mean distance of corners to the other's outline in metres, both ways (Avbelj et al. 2015),
        mean over matches.
    hausdorff_m : float
        Hausdorff distance of the outlines in metres, mean over matches.
    complexity_iou : float
        IoU times 1 minus the relative difference of corner counts (Zorzi et al. 2022), mean over
        matches.
    vertices : float
        Median number of corners of a predicted footprint.
    right_angles : float
        Fraction of corners within 10 degrees of a right angle.
    overlaps : int
        Pairs of predicted footprints that overlap.
    invalid : int
        Predicted footprints with an invalid geometry.
    splits : int
        True buildings that are predicted in two pieces or more.
    merges : int
        Predicted footprints that contain two true buildings or more.
    cuts : int
        Pairs of predicted footprints that share a straight edge along the raster's rows or columns,
        as borders of tiles would cause.
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
        """Return the metrics by name."""
        return asdict(self)


def score(
    detected: NDArray[np.object_],
    true: NDArray[np.object_],
    pairs: Pairs,
    hits: NDArray[np.int64],
    *,
    metres: tuple[float, float],
    invalid: int,
) -> ShapeScores:
    """Compute the shape metrics of footprints.

    Parameters
    ----------
    detected, true : arrays of Polygon
        Predicted and true footprints in pixels of a grid.
    pairs : Pairs
        Their pairs.
    hits : (n,) int array
        The matches, as indices into `pairs`.
    metres : (float, float)
        Metres from a pixel to the next along a row and along a column, which differ in degrees.
    invalid : int
        Number of predicted geometries that were invalid before they were repaired.
    """
    predicted, labelled = detected[pairs.found[hits]], true[pairs.true[hits]]
    corners, others = _corner_counts(predicted), _corner_counts(labelled)
    complexity = pairs.iou[hits] * (1 - np.abs(corners - others) / np.maximum(corners + others, 1))
    f1_scores = [
        Confusion(len(same), len(detected) - len(same), len(true) - len(same)).f1
        for same in (match(pairs, limit) for limit in IOU_THRESHOLDS)
    ]
    overlaps, cuts = _count_overlaps_and_cuts(detected, float(np.mean(metres)))
    # Distances and angles are those on the ground.
    ground, predicted, labelled = (
        shapely.transform(shapes, lambda points: points * metres)
        for shapes in (detected, predicted, labelled)
    )
    angles = _corner_angles(ground)
    return ShapeScores(
        f1_mean=float(np.mean(f1_scores)),
        polis_m=_mean([polis(a, b) for a, b in zip(predicted, labelled, strict=True)]),
        hausdorff_m=_mean(shapely.hausdorff_distance(predicted, labelled)),
        complexity_iou=_mean(complexity),
        vertices=float(np.median(_corner_counts(detected))) if len(detected) else float("nan"),
        right_angles=_mean(np.abs(angles - 90) <= RIGHT_ANGLE_DEG),
        overlaps=overlaps,
        invalid=invalid,
        splits=_holders(pairs.true, pairs.common, shapely.area(detected)[pairs.found], len(true)),
        merges=_holders(pairs.found, pairs.common, shapely.area(true)[pairs.true], len(detected)),
        cuts=cuts,
    )


def polis(one: shapely.Polygon, other: shapely.Polygon) -> float:
    """Return the mean distance of each polygon's corners to the outline of the other.

    PoLiS of Avbelj, Mueller and Bamler (2015), Eq. 2; interior rings are part of outlines.

    Parameters
    ----------
    one, other : Polygon

    Returns
    -------
    float
        In the unit of the coordinates.
    """
    distances = []
    for a, b in ((one, other), (other, one)):
        rings = shapely.get_rings(shapely.get_parts(a))
        corners = np.concatenate([shapely.get_coordinates(ring)[:-1] for ring in rings])
        distances.append(shapely.distance(shapely.points(corners), b.boundary).mean())
    return float(np.mean(distances))


def _corner_counts(shapes: NDArray[np.object_]) -> NDArray[np.int64]:
    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings = np.bincount(owner, 1 + shapely.get_num_interior_rings(parts), len(shapes))
    return np.asarray(shapely.get_num_coordinates(shapes) - rings.astype(np.int64))


def _corner_angles(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the angles of all corners in degrees, 0 to 180."""
    rings, owner = shapely.get_coordinates(
        shapely.get_rings(shapely.get_parts(shapes)), return_index=True
    )
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


def _count_overlaps_and_cuts(detected: NDArray[np.object_], metres: float) -> tuple[int, int]:
    """Return the numbers of pairs that overlap, and of pairs that share an edge along the grid."""
    if not len(detected):
        return 0, 0
    one, other = shapely.STRtree(detected).query(detected, predicate="intersects")
    once = one < other
    common = shapely.intersection(detected[one[once]], detected[other[once]])
    overlaps = int((shapely.area(common) * metres**2 > _MIN_OVERLAP_M2).sum())
    cuts = 0
    for line in common[shapely.area(common) * metres**2 <= _MIN_OVERLAP_M2]:
        left, bottom, right, top = line.bounds
        straight = min(right - left, top - bottom) * metres < 0.01
        cuts += int(straight and max(right - left, top - bottom) * metres >= _MIN_WALL_M)
    return overlaps, cuts


def _holders(
    holder: NDArray[np.int64], common: NDArray[np.float64], own: NDArray[np.float64], count: int
) -> int:
    """Return the number of footprints that contain more than half of two others or more."""
    return int((np.bincount(holder[common > own / 2], minlength=count) >= 2).sum())


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")

"""Outlines of regions of cells, placed to the pixel where the image shows their borders."""

import itertools
from typing import Any, Literal

import cv2
import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geossda.balance.profiles import along_line
from geossda.balance.scenes import Scenes

Kind = Literal["hard", "soft", "land"]
_KINDS: tuple[Kind, ...] = ("hard", "soft", "land")

# Deviation in cells that the borders of cells are smoothed with.
_SMOOTHING_CELLS = 1.2
# Distance on either side of a border that it is searched within, in cells, and the shortest border
# that is searched, in pixels.
_REACH_CELLS, _MIN_LENGTH_PX = 3.0, 32
# Quantiles by which the tones of both sides are matched; width in half pixels of what is matched
# beside a path, fewest pixels of it, and rounds of matching.
_QUANTILES, _MATCHED, _MIN_MATCHED, _MATCHING_ROUNDS = np.linspace(0.02, 0.98, 25), 24, 50, 3
# A border is hard if a step along it makes the image likelier by this factor (its logarithm, each
# half pixel), more than the opposite step does, and the ground continues across it: what it lacks
# of likeness is no more than elsewhere by the second. It is a border of land cover if the gain is
# as great as the third, and less than half of the likeness elsewhere is left.
_HARD_GAIN, _CONTINUITY, _LAND_GAIN, _LAND_LIKENESS = 1.0, 0.67, 1.0, 0.52
# Side in half pixels of what a soft border is searched at, the valid share of it, and the gain from
# which the border is moved.
_SOFT_SIDE, _SOFT_VALID_SHARE, _SOFT_GAIN = 8, 0.5, 1.4
# Most differences that their usual size is measured on.
_WHITENING_PX = 2**14
# Distance in half pixels of what is compared, and length of the sections that it is compared in.
_APART, _SECTION = 3, 256
# What half a pixel of a turn costs, as a logarithm of likelihood.
_TURN_COST = 3.0
# Half the length in pixels over which the direction of a border is averaged.
_DIRECTION_PX = 12
# Distance in pixels that simplified outlines may be off by.
_TOLERANCE_PX = 0.75


def outline_regions(
    labels: NDArray[np.int32],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    side: int,
    step: float,
) -> tuple[Scenes, bool]:
    """Return the outlines of regions of cells.

    Parameters
    ----------
    labels : (rows, cols) int32 array
        Region of every cell, from 0; -1 where unknown.
    pixels : (bands, height, width) float32 array
        As of 8 bits.
    valid : (height, width) bool array
    side : int
        Side of a cell, in pixels.
    step : float
        Side of these pixels in pixels of the raster.

    Returns
    -------
    scenes : Scenes
        That cover all pixels and do not overlap, in pixels of the raster; without polygons where
        all borders turn out to be borders of land cover.
    hard : bool
        Whether most of their borders are hard.
    """
    count = int(labels.max()) + 1
    smooth = _smoothed(labels, count, valid.shape, side)
    lengths = dict.fromkeys(_KINDS, 0.0)
    for border in _polygons(smooth).borders(valid.shape):
        of_pair = dict.fromkeys(_KINDS, 0.0)
        for line in shapely.get_parts(border.line):
            if line.length >= _MIN_LENGTH_PX:
                kind = _sharpen(smooth, pixels, valid, line, round(_REACH_CELLS * side))
                of_pair[kind] += line.length
        if of_pair["land"] > of_pair["hard"] + of_pair["soft"]:
            merged = np.where(labels == border.second, border.first, labels)
            merged -= (merged > border.second).astype(np.int32)
            return outline_regions(merged, pixels, valid, side, step)
        lengths = {kind: lengths[kind] + of_pair[kind] for kind in _KINDS}
    if count == 1:
        return Scenes(()), False
    outlines = _polygons(smooth, _TOLERANCE_PX).polygons
    scaled = (shapely.transform(shape, lambda points: points * step) for shape in outlines)
    return Scenes(tuple(scaled)), lengths["hard"] > lengths["soft"]


def _smoothed(
    labels: NDArray[np.int32], count: int, shape: tuple[int, int], side: int
) -> NDArray[np.int32]:
    """Draw regions of cells in pixels, with smooth borders."""
    labels = labels.copy()
    known = np.argwhere(labels >= 0)
    unknown = np.argwhere(labels < 0)
    cells = shapely.STRtree([shapely.Point(place) for place in known.tolist()])
    nearest = cells.nearest([shapely.Point(place) for place in unknown.tolist()])
    labels[tuple(unknown.T)] = labels[tuple(known[nearest].T)]
    best, smooth = np.full(shape, -1, np.float32), np.zeros(shape, np.int32)
    rows, cols = (length * side for length in labels.shape)
    pad = [(0, max(0, full - part)) for full, part in zip(shape, (rows, cols), strict=True)]
    for label in range(count):
        own = cv2.resize(
            (labels == label).astype(np.float32), (cols, rows), interpolation=cv2.INTER_NEAREST
        )
        own = cv2.GaussianBlur(
            own, (0, 0), _SMOOTHING_CELLS * side, borderType=cv2.BORDER_REPLICATE
        )
        own = np.pad(own, pad, mode="edge")
        smooth[own > best], best = label, np.maximum(own, best)
    return smooth


def _polygons(labels: NDArray[np.int32], tolerance: float = 0.0) -> Scenes:
    """Return the outlines of labelled pixels, (height, width), simplified without gaps."""
    parts: dict[int, list[BaseGeometry]] = {}
    for shape, label in rasterio.features.shapes(labels):
        parts.setdefault(int(label), []).append(shapely.geometry.shape(shape))
    whole = [shapely.union_all(parts[label]) for label in sorted(parts)]
    if not tolerance:
        return Scenes(tuple(whole))
    # The unions of the first regions, the last of which is everything, lie within each other.
    covered: BaseGeometry = shapely.Polygon()
    outlines = []
    for union in itertools.accumulate(whole, shapely.union):
        simple = shapely.union(shapely.simplify(union, tolerance), covered)
        outlines.append(shapely.difference(simple, covered))
        covered = simple
    return Scenes(tuple(shape for shape in outlines if shape.area > 0))


def _sharpen(
    labels: NDArray[np.int32],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    line: shapely.LineString,
    reach: int,
) -> Kind:
    """Move a line between two regions to where the image has a hard border, if it has one.

    Returns
    -------
    str
        ``"land"`` for a hard border across which the ground does not continue.
    """
    along = np.arange(0.25, line.length, 0.5)
    shifts = np.linspace(-_DIRECTION_PX, _DIRECTION_PX, 9)
    course = np.stack([along_line(line, along + shift) for shift in shifts])
    centre, ahead, behind = course.mean(0), course[-1], course[0]
    direction = (ahead - behind) / np.maximum(np.hypot(*(ahead - behind).T), 1e-9)[:, None]
    across = np.stack([-direction[:, 1], direction[:, 0]], 1)
    away = np.arange(-2 * reach, 2 * reach) / 2 + 0.25
    points = np.floor(centre[:, None] + away[None, :, None] * across[:, None]).astype(int)
    cols, rows = points[..., 0], points[..., 1]
    inside = (rows >= 0) & (rows < labels.shape[0]) & (cols >= 0) & (cols < labels.shape[1])
    rows, cols = np.where(inside, rows, 0), np.where(inside, cols, 0)
    drawn = np.where(inside, labels[rows, cols], -1)
    sides = [_commonest(drawn[:, : 2 * reach]), _commonest(drawn[:, 2 * reach :])]
    usable = inside & valid[rows, cols] & np.isin(drawn, sides)
    if sides[0] == sides[1] or -1 in sides:
        return "soft"
    values = pixels[:, rows, cols]
    placed = _find_path(values, usable)
    if placed is None:
        return "soft"
    path, gain = placed
    alike, elsewhere = _likeness(values, usable, path)
    if gain >= _LAND_GAIN and alike < _LAND_LIKENESS * elsewhere:
        return "land"
    kind: Kind = "hard"
    if gain < _HARD_GAIN or 1 - alike > (1 - elsewhere) / _CONTINUITY:
        kind = "soft"
        moved = _find_soft_path(values, usable)
        if moved is None:
            return "soft"
        path = moved
    wanted = np.where(np.arange(len(away)) <= path[:, None], sides[0], sides[1])
    inner = usable & (np.abs(np.arange(len(away)) - len(away) / 2) < 1.9 * reach)
    labels[rows[inner], cols[inner]] = wanted[inner]
    return kind


def _find_path(
    values: NDArray[np.float32], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], float] | None:
    """Find where two sides meet, column by column, so that the image matched to one has no step.

    Parameters
    ----------
    values : (bands, length, width) array
        Half pixels along and across a border.
    usable : (length, width) bool array

    Returns
    -------
    path : (length,) int array
        Last column of the first side.
    gain : float
        Logarithm of how much likelier the image is with a step there, more than by chance, for each
        half pixel of the path. None of both where too little is known.
    """
    front, back = values[:, :, :-2], values[:, :, 2:]  # a pixel apart
    unusable = ~(usable[:, :-2] & usable[:, 2:])
    differences = front - back
    whitening = _whitening(differences[:, ~unusable])
    plain = _surprise(differences, whitening)
    columns = np.arange(values.shape[2])
    first = usable & (columns < len(columns) // 3)
    second = usable & (columns >= len(columns) - len(columns) // 3)
    placed = None
    for _ in range(_MATCHING_ROUNDS):
        if min(first.sum(), second.sum()) < _MIN_MATCHED:
            return placed
        ahead, behind = front.copy(), back.copy()
        for band, one, other in zip(values, ahead, behind, strict=True):
            tones, others = (np.quantile(band[side], _QUANTILES) for side in (first, second))
            one += np.interp(one, tones, others - tones)
            other += np.interp(other, tones, others - tones)
        cost = _surprise(ahead - back, whitening) - plain
        reverse = _surprise(front - behind, whitening) - plain
        cost[unusable] = reverse[unusable] = 0
        # A path finds edges of objects too, which step in either direction.
        (path, total), (_, chance) = _cheapest(cost), _cheapest(reverse)
        placed = path, chance - total
        # What lies near the path tells more of the step than what lies far from it.
        beyond = columns - path[:, None]
        first = usable & (beyond <= -1) & (beyond > -1 - _MATCHED)
        second = usable & (beyond > 1) & (beyond <= 1 + _MATCHED)
    return placed


def _find_soft_path(
    values: NDArray[np.float32], usable: NDArray[np.bool_]
) -> NDArray[np.intp] | None:
    """Find where two sides meet at reduced resolution, at which a narrow feather is a hard border.

    Returns
    -------
    (length,) int array or None
        Last column of the first side; None if no border stands out.
    """
    side = _SOFT_SIDE
    length, width = (size // side * side for size in usable.shape)

    def pooled(image: NDArray[Any]) -> NDArray[np.float64]:
        inner = image[..., :length, :width].astype(np.float64)
        split = inner.reshape(*image.shape[:-2], length // side, side, width // side, side)
        return np.asarray(split.mean((-3, -1)))

    share = pooled(usable)
    reduced = pooled(np.where(usable, values, 0)) / np.maximum(share, 1e-9)
    placed = _find_path(reduced.astype(np.float32), share > _SOFT_VALID_SHARE)
    if placed is None or placed[1] < _SOFT_GAIN:
        return None
    # A column's number stands for its middle.
    at = np.interp(
        np.arange(len(usable)),
        side * (np.arange(len(placed[0])) + 0.5) - 0.5,
        side * (placed[0] + 1.0),
    )
    return np.asarray(np.rint(at - 1), np.intp)


def _whitening(differences: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the matrix that whitens differences of the ground, (bands, pixels)."""
    step = 1 + differences.shape[1] // _WHITENING_PX
    sample = differences[:, ::step].astype(np.float64)
    weights = np.ones(sample.shape[1])
    matrix = np.eye(len(sample))
    for _ in range(6):
        covariance = (sample * weights) @ sample.T / max(weights.sum(), 1e-9)
        covariance += (1e-3 * np.trace(covariance) + 0.25) * np.eye(len(sample))
        matrix = np.linalg.inv(np.linalg.cholesky(covariance))
        weights = 1 / (1 + ((matrix @ sample) ** 2).mean(0))
    return matrix


def _surprise(
    differences: NDArray[np.float32], whitening: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the negative log likelihood of differences, which have long tails (Cauchy)."""
    white = np.tensordot(whitening, differences, 1)
    return np.asarray((len(white) + 1) / 2 * np.log1p((white**2).sum(0)))


def _likeness(
    values: NDArray[np.float32], usable: NDArray[np.bool_], path: NDArray[np.intp]
) -> tuple[float, float]:
    """Return the correlation of the ground across a path, and across lines beside it."""
    rows = np.arange(len(path))

    def correlation(offset: int) -> float:
        """Correlate pixels on either side of what is `offset` from the path."""
        ends = [path + offset + shift for shift in (1 - _APART, _APART)]
        inside = (ends[0] >= 0) & (ends[1] < values.shape[2])
        ends = [end.clip(0, values.shape[2] - 1) for end in ends]
        inside &= usable[rows, ends[0]] & usable[rows, ends[1]]
        correlations = []
        for begin in range(0, len(path), _SECTION):
            section = rows[begin : begin + _SECTION][inside[begin : begin + _SECTION]]
            if len(section) >= _SECTION // 4:
                near, far = (values[:, section, end[section]] for end in ends)
                near, far = (each - each.mean(1, keepdims=True) for each in (near, far))
                power = np.sqrt((near**2).sum(1) * (far**2).sum(1)) + 1e-9
                correlations.append(float(((near * far).sum(1) / power).mean()))
        return float(np.mean(correlations)) if correlations else 1.0

    beside = (correlation(sign * 4 * _APART) for sign in (-1, 1))
    return correlation(0), max(0.0, sum(beside) / 2)


def _cheapest(cost: NDArray[np.float64]) -> tuple[NDArray[np.intp], float]:
    """Return the columns of the cheapest path down the rows, and its mean cost."""
    length, width = cost.shape
    total, came = cost[0].copy(), np.zeros((length, width), np.int8)
    moves = np.array([0, -1, 1])
    padded, options = np.full(width + 2, np.inf), np.empty((3, width))
    for row in range(1, length):
        padded[1:-1] = total
        options[0], options[1], options[2] = padded[1:-1], padded[:-2], padded[2:]
        options[1:] += _TURN_COST
        came[row] = moves[options.argmin(0)]
        total = cost[row] + options.min(0)
    path = np.empty(length, np.intp)
    path[-1] = int(total.argmin())
    for row in range(length - 1, 0, -1):
        path[row - 1] = path[row] + came[row, path[row]]
    return path, float(total.min() / length)


def _commonest(labels: NDArray[np.int32]) -> int:
    known = labels[labels >= 0]
    return int(np.bincount(known).argmax()) if known.size else -1

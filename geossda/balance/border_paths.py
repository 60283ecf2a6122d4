"""Paths along which two scenes meet, found in the pixels of a strip along their border.

Differences of neighbouring pixels have long tails and go together in all bands. The border is where
they are likelier with a step between the tones of the two scenes than without one.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.balance.profiles import along_line

Kind = Literal["hard", "soft", "land"]

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


class Strip(NamedTuple):
    """Where the pixels along a line are, in half pixels along and across it.

    Attributes
    ----------
    points : (length, width, 2) array
        Columns and rows in pixels; the line lies between the two middle ones of the width.
    across : (length, 2) array
        Direction of the width.
    """

    points: NDArray[np.float64]
    across: NDArray[np.float64]


def strip_along(line: shapely.LineString, reach: int) -> Strip:
    """Return the strip along a line.

    Parameters
    ----------
    line : LineString
    reach : int
        Width on either side, in pixels.
    """
    along = np.arange(0.25, line.length, 0.5)
    shifts = np.linspace(-_DIRECTION_PX, _DIRECTION_PX, 9)
    course = np.stack([along_line(line, along + shift) for shift in shifts])
    centre, ahead, behind = course.mean(0), course[-1], course[0]
    direction = (ahead - behind) / np.maximum(np.hypot(*(ahead - behind).T), 1e-9)[:, None]
    across = np.stack([-direction[:, 1], direction[:, 0]], 1)
    away = np.arange(-2 * reach, 2 * reach) / 2 + 0.25
    return Strip(centre[:, None] + away[None, :, None] * across[:, None], across)


class Placement(NamedTuple):
    """Where two scenes meet in a strip.

    Attributes
    ----------
    kind : str
        ``"hard"``, ``"soft"``, or ``"land"`` for a hard border across which the ground does not
        continue.
    sides : (int, int)
        Scenes on the two sides.
    path : (length,) int array or None
        Last column of the first side; None where the image shows no border of light.
    """

    kind: Kind
    sides: tuple[int, int]
    path: NDArray[np.intp] | None


def find_border(
    values: NDArray[np.float32], valid: NDArray[np.bool_], labels: NDArray[np.int32]
) -> Placement:
    """Find where the two scenes of a strip meet.

    Parameters
    ----------
    values : (bands, length, width) array
        Half pixels along and across a border, as of 8 bits.
    valid : (length, width) bool array
    labels : (length, width) int32 array
        Scenes as they are drawn; -1 outside the raster.
    """
    middle = labels.shape[1] // 2
    sides = _commonest(labels[:, :middle]), _commonest(labels[:, middle:])
    if sides[0] == sides[1] or -1 in sides:
        return Placement("soft", sides, None)
    usable = valid & np.isin(labels, sides)
    placed = _find_path(values, usable)
    if placed is None:
        return Placement("soft", sides, None)
    path, gain = placed
    alike, elsewhere = _likeness(values, usable, path)
    if gain >= _LAND_GAIN and alike < _LAND_LIKENESS * elsewhere:
        return Placement("land", sides, None)
    if gain < _HARD_GAIN or 1 - alike > (1 - elsewhere) / _CONTINUITY:
        return Placement("soft", sides, _find_soft_path(values, usable))
    return Placement("hard", sides, path)


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

"""Gains, and gains with offsets, that bring overlapping sources to one radiometry; arrays only.

Gains by quadratic programming follow Cresson and Saint-Geours, "Natural Color Satellite Image
Mosaicking Using Quadratic Programming in Decorrelated Color Space", IEEE JSTARS 8(8), 2015.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from geossda.balance.overlap_moments import OverlapMoments
from geossda.config import BalanceCost
from geossda.errors import InputError

# Weight of the moments of whole sources, relative to those of overlaps.
ANCHOR_WEIGHT = 0.001
# Condition number from which a system of equations is taken for singular.
_SINGULAR = 1e12

Solution = tuple[NDArray[np.float64], NDArray[np.float64]]


def solve_gains(moments: OverlapMoments, cost: BalanceCost, *, with_zero: bool = False) -> Solution:
    """Choose one gain for each source and band, by group of overlapping sources.

    Minimizes the squared differences inside overlaps while the sum of all pixels of a group is
    kept. A source that overlaps no other has a gain of 1.

    Parameters
    ----------
    moments : OverlapMoments
    cost : {"rmse", "mu", "musig"}
        Differences of pixels, of means, or of means and standard deviations.
    with_zero : bool
        Whether a gain of 0, which leaves nothing of a band, may be the best one.

    Returns
    -------
    gains, offsets : (sources, bands) float64 arrays
        The offsets are 0.

    Raises
    ------
    InputError
        A gain cannot be determined, or only gains that are not positive solve the equations.
    """

    def of_band(part: OverlapMoments, band: int) -> Solution:
        gains = _gains(part, band, cost)
        if not with_zero:
            _require_positive(gains, part, band)
        return gains, np.zeros_like(gains)

    return _by_group(moments, of_band)


def solve_gains_and_offsets(moments: OverlapMoments) -> Solution:
    """Choose a gain and an offset for each source and band, by group of overlapping sources.

    Least squares on the differences of means and of standard deviations inside overlaps, weighted
    by their area, and, with a small weight, on the changes of each whole source's mean and
    standard deviation (anchors). Summed over a group, means and standard deviations are kept.

    Parameters
    ----------
    moments : OverlapMoments

    Returns
    -------
    gains, offsets : (sources, bands) float64 arrays

    Raises
    ------
    InputError
        A gain cannot be determined, or only gains that are not positive solve the equations.
    """

    def of_band(part: OverlapMoments, band: int) -> Solution:
        gains, offsets = _gains_and_offsets(part, band)
        _require_positive(gains, part, band)
        return gains, offsets

    return _by_group(moments, of_band)


def _by_group(
    moments: OverlapMoments, of_band: Callable[[OverlapMoments, int], Solution]
) -> Solution:
    gains = np.ones(moments.mean.shape[1:])
    offsets = np.zeros_like(gains)
    for group in moments.groups():
        if len(group) == 1:
            continue
        part = moments.of(group)
        for band in range(moments.bands):
            gains[group, band], offsets[group, band] = of_band(part, band)
    return gains, offsets


def _gains(part: OverlapMoments, band: int, cost: BalanceCost) -> NDArray[np.float64]:
    mean, std, product = (each[:, :, band] for each in (part.mean, part.std, part.product))
    area = part.area - np.diag(np.diag(part.area))
    if cost == "rmse":
        squares, products = mean**2 + std**2, product
    elif cost == "mu":
        squares, products = mean**2, mean * mean.T
    else:
        squares, products = mean**2 + std**2, mean * mean.T + std * std.T
    matrix = np.diag((area * squares).sum(1)) - area * products
    energy = np.diag(part.area) * np.diag(mean)
    # In units in which the diagonal is 1, which sources of very unlike numbers differ much in.
    unit = np.sqrt(np.diag(matrix))
    _require_determined(unit > 0, part, band)
    matrix = matrix / np.outer(unit, unit)
    row = energy / unit
    size = np.linalg.norm(row)
    _require_determined(np.full(len(unit), size > 0), part, band)
    # Gains below 0 become 0, and the others are the best ones beside those.
    gains, positive = np.zeros(len(unit)), np.arange(len(unit))
    while not gains[positive].all():
        equations = matrix[np.ix_(positive, positive)]
        right = np.zeros(len(positive))
        solved = _constrained(equations, right, row[None, positive] / size, [energy.sum() / size])
        _require_determined(np.full(len(unit), solved is not None), part, band)
        gains[:] = 0
        gains[positive] = np.maximum(np.asarray(solved), 0)
        positive = positive[gains[positive] > 0]
    return gains / unit


def _gains_and_offsets(part: OverlapMoments, band: int) -> Solution:
    mean, std = part.mean[:, :, band], part.std[:, :, band]
    whole = np.diag(part.area) / np.diag(part.area).sum()
    # In units of the group: offsets then weigh as much as gains.
    middle = float(whole @ np.diag(mean))
    spread = float(whole @ np.diag(std))
    _require_determined((np.diag(std) > 0) & (spread > 0), part, band)
    mean, std = (mean - middle) / spread, std / spread
    count = len(mean)
    one, other = np.nonzero(np.triu(part.area, 1))
    overlap = part.area[one, other] / np.diag(part.area).sum()
    rows = np.zeros((2 * len(one) + 2 * count, 2 * count))
    pairs = np.arange(len(one))
    rows[pairs, one], rows[pairs, count + one] = mean[one, other], 1
    rows[pairs, other], rows[pairs, count + other] = -mean[other, one], -1
    rows[len(one) + pairs, one] = std[one, other]
    rows[len(one) + pairs, other] = -std[other, one]
    each = 2 * len(one) + np.arange(count)
    rows[each, np.arange(count)], rows[each, count + np.arange(count)] = np.diag(mean), 1
    rows[each + count, np.arange(count)] = np.diag(std)
    target = np.concatenate([np.zeros(2 * len(one)), np.diag(mean), np.diag(std)])
    weight = np.concatenate([overlap, overlap, ANCHOR_WEIGHT * whole, ANCHOR_WEIGHT * whole])
    kept = np.zeros((2, 2 * count))
    kept[0] = np.concatenate([whole * np.diag(mean), whole])
    kept[1, :count] = whole * np.diag(std)
    matrix, right = (rows.T * weight) @ rows, (rows.T * weight) @ target
    solved = _constrained(matrix, right, kept, [whole @ np.diag(mean), whole @ np.diag(std)])
    _require_determined(np.full(count, solved is not None), part, band)
    gains, offsets = np.split(np.asarray(solved), 2)
    return gains, spread * offsets + middle * (1 - gains)


def _constrained(
    matrix: NDArray[np.float64],
    right: NDArray[np.float64],
    rows: NDArray[np.float64],
    values: Sequence[float],
) -> NDArray[np.float64] | None:
    """Return the x of least x·matrix·x/2 - right·x with rows·x = values, by its KKT system.

    None if that is singular.
    """
    count, more = len(matrix), len(rows)
    system = np.zeros((count + more, count + more))
    system[:count, :count] = matrix
    system[:count, count:], system[count:, :count] = rows.T, rows
    if not np.isfinite(system).all() or np.linalg.cond(system) > _SINGULAR:
        return None
    solved = np.linalg.solve(system, np.concatenate([right, values]))
    return np.asarray(solved[:count])


def _require_determined(known: NDArray[np.bool_], part: OverlapMoments, band: int) -> None:
    if not known.all():
        name = part.names[int(np.argmin(known))]
        raise InputError(
            f"band {band + 1} of {name} and what overlaps it determine no gain (singular system): "
            "pixels that vary, not one constant, were expected; leave the source or the band out"
        )


def _require_positive(gains: NDArray[np.float64], part: OverlapMoments, band: int) -> None:
    # Where the equations alone give a gain below 0, the best one of at least 0 is 0: no image.
    if not (gains > 0).all():
        name = part.names[int(np.argmin(gains))]
        raise InputError(
            f"the best gain of band {band + 1} of {name} is not above 0 ({gains.min():.3g}): the "
            "sources show unlike things where they overlap, or have values below 0; choose another "
            "--balance, or leave that source out"
        )

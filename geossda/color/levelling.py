"""Bring scenes of one mosaic to a common radiometry, by what lies on both sides of their borders.

The ground does not change at a border between scenes, so the tones on its two sides should be the
same. Every scene gets one curve a band; all curves together are chosen by least squares so that
borders vanish, that curves are smooth and that their mean over the scenes changes nothing. It is
the adjustment of gains in the overlaps of scenes (Cresson and Saint-Geours 2015) with curves in
the place of gains, and without need of overlaps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Shares of the pixels whose values are matched; many at the dark end, where haze shows.
SHARES = np.array([1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99]) / 100
KNOTS = 17
# Weights of smoothness and of changing nothing, against borders of weight 1.
SMOOTH, STAY = 3.0, 0.01
# Share of the variances that is put in the place of correlations, which few pieces tell badly.
SHRINK = 0.2


class Border(NamedTuple):
    """What two scenes show on either side of the border between them.

    Attributes
    ----------
    first, second : int
        The scenes.
    tones : (2, bands, shares) float64 array
        Values of the first's and the second's pixels at :data:`SHARES`, 0..1 in the range that
        the curves are given on; NaN where a value cannot be trusted.
    usual : (bands, shares, shares) float64 array
        How such tones vary together from stripe to stripe where there is no border.
    weight : float
        Of the border: its length compared to the mean of all.
    """

    first: int
    second: int
    tones: NDArray[np.float64]
    usual: NDArray[np.float64]
    weight: float


def level(borders: Sequence[Border], scenes: int, bands: int) -> NDArray[np.float64]:
    """Choose the curves.

    Parameters
    ----------
    borders : sequence of Border
    scenes, bands : int

    Returns
    -------
    (scenes, bands, KNOTS) float64 array
        What the values at evenly spaced knots from 0 to 1 become; curves never fall.
    """
    return np.stack([_band(borders, scenes, band) for band in range(bands)], axis=1)


def _band(borders: Sequence[Border], scenes: int, band: int) -> NDArray[np.float64]:
    # The unknowns are changes at the knots; matched values give: change of the first less change of
    # the second is the second's value less the first's.
    rows, wanted = [], []
    for border in borders:
        first, second = border.tones[:, band]
        known = np.isfinite(first) & np.isfinite(second)
        if not known.any():
            continue
        first, second = first[known], second[known]
        trust = np.sqrt(border.weight) * _trust(border.usual[band][np.ix_(known, known)])
        row = np.zeros((len(first), scenes, KNOTS))
        row[:, border.first], row[:, border.second] = _at(first), -_at(second)
        rows.append(np.tensordot(trust, row, 1))
        wanted.append(trust @ (second - first))
    bend = np.zeros((KNOTS - 2, KNOTS))
    for knot in range(KNOTS - 2):
        bend[knot, knot : knot + 3] = 1, -2, 1
    each = np.eye(scenes)[:, None, :, None]
    rows.append((SMOOTH * bend[None, :, None, :] * each).reshape(-1, scenes, KNOTS))
    rows.append((STAY * np.eye(KNOTS)[None, :, None, :] * each).reshape(-1, scenes, KNOTS))
    # Without this, making everything one gray would match all borders.
    met = np.zeros(scenes)
    met[[scene for border in borders for scene in border[:2]]] = 1
    together = np.eye(KNOTS)[:, None, :] * met[None, :, None]
    rows.append(100 * together / np.sqrt(max(1, met.sum())))
    matrix = np.concatenate(rows).reshape(-1, scenes * KNOTS)
    target = np.concatenate([*wanted, np.zeros(len(matrix) - sum(map(len, wanted)))])
    change = np.linalg.lstsq(matrix, target, rcond=None)[0].reshape(scenes, KNOTS)
    curves = np.linspace(0, 1, KNOTS) + change
    return np.asarray(np.maximum.accumulate(curves, axis=1))


def _trust(usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn how values vary by themselves into weights of mean 1: generalized least squares."""
    variances = np.diag(usual) + 1e-6
    inverse = np.linalg.inv((1 - SHRINK) * usual + SHRINK * np.diag(variances))
    root = np.linalg.cholesky(inverse).T
    return np.asarray(root / np.sqrt((root**2).sum() / len(root)))


def _at(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the weights of the knots that a curve's height at some values is made of."""
    place = np.clip(values, 0, 1) * (KNOTS - 1)
    knot = np.minimum(place.astype(int), KNOTS - 2)
    share = place - knot
    weights = np.zeros((len(values), KNOTS))
    index = np.arange(len(values))
    weights[index, knot], weights[index, knot + 1] = 1 - share, share
    return weights

"""Bring scenes of one mosaic to a common radiometry, by what lies on both sides of their borders.

The ground does not change at a border between scenes, so the tones on its two sides should be the
same. Every scene gets one curve a band; all curves together are chosen by least squares so that
borders vanish, that curves are smooth and that their mean over the scenes changes nothing. Pieces
of a border at which the ground does change count little (iterated weights). It is
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
# How often pieces are weighed anew.
ROUNDS = 8


class Border(NamedTuple):
    """What two scenes show on either side of the border between them.

    Attributes
    ----------
    first, second : int
        The scenes.
    tones : (pieces, 2, bands, shares) float64 array
        Values of the first's and the second's pixels at :data:`SHARES`, piece by piece along the
        border, 0..1 in the range that the curves are given on; NaN where a value cannot be
        trusted.
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
    told = [[_equations(border, band) for band in range(bands)] for border in borders]
    votes = [np.ones(len(border.tones)) for border in borders]
    change = np.zeros((scenes, bands, KNOTS))
    for _ in range(ROUNDS):
        for band in range(bands):
            ours = [equations[band] for equations in told]
            change[:, band] = _solved(borders, ours, votes, scenes)
        votes = [
            _votes(np.concatenate([change[border.first], -change[border.second]], 1), equations)
            for border, equations in zip(borders, told, strict=True)
        ]
    return np.asarray(np.maximum.accumulate(np.linspace(0, 1, KNOTS) + change, axis=2))


def _equations(border: Border, band: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Say what the change of the first less that of the second must be.

    Returns
    -------
    rows : (pieces, shares, 2 * KNOTS) array
        Weights of the first's knots and of the second's, less by sign.
    wanted : (pieces, shares) array
        The second's value less the first's: 0, as are the rows, where one is not known.
    """
    first, second = border.tones[:, 0, band], border.tones[:, 1, band]
    known = np.isfinite(first) & np.isfinite(second)
    first, second = np.where(known, first, 0), np.where(known, second, 0)
    rows = np.concatenate([_at(first), _at(second)], axis=2) * known[:, :, None]
    trust = _trust(border.usual[band])
    return trust @ rows, (second - first) @ trust.T


def _solved(
    borders: Sequence[Border],
    told: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    votes: list[NDArray[np.float64]],
    scenes: int,
) -> NDArray[np.float64]:
    """Choose one band's changes at the knots of all scenes, by least squares."""
    bend = np.diff(np.eye(KNOTS), 2, axis=0)
    matrix = np.zeros((scenes, KNOTS, scenes, KNOTS))
    target = np.zeros((scenes, KNOTS))
    for scene in range(scenes):
        matrix[scene, :, scene] += SMOOTH**2 * bend.T @ bend + STAY**2 * np.eye(KNOTS)
    # Without this, making everything one gray would match all borders.
    met = sorted({scene for border in borders for scene in border[:2]})
    for one in met:
        for other in met:
            matrix[one, :, other] += 100**2 / len(met) * np.eye(KNOTS)
    for border, (rows, wanted), vote in zip(borders, told, votes, strict=True):
        weights = border.weight * vote / vote.sum()
        own = np.einsum("n,nik,nil->kl", weights, rows, rows).reshape(2, KNOTS, 2, KNOTS)
        seen = np.einsum("n,nik,ni->k", weights, rows, wanted).reshape(2, KNOTS)
        pair = (border.first, 1.0), (border.second, -1.0)
        for place, (one, sign) in enumerate(pair):
            target[one] += sign * seen[place]
            for across, (other, turned) in enumerate(pair):
                matrix[one, :, other] += sign * turned * own[place, :, across]
    size = scenes * KNOTS
    found = np.linalg.solve(matrix.reshape(size, size), target.ravel())
    return np.asarray(found.reshape(scenes, KNOTS), np.float64)


def _votes(
    change: NDArray[np.float64], told: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Weigh pieces of a border by how well its bands' changes fit them: land may change there too.

    Cauchy's weights, iterated (Holland and Welsch 1977).
    """
    left = [
        ((rows @ own - wanted) ** 2).mean(1)
        for own, (rows, wanted) in zip(change, told, strict=True)
    ]
    error = np.mean(left, axis=0)
    return np.asarray(1 / (1 + error / (np.median(error) + 1e-12)))


def _trust(usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn how values vary by themselves into weights of mean 1: generalized least squares."""
    variances = np.diag(usual) + 1e-6
    inverse = np.linalg.inv((1 - SHRINK) * usual + SHRINK * np.diag(variances))
    root = np.linalg.cholesky(inverse).T
    return np.asarray(root / np.sqrt((root**2).sum() / len(root)))


def _at(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the weights, (..., KNOTS), of the knots that a curve's height at values is made of."""
    place = np.clip(values, 0, 1) * (KNOTS - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(place[..., None] - np.arange(KNOTS))))

"""Tone curves that bring the scenes of one mosaic to a common radiometry.

The ground does not change at a border between scenes, so the tones on its two sides should agree.
Every scene gets one curve per band; all curves together are chosen by least squares so that the
borders vanish, the curves are smooth and their mean over the scenes changes nothing. Sections of a
border at which the ground does change have little weight (iterated reweighting). This is the
adjustment of gains in the overlaps of scenes (Cresson and Saint-Geours 2015) with curves instead of
gains, and without the need for overlaps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Quantiles of the pixels that are matched; many at the dark end, where haze shows.
QUANTILES = np.array([1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99]) / 100
# Knots of a curve, evenly spaced.
KNOTS = 17
# Weights of a smooth curve, and of a mean over the scenes that changes nothing, relative to borders
# of weight 1.
_SMOOTHNESS_WEIGHT, _MEAN_WEIGHT = 3.0, 100.0
# Weights of a curve that changes nothing: the first with which contrast between the second and the
# last but one eighth of tones changes by no more than a factor.
_IDENTITY_WEIGHTS, _GREATEST_CONTRAST = (0.01, 0.1, 0.3, 1.0), 2.5
# Share of the variances that replaces correlations, which few sections estimate badly.
_SHRINKAGE = 0.2
# Rounds of iterated reweighting.
_REWEIGHTING_ROUNDS = 8

Equations = tuple[NDArray[np.float64], NDArray[np.float64]]


class Border(NamedTuple):
    """Tones on both sides of the border between two scenes.

    Attributes
    ----------
    first, second : int
        Indices of the scenes.
    tones : (sections, 2, bands, quantiles) float64 array
        Values of the first and the second scene's pixels at :data:`QUANTILES`, section by section
        along the border, 0..1 in the range that the curves cover; NaN where a value is unreliable.
    covariance : (bands, quantiles, quantiles) float64 array
        Covariance of the differences of such tones where there is no border.
    weight : float
        Length of the border relative to the mean of all.
    """

    first: int
    second: int
    tones: NDArray[np.float64]
    covariance: NDArray[np.float64]
    weight: float


def solve_curves(borders: Sequence[Border], scenes: int, bands: int) -> NDArray[np.float64]:
    """Choose the tone curves of all scenes.

    Parameters
    ----------
    borders : sequence of Border
    scenes, bands : int
        Number of scenes and bands.

    Returns
    -------
    (scenes, bands, KNOTS) float64 array
        Output values at evenly spaced knots from 0 to 1; curves never fall.
    """
    equations = [[_equations(border, band) for band in range(bands)] for border in borders]
    curves = np.zeros((scenes, bands, KNOTS))
    for identity in _IDENTITY_WEIGHTS:
        curves = _solve(borders, equations, scenes, bands, identity)
        eighth = KNOTS // 8
        contrast = (curves[..., -1 - eighth] - curves[..., eighth]) / (1 - 2 * eighth / (KNOTS - 1))
        if (contrast >= 1 / _GREATEST_CONTRAST).all() and (contrast <= _GREATEST_CONTRAST).all():
            break
    return curves


def _solve(
    borders: Sequence[Border],
    equations: list[list[Equations]],
    scenes: int,
    bands: int,
    identity: float,
) -> NDArray[np.float64]:
    """Choose the curves with a weight of curves that change nothing."""
    weights = [np.ones(len(border.tones)) for border in borders]
    change = np.zeros((scenes, bands, KNOTS))
    for _ in range(_REWEIGHTING_ROUNDS):
        for band in range(bands):
            of_band = [by_band[band] for by_band in equations]
            change[:, band] = _solve_band(borders, of_band, weights, scenes, identity)
        weights = [
            _section_weights(
                np.concatenate([change[border.first], -change[border.second]], 1), by_band
            )
            for border, by_band in zip(borders, equations, strict=True)
        ]
    return np.asarray(np.maximum.accumulate(np.linspace(0, 1, KNOTS) + change, axis=2))


def _equations(border: Border, band: int) -> Equations:
    """Return the equations for the first scene's change less the second's.

    Returns
    -------
    rows : (sections, quantiles, 2 * KNOTS) array
        Coefficients of the first scene's knots, and of the second's with reversed sign.
    target : (sections, quantiles) array
        The second scene's value less the first's. Rows and target are 0 where one is unknown.
    """
    first, second = border.tones[:, 0, band], border.tones[:, 1, band]
    known = np.isfinite(first) & np.isfinite(second)
    first, second = np.where(known, first, 0), np.where(known, second, 0)
    rows = np.concatenate([_knot_weights(first), _knot_weights(second)], axis=2)
    rows = rows * known[:, :, None]
    whitening = _whitening(border.covariance[band])
    return whitening @ rows, (second - first) @ whitening.T


def _solve_band(
    borders: Sequence[Border],
    equations: list[Equations],
    section_weights: list[NDArray[np.float64]],
    scenes: int,
    identity: float,
) -> NDArray[np.float64]:
    """Solve one band's changes at the knots of all scenes by least squares, (scenes, KNOTS)."""
    bend = np.diff(np.eye(KNOTS), 2, axis=0)
    matrix = np.zeros((scenes, KNOTS, scenes, KNOTS))
    target = np.zeros((scenes, KNOTS))
    for scene in range(scenes):
        matrix[scene, :, scene] += _SMOOTHNESS_WEIGHT**2 * bend.T @ bend
        matrix[scene, :, scene] += identity**2 * np.eye(KNOTS)
    # Without this, one gray for all pixels would match all borders.
    bordering = sorted({scene for border in borders for scene in border[:2]})
    for one in bordering:
        for other in bordering:
            matrix[one, :, other] += _MEAN_WEIGHT**2 / len(bordering) * np.eye(KNOTS)
    for border, (rows, wanted), weight in zip(borders, equations, section_weights, strict=True):
        weights = border.weight * weight / weight.sum()
        normal = np.einsum("n,nik,nil->kl", weights, rows, rows).reshape(2, KNOTS, 2, KNOTS)
        right = np.einsum("n,nik,ni->k", weights, rows, wanted).reshape(2, KNOTS)
        pair = (border.first, 1.0), (border.second, -1.0)
        for index, (one, sign) in enumerate(pair):
            target[one] += sign * right[index]
            for across, (other, other_sign) in enumerate(pair):
                matrix[one, :, other] += sign * other_sign * normal[index, :, across]
    size = scenes * KNOTS
    solution = np.linalg.solve(matrix.reshape(size, size), target.ravel())
    return np.asarray(solution.reshape(scenes, KNOTS), np.float64)


def _section_weights(
    change: NDArray[np.float64], equations: list[Equations]
) -> NDArray[np.float64]:
    """Weight the sections of a border by how well the changes of all bands fit them.

    The ground may change at the border too. Cauchy's weights, iterated (Holland and Welsch 1977).
    """
    residuals = [
        ((rows @ own - wanted) ** 2).mean(1)
        for own, (rows, wanted) in zip(change, equations, strict=True)
    ]
    error = np.mean(residuals, axis=0)
    return np.asarray(1 / (1 + error / (np.median(error) + 1e-12)))


def _whitening(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the whitening matrix of a covariance, of mean weight 1, for least squares."""
    variances = np.diag(covariance) + 1e-6
    inverse = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(variances))
    root = np.linalg.cholesky(inverse).T
    return np.asarray(root / np.sqrt((root**2).sum() / len(root)))


def _knot_weights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the knots in a curve's height at values, (..., KNOTS)."""
    position = np.clip(values, 0, 1) * (KNOTS - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[..., None] - np.arange(KNOTS))))

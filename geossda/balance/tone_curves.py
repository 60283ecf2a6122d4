"""Tone curves that bring the scenes of one mosaic to a common radiometry.

The ground does not change at a border between scenes, so the tones on its two sides should agree.
Every scene gets one curve per band; all curves together are the most likely ones, given how tones
differ at the borders, how much the ground itself differs over the same distance, and how light,
haze and exposure usually change an image (Gaussian process regression: Rasmussen and Williams 2006,
section 2.2). Where borders say little, curves therefore stay near to no change. Sections of a
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
# Usual changes of a scene, as shares of the range of tones: standard deviation of brightness,
# contrast and gamma, alike in all bands and of each band by itself, and of bends over a distance.
_ALIKE, _BY_BAND = np.array([0.15, 0.08, 0.02]), np.array([0.06, 0.03, 0.01])
_BEND, _BEND_LENGTH = 0.01, 0.12
# Weight of a mean over the scenes that changes nothing.
_MEAN_WEIGHT = 100.0
# Length of a border that tells of it once, in pixels: the ground differs together along it.
_INDEPENDENT_PX = 500.0
# Standard deviation of a tone that is due to pixels alone.
_NOISE = 0.008
# Share of the variances that replaces correlations, which few sections estimate badly.
_SHRINKAGE = 0.6
# Bands that are solved together: their ground differs together, so that tints are certain.
_TOGETHER = 4
# Rounds of iterated reweighting, and of weighting the ground's outliers down.
_REWEIGHTING_ROUNDS, _GROUND_ROUNDS = 8, 5


class Border(NamedTuple):
    """Tones on both sides of the border between two scenes.

    Attributes
    ----------
    first, second : int
        Indices of the scenes.
    tones : (sections, 2, bands, quantiles) float64 array
        Values of the first and the second scene's pixels at :data:`QUANTILES`, section by section
        along the border, 0..1 in the range that the curves cover; NaN where a value is unreliable.
    ground : (samples, bands, quantiles) float64 array
        Differences of such tones over the same distance where there is no border; NaN if unknown.
    feather : int
        Width that the border is feathered over, in pixels; 0 if it is hard.
    section_px : float
        Length of a section, in pixels.
    """

    first: int
    second: int
    tones: NDArray[np.float64]
    ground: NDArray[np.float64]
    feather: int
    section_px: float


class _Equations(NamedTuple):
    """What the sections of a border say of the changes at the knots of both scenes.

    Attributes
    ----------
    rows : (sections, equations, 2 * unknowns) array
        Whitened; 0 where tones are unknown.
    target : (sections, equations) array
    """

    rows: NDArray[np.float64]
    target: NDArray[np.float64]


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
    groups = [slice(start, start + _TOGETHER) for start in range(0, bands, _TOGETHER)]
    equations = [_border_equations(borders, group) for group in groups]
    weights = [np.ones(len(border.tones)) for border in borders]
    change = np.zeros((scenes, bands, KNOTS))
    for _ in range(_REWEIGHTING_ROUNDS):
        for group, of_group in zip(groups, equations, strict=True):
            change[:, group] = _solve(borders, of_group, weights, change[:, group].shape)
        weights = _section_weights(borders, change, groups, equations)
    return np.asarray(np.maximum.accumulate(np.linspace(0, 1, KNOTS) + change, axis=2))


def _border_equations(borders: Sequence[Border], group: slice) -> list[_Equations]:
    """Return the equations of every border for some bands.

    They say that the first scene's change less the second's is the second's value less the first's.
    """
    whitening = {}
    for hard in {border.feather == 0 for border in borders}:
        alike = [border.ground[:, group] for border in borders if (border.feather == 0) == hard]
        whitening[hard] = _whitening(np.concatenate(alike))
    equations = []
    for border in borders:
        first, second = border.tones[:, 0, group], border.tones[:, 1, group]
        known = np.isfinite(first) & np.isfinite(second)
        first, second = np.where(known, first, 0), np.where(known, second, 0)
        sections, bands, quantiles = first.shape
        rows = np.zeros((sections, bands, quantiles, 2, bands, KNOTS))
        for band in range(bands):
            rows[:, band, :, 0, band] = _knot_weights(first[:, band])
            rows[:, band, :, 1, band] = -_knot_weights(second[:, band])
        rows *= known[..., None, None, None]
        flat = rows.reshape(sections, bands * quantiles, 2 * bands * KNOTS)
        matrix = whitening[border.feather == 0]
        target = (second - first).reshape(sections, -1) @ matrix.T
        equations.append(_Equations(matrix @ flat, target))
    return equations


def _solve(
    borders: Sequence[Border],
    equations: list[_Equations],
    weights: list[NDArray[np.float64]],
    shape: tuple[int, ...],
) -> NDArray[np.float64]:
    """Solve the changes at the knots of all scenes, (scenes, bands, KNOTS)."""
    scenes, bands, _ = shape
    unknowns = bands * KNOTS
    matrix = np.zeros((scenes, unknowns, scenes, unknowns))
    target = np.zeros((scenes, unknowns))
    matrix[np.arange(scenes), :, np.arange(scenes)] = np.linalg.inv(_usual_changes(bands))
    # The mosaic as a whole keeps its radiometry.
    bordering = sorted({scene for border in borders for scene in border[:2]})
    for one in bordering:
        for other in bordering:
            matrix[one, :, other] += _MEAN_WEIGHT**2 / len(bordering) * np.eye(unknowns)
    for border, (rows, wanted), weight in zip(borders, equations, weights, strict=True):
        certainty = min(1.0, border.section_px / _INDEPENDENT_PX)
        weighted = rows * (certainty * weight)[:, None, None]
        flat = rows.reshape(-1, 2 * unknowns)
        normal = (weighted.reshape(flat.shape).T @ flat).reshape(2, unknowns, 2, unknowns)
        right = (weighted.reshape(flat.shape).T @ wanted.ravel()).reshape(2, unknowns)
        for one, scene in enumerate(border[:2]):
            target[scene] += right[one]
            for other, across in enumerate(border[:2]):
                matrix[scene, :, across] += normal[one, :, other]
    size = scenes * unknowns
    solution = np.linalg.solve(matrix.reshape(size, size), target.ravel())
    return np.asarray(solution.reshape(shape), np.float64)


def _usual_changes(bands: int) -> NDArray[np.float64]:
    """Return the covariance of usual changes at the knots of all bands."""
    tone = np.linspace(0, 1, KNOTS)
    shapes = np.stack([np.ones(KNOTS), tone - 0.5, 4 * tone * (1 - tone) - 2 / 3])
    alike = shapes.T @ (_ALIKE[:, None] ** 2 * shapes)
    apart = tone[:, None] - tone
    own = shapes.T @ (_BY_BAND[:, None] ** 2 * shapes)
    own += _BEND**2 * np.exp(-((apart / _BEND_LENGTH) ** 2) / 2) + 1e-6 * np.eye(KNOTS)
    return np.kron(np.ones((bands, bands)), alike) + np.kron(np.eye(bands), own)


def _section_weights(
    borders: Sequence[Border],
    change: NDArray[np.float64],
    groups: list[slice],
    equations: list[list[_Equations]],
) -> list[NDArray[np.float64]]:
    """Weight the sections of every border by how well the changes of all bands fit them.

    The ground may change at the border too. Cauchy's weights, iterated (Holland and Welsch 1977).
    """
    weights = []
    for number, border in enumerate(borders):
        squares = np.zeros(len(border.tones))
        for group, of_group in zip(groups, equations, strict=True):
            rows, wanted = of_group[number]
            changes = np.concatenate([change[scene, group].ravel() for scene in border[:2]])
            squares += ((rows @ changes - wanted) ** 2).sum(1)
        known = np.isfinite(border.tones).all(1).sum((1, 2))
        error = squares / np.maximum(known, 1)
        weights.append(2 / (1 + error / (np.median(error) + 1e-12)))
    return weights


def _whitening(ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that whitens differences of the ground, (samples, bands, quantiles).

    Outliers are weighted down (Tyler 1987).
    """
    known = np.isfinite(ground)
    samples = np.where(known, ground, 0)[known.mean((1, 2)) > 0.5]
    flat = samples.reshape(len(samples), -1)
    weights, covariance = np.ones(len(flat)), np.zeros((flat.shape[1],) * 2)
    for _ in range(_GROUND_ROUNDS if len(flat) else 0):
        measured = (flat * weights[:, None]).T @ flat / weights.sum()
        variances = np.diag(np.diag(measured))
        covariance = (1 - _SHRINKAGE) * measured + _SHRINKAGE * variances
        covariance += 1e-6 * np.eye(len(covariance))
        weights = 1 / (1 + ((flat @ np.linalg.inv(covariance)) * flat).mean(1))
    noisy = covariance + _NOISE**2 * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(noisy)))


def _knot_weights(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of the knots in a curve's height at values, (..., KNOTS)."""
    position = np.clip(values, 0, 1) * (KNOTS - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[..., None] - np.arange(KNOTS))))

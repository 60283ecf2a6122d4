"""Color maps between like land: Gaussian mixtures whose proportions may differ.

Two images of unlike land differ in their distributions even where their colors agree, so matching
moments or histograms shifts the colors. Here the source is described by a Gaussian mixture; the
reference is explained by the same mixture under one affine map, with proportions of its own. The
map is the linear transform of optimal transport between the two Gaussians (Monge map; Pitié and
Kokaram 2007) with the source in the reference's proportions, found together with these by
expectation maximization (Dempster et al. 1977). What an affine map leaves of the difference in
each band, such as a gamma, is a smooth curve of small corrections.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COMPONENTS = 12
# A component needs so many samples per band, for its covariance to be known.
SAMPLES_PER_BAND = 4
# Iterations of expectation maximization: of the mixture, and of the map with its proportions.
MIXTURE_ITERATIONS, MAP_ITERATIONS = 25, 20
# Weight of the source's own proportions against those that the reference shows. With none, a change
# of light passes for other land; with much, this is a map between two Gaussians. Measured on known
# styles and on the dates of one place (docs/decisions/0014).
PRIOR = 0.5
# Variance added to each component: that of two digital numbers of 8 bit, for images in 0..1.
FLOOR = (2 / 255) ** 2
MIN_PROPORTION = 1e-4
# Corrections are taken at so many quantiles, and averaged over so many neighbours.
QUANTILES, SMOOTHING = np.linspace(0.01, 0.99, 33), 9


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of Gaussians.

    Attributes
    ----------
    proportions : (components,) array
        Positive, with sum 1.
    means : (components, bands) array
    covariances : (components, bands, bands) array
    """

    proportions: Floats
    means: Floats
    covariances: Floats

    def responsibilities(self, samples: Floats) -> Floats:
        """Return each component's posterior probability of (bands, n) samples.

        Returns
        -------
        (components, n) array
        """
        # Densities but for a common factor; one product for all components.
        lower = np.linalg.cholesky(self.covariances)
        whitening = np.linalg.inv(lower)
        centers = np.einsum("kij,kj->ki", whitening, self.means)
        apart = whitening @ samples - centers[:, :, None]
        heights = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
        logs = -0.5 * np.einsum("kin,kin->kn", apart, apart) - heights[:, None]
        logs += np.log(self.proportions)[:, None]
        shares = np.exp(logs - logs.max(0))
        return np.asarray(shares / shares.sum(0))

    def mapped(self, matrix: Floats, offset: Floats, proportions: Floats) -> "GaussianMixture":
        """Return the mixture under an affine map, with other proportions.

        Parameters
        ----------
        matrix : (bands, bands) array
        offset : (bands,) array
            In the units of the colors, 0..1.
        proportions : (components,) array
            Positive, with sum 1.
        """
        noise = FLOOR * np.eye(len(offset))
        return GaussianMixture(
            proportions,
            self.means @ matrix.T + offset,
            matrix @ self.covariances @ matrix.T + noise,
        )


@dataclass(frozen=True)
class ColorMap:
    """An affine map of colors, and small corrections of each band after it.

    Attributes
    ----------
    matrix : (bands, bands) array
    offset : (bands,) array
    knots, corrections : (bands, knots) arrays
        What is added to each mapped value; the ends' corrections hold beyond the ends.
    """

    matrix: Floats
    offset: Floats
    knots: Floats
    corrections: Floats

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map a (bands, height, width) image pixel by pixel."""
        mapped = np.empty_like(image)
        for band, (row, shift) in enumerate(zip(self.matrix, self.offset, strict=True)):
            # One product after the other, so that a pixel's value does not depend on its window.
            total = np.full(image.shape[1:], shift, np.float32)
            for factor, own in zip(row, image, strict=True):
                total += np.float32(factor) * own
            mapped[band] = total + np.interp(total, self.knots[band], self.corrections[band])
        return mapped


class LikeLand(NamedTuple):
    """An affine map between like land, and what it was found with.

    Attributes
    ----------
    matrix : (bands, bands) array
        Symmetric and positive definite.
    offset : (bands,) array
        In the units of the colors, 0..1.
    weights : (n,) array
        Of the source's samples, with sum 1: with these it has the reference's land.
    """

    matrix: Floats
    offset: Floats
    weights: Floats

    def gaussian(self, mean: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """Return mean and covariance of what the map makes of a Gaussian."""
        return self.matrix @ mean + self.offset, self.matrix @ covariance @ self.matrix


def match_land(source: Floats, reference: Floats, components: int = COMPONENTS) -> LikeLand:
    """Return the affine map that brings a source's colors to a reference's, like land to like.

    Parameters
    ----------
    source, reference : (bands, n) arrays
        Colors of pixels spread over each image, in 0..1.
    components : int
        At most so many Gaussians.
    """
    mixture = fit_mixture(source, components)
    bands, count = reference.shape
    same, nowhere = np.eye(bands), np.zeros(bands)
    # So that an image is mapped to itself as it is, its own proportions are found as the
    # reference's are, and moments are those of weighted samples.
    own = mixture.proportions
    for _ in range(MAP_ITERATIONS):
        shares = mixture.mapped(same, nowhere, own).responsibilities(source)
        own = _proportions(shares.sum(1))
    target = _moments(reference)
    matrix, offset = transport(*_moments(source), *target)
    proportions = own
    for _ in range(MAP_ITERATIONS):
        reached = mixture.mapped(matrix, offset, proportions).responsibilities(reference)
        proportions = _proportions(reached.sum(1) + PRIOR * count * own)
        weights = (proportions / own) @ shares
        weights /= weights.sum()
        matrix, offset = transport(*_moments(source, weights), *target)
    return LikeLand(matrix, offset, weights)


def fit_color_map(source: Floats, reference: Floats) -> ColorMap:
    """Return the map of :func:`match_land`, with the curves of the bands that it leaves.

    Parameters
    ----------
    source, reference : (bands, n) arrays
        Colors of pixels spread over each image, in 0..1.
    """
    matrix, offset, weights = match_land(source, reference)
    mapped = matrix @ source + offset[:, None]
    knots, corrections = _corrections(mapped, weights, reference)
    return ColorMap(matrix, offset, knots, corrections)


def fit_mixture(samples: Floats, components: int = COMPONENTS) -> GaussianMixture:
    """Return a mixture fitted to (bands, n) samples, the same for the same samples.

    Components begin as slices of equal size along the axis of the largest variance; there are
    fewer of them where samples are few.

    Parameters
    ----------
    samples : (bands, n) array
        Colors in 0..1.
    components : int
        At most so many Gaussians.
    """
    bands, count = samples.shape
    components = max(1, min(components, count // (SAMPLES_PER_BAND * bands)))
    centered = samples - samples.mean(1, keepdims=True)
    axis = np.linalg.eigh(centered @ centered.T)[1][:, -1]
    slices = np.array_split(np.argsort(axis @ centered, kind="stable"), components)
    shares = np.zeros((components, count))
    for component, members in enumerate(slices):
        shares[component, members] = 1
    mixture = _maximized(samples, shares)
    for _ in range(MIXTURE_ITERATIONS):
        mixture = _maximized(samples, mixture.responsibilities(samples))
    return mixture


def transport(
    mean: Floats, covariance: Floats, to_mean: Floats, to_covariance: Floats
) -> tuple[Floats, Floats]:
    """Return matrix and offset of the optimal transport from one Gaussian to another.

    Parameters
    ----------
    mean, to_mean : (bands,) arrays
    covariance, to_covariance : (bands, bands) arrays
        Symmetric and positive semidefinite; `FLOOR` is added to their diagonals.
    """
    noise = FLOOR * np.eye(len(mean))
    root = _root(covariance + noise)
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ (to_covariance + noise) @ root) @ inverse
    return matrix, to_mean - matrix @ mean


def _corrections(mapped: Floats, weights: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return knots and smoothed differences of quantiles, (bands, knots) each."""
    knots, corrections = [], []
    average = np.ones(SMOOTHING) / SMOOTHING
    for own, target in zip(mapped, reference, strict=True):
        order = np.argsort(own, kind="stable")
        ranks = np.cumsum(weights[order]) - weights[order] / 2
        values = np.interp(QUANTILES, ranks, own[order])
        shift = np.pad(np.quantile(target, QUANTILES) - values, SMOOTHING // 2, mode="edge")
        knots.append(values)
        # Quantiles of one value, as an image of one color has, share one correction.
        _, same = np.unique(np.round(values, 6), return_inverse=True)
        smooth = np.convolve(shift, average, "valid")
        corrections.append((np.bincount(same, smooth) / np.bincount(same))[same])
    return np.stack(knots), np.stack(corrections)


def _moments(samples: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Return mean and covariance of (bands, n) samples, weighted if weights are given."""
    mean = np.average(samples, axis=1, weights=weights)
    return mean, np.atleast_2d(np.cov(samples, bias=True, aweights=weights))


def _proportions(amounts: Floats) -> Floats:
    """Return positive amounts with sum 1, none of them too small to grow again."""
    shares = np.maximum(amounts / amounts.sum(), MIN_PROPORTION)
    return np.asarray(shares / shares.sum())


def _maximized(samples: Floats, shares: Floats) -> GaussianMixture:
    """Return the mixture that fits samples best, given each component's share of them."""
    totals = shares.sum(1) + 1e-3
    means = shares @ samples.T / totals[:, None]
    covariances = np.empty((len(totals), len(samples), len(samples)))
    for component, (share, mean) in enumerate(zip(shares, means, strict=True)):
        apart = samples - mean[:, None]
        covariances[component] = (apart * share) @ apart.T / totals[component]
    covariances += FLOOR * np.eye(len(samples))
    return GaussianMixture(totals / totals.sum(), means, covariances)


def _root(matrix: Floats) -> Floats:
    """Return the square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 1e-12))) @ vectors.T)

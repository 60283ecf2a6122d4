"""Style statistics of one image, as arrays: what is measured, kept in files and applied.

The same as :mod:`geossda.models.style_statistics` has in tensors for training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class LevelMoments(NamedTuple):
    """The style of one level of a network.

    Attributes
    ----------
    mean, std : (channels,) float32 arrays
    """

    mean: Floats
    std: Floats


class PixelGaussian(NamedTuple):
    """The style of the pixels themselves: brightness, contrast, and covariance of the bands.

    Attributes
    ----------
    mean : (bands,) float32 array
    covariance : (bands, bands) float32 array
    """

    mean: Floats
    covariance: Floats

    @property
    def std(self) -> Floats:
        """Standard deviation of each band."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance)), np.float32)


class ImageStyle(NamedTuple):
    """The style of an image: statistics of its pixels and of each level's features.

    Attributes
    ----------
    pixels : PixelGaussian
    groups : tuple of tuple of LevelMoments
        One entry per group of bands, from the shallowest to the deepest level.
    """

    pixels: PixelGaussian
    groups: tuple[tuple[LevelMoments, ...], ...]


def packed(levels: Sequence[LevelMoments]) -> Floats:
    """Return the moments of all levels as the networks take them, (1, values).

    Parameters
    ----------
    levels : sequence of LevelMoments
    """
    return np.concatenate([part for moments in levels for part in moments])[None]


def unpacked(values: Floats, channels: Sequence[int]) -> tuple[LevelMoments, ...]:
    """Return the moments that :func:`packed` has joined.

    Parameters
    ----------
    values : (1, values) float32 array
    channels : sequence of int
        Of each level.
    """
    ends = np.cumsum(np.repeat(channels, 2))[:-1]
    parts = iter(np.split(np.asarray(values[0], np.float32), ends))
    return tuple(LevelMoments(mean, std) for mean, std in zip(parts, parts, strict=True))


def measure_gaussian(
    images: Floats, valid: NDArray[np.bool_] | None = None, eps: float = 1e-6
) -> PixelGaussian:
    """Compute mean and covariance of all patches of one image.

    Parameters
    ----------
    images : (patches, bands, height, width) float32 array
    valid : (patches, height, width) bool array, optional
    eps : float
        Added to the variances.
    """
    by_band = images.swapaxes(0, 1)
    pixels = by_band.reshape(len(by_band), -1) if valid is None else by_band[:, valid]
    if not pixels.shape[1]:
        pixels = np.zeros((len(by_band), 1), np.float32)
    mean = pixels.mean(1, dtype=np.float64)
    centered = pixels - mean[:, None]
    covariance = centered @ centered.T / pixels.shape[1] + eps * np.eye(len(mean))
    return PixelGaussian(mean.astype(np.float32), covariance.astype(np.float32))


def pool_styles(styles: Sequence[ImageStyle]) -> ImageStyle:
    """Return the style of images of equal size as if their pixels had been measured together.

    Parameters
    ----------
    styles : sequence of ImageStyle
    """
    mean, offset = _centered([style.pixels.mean for style in styles])
    spread = np.stack([style.pixels.covariance for style in styles])
    covariance = (spread + offset[:, :, None] * offset[:, None, :]).mean(0)
    groups = tuple(
        tuple(_pool_moments([style.groups[group][level] for style in styles])
              for level in range(len(levels)))
        for group, levels in enumerate(styles[0].groups)
    )  # fmt: skip
    return ImageStyle(PixelGaussian(mean, covariance), groups)


def _pool_moments(levels: Sequence[LevelMoments]) -> LevelMoments:
    mean, offset = _centered([moments.mean for moments in levels])
    variance = np.stack([moments.std**2 for moments in levels]) + offset**2
    return LevelMoments(mean, np.sqrt(variance.mean(0)))


def _centered(means: Sequence[Floats]) -> tuple[Floats, Floats]:
    stacked = np.stack(means)
    mean = stacked.mean(0)
    return mean, stacked - mean


def transport(own: PixelGaussian, other: PixelGaussian, ridge: float = 0.2) -> Floats:
    """Return the linear map of optimal transport from one Gaussian to another, (bands, bands).

    The Monge map between Gaussians (Pitié and Kokaram 2007, MKL). Highly correlated bands leave
    directions of almost no variance, whose noise an exact map would amplify, so correlations are
    shrunk first.

    Parameters
    ----------
    own, other : PixelGaussian
    ridge : float
        Shrinkage of correlations: 0 keeps them, 1 ignores them, so that bands are scaled one by
        one.
    """
    first, second = (_shrunk(gaussian.covariance, ridge) for gaussian in (own, other))
    root, inverse = _power(first, 0.5), _power(first, -0.5)
    return np.asarray(inverse @ _power(root @ second @ root, 0.5) @ inverse, np.float32)


def _shrunk(covariance: Floats, ridge: float) -> NDArray[np.float64]:
    wide = covariance.astype(np.float64)
    return (1 - ridge) * wide + ridge * np.diag(np.diagonal(wide))


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T)


def normalize(images: Floats, pixels: PixelGaussian) -> Floats:
    """Return images with each band of zero mean and unit standard deviation.

    Parameters
    ----------
    images : (N, bands, height, width) float32 array
    pixels : PixelGaussian
    """
    scale = 1 / pixels.std
    offset = (-pixels.mean * scale)[:, None, None]
    return np.asarray(images * scale[:, None, None] + offset, np.float32)


def restyle(content: Floats, pixels: PixelGaussian) -> Floats:
    """Return normalized images with the mean and the standard deviation of a style.

    Parameters
    ----------
    content : (N, bands, height, width) float32 array
    pixels : PixelGaussian
    """
    styled = content * pixels.std[:, None, None] + pixels.mean[:, None, None]
    return np.asarray(styled, np.float32)

"""Style statistics: what normalisation removes from an image, and what AdaIN applies.

The style of an image at one level of a network is the mean and the standard deviation of each
channel (Huang and Belongie 2017, AdaIN). They may be pooled over several patches of one image,
weighted by validity, or given, so that a large raster is normalised by the same statistics whatever
its tiles.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional


class Moments(NamedTuple):
    """The style of one level, one row per image.

    Attributes
    ----------
    mean, std : (images, channels) float32 tensors
    """

    mean: torch.Tensor
    std: torch.Tensor

    def for_patches(self, patches: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and std as (patches, channels, 1, 1), or one row that is all patches'."""
        per_image = patches // len(self.mean)
        mean, std = self.mean, self.std
        if per_image > 1 and len(self.mean) > 1:
            mean, std = mean.repeat_interleave(per_image, 0), std.repeat_interleave(per_image, 0)
        return mean[:, :, None, None], std[:, :, None, None]


# One entry per level of a network, from the shallowest to the deepest features.
Levels = tuple[Moments, ...]


class Gaussian(NamedTuple):
    """The style of the pixels themselves: brightness, contrast, and covariance of the bands.

    Attributes
    ----------
    mean : (images, bands) float32 tensor
    covariance : (images, bands, bands) float32 tensor
    """

    mean: torch.Tensor
    covariance: torch.Tensor

    @property
    def moments(self) -> Moments:
        """Mean and standard deviation of each band."""
        return Moments(self.mean, self.covariance.diagonal(dim1=1, dim2=2).sqrt())


class StyleStatistics(NamedTuple):
    """The style of images: statistics of their pixels and of each level's features.

    Attributes
    ----------
    pixels : Gaussian
    groups : tuple of Levels
        One entry per group of bands.
    """

    pixels: Gaussian
    groups: tuple[Levels, ...]

    def map_tensors(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "StyleStatistics":
        """Return the statistics with `change` applied to each tensor."""
        return StyleStatistics(
            Gaussian(*map(change, self.pixels)),
            tuple(tuple(Moments(*map(change, m)) for m in levels) for levels in self.groups),
        )


def measure_moments(
    x: torch.Tensor, images: int, weight: torch.Tensor | None = None, eps: float = 1e-5
) -> Moments:
    """Compute the moments of each image over all its patches.

    Parameters
    ----------
    x : (patches, channels, height, width) tensor
        The patches of one image follow each other.
    images : int
        Number of images that the patches belong to.
    weight : (patches, 1, height, width) tensor, optional
        0 leaves a pixel out.
    eps : float
        Added to the variance.
    """
    x = x.float()
    patches, channels = x.shape[:2]
    if weight is None:
        # By patch first: two short reductions are faster than one over strided dimensions.
        variance, mean = torch.var_mean(x, (2, 3), correction=0)
        count = mean.new_ones((patches, 1))
    else:
        total = weight.sum((2, 3))
        count = total
        mean = (x * weight).sum((2, 3)) / total.clamp(min=1e-6)
        spread = (x - mean[:, :, None, None]) ** 2
        variance = (spread * weight).sum((2, 3)) / total.clamp(min=1e-6)
    if patches > images:
        fraction = count.reshape(images, -1, 1)
        fraction = fraction / fraction.sum(1, keepdim=True).clamp(min=1e-6)
        patch_means = mean.reshape(images, -1, channels)
        mean = (patch_means * fraction).sum(1)
        within = variance.reshape(images, -1, channels)
        variance = ((within + (patch_means - mean[:, None]) ** 2) * fraction).sum(1)
    return Moments(mean, torch.sqrt(variance + eps))


def measure_gaussian(
    x: torch.Tensor, images: int, weight: torch.Tensor | None = None, eps: float = 1e-6
) -> Gaussian:
    """Compute mean and covariance of each image over all its patches.

    Parameters
    ----------
    x, images, weight : tensor, int, tensor
        As for :func:`measure_moments`.
    eps : float
        Added to the variances.
    """
    bands = x.shape[1]
    pixels = image_pixels(x.float(), images)
    if weight is None:
        mean = pixels.mean(2)
        centred = pixels - mean[:, :, None]
        covariance = _multiply(centred, centred) / pixels.shape[2]
    else:
        weights = image_pixels(weight.float(), images)
        total = weights.sum(2).clamp(min=1e-6)
        mean = (pixels * weights).sum(2) / total
        centred = pixels - mean[:, :, None]
        covariance = _multiply(centred * weights, centred) / total[:, :, None]
    return Gaussian(mean, covariance + eps * torch.eye(bands, device=x.device))


def image_pixels(x: torch.Tensor, images: int) -> torch.Tensor:
    """Return (patches, channels, height, width) as (images, channels, pixels).

    Parameters
    ----------
    x : tensor
        The patches of one image follow each other.
    images : int
    """
    patches, channels = x.shape[:2]
    return x.reshape(images, patches // images, channels, -1).transpose(1, 2).flatten(2)


def transport(own: Gaussian, other: Gaussian, ridge: float = 0.2) -> torch.Tensor:
    """Return the linear map of optimal transport from one Gaussian to another.

    The Monge map between Gaussians (Pitié and Kokaram 2007, MKL). Highly correlated bands leave
    directions of almost no variance, whose noise an exact map would amplify, so correlations are
    shrunk first.

    Parameters
    ----------
    own, other : Gaussian
    ridge : float
        Shrinkage of correlations: 0 keeps them, 1 ignores them, so that bands are scaled one by
        one.

    Returns
    -------
    (images, bands, bands) float32 tensor
        Symmetric. No gradient passes through it, since that of an eigenbasis is ill-conditioned.
    """
    with torch.no_grad():
        first, second = (_shrunk(gaussian, ridge) for gaussian in (own, other))
        if not (first.isfinite().all() and second.isfinite().all()):
            # Training diverged: a loss that is not finite reports it, a failed decomposition not.
            return torch.full_like(own.covariance, torch.nan)
        root, inverse = _power(first, 0.5), _power(first, -0.5)
        return (inverse @ _power(root @ second @ root, 0.5) @ inverse).float()


def _shrunk(gaussian: Gaussian, ridge: float) -> torch.Tensor:
    diagonal = torch.diag_embed(gaussian.covariance.diagonal(dim1=1, dim2=2))
    return ((1 - ridge) * gaussian.covariance + ridge * diagonal).double()


def _power(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    result: torch.Tensor = (vectors * values.clamp(min=1e-12)[:, None] ** exponent) @ vectors.mT
    return result


def _multiply(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    with torch.autocast(first.device.type, enabled=False):
        return first @ second.mT


def normalize(x: torch.Tensor, moments: Moments) -> torch.Tensor:
    """Return features with their style removed: zero mean, unit deviation by the moments given.

    Parameters
    ----------
    x : (patches, channels, height, width) tensor
    moments : Moments
        Of each image that the patches belong to.
    """
    mean, std = moments.for_patches(len(x))
    return torch.addcmul((-mean / std).to(x.dtype), x, (1 / std).to(x.dtype))


def restyle(content: torch.Tensor, moments: Moments) -> torch.Tensor:
    """Return normalised features in a style: the second half of AdaIN (the paper's Eq. 4).

    Parameters
    ----------
    content : (patches, channels, height, width) tensor
        Normalised features.
    moments : Moments
        Of the style of each image that the patches belong to.
    """
    mean, std = moments.for_patches(len(content))
    return torch.addcmul(mean.to(content.dtype), content, std.to(content.dtype))


def at_stride(weight: torch.Tensor | None, stride: int) -> torch.Tensor | None:
    """Return the weight of cells of `stride` pixels: 1 where each pixel is valid, else 0.

    If no cell of any patch is wholly valid (a narrow strip, a mask full of holes), the weight is
    the fraction of valid pixels.

    Parameters
    ----------
    weight : (patches, 1, height, width) float tensor or None
    stride : int
        Side of a cell in pixels.
    """
    if weight is None or stride == 1:
        return weight
    fraction = functional.avg_pool2d(weight, stride)
    whole = (fraction == 1).to(weight.dtype)
    return torch.where(whole.sum() > 0, whole, fraction)

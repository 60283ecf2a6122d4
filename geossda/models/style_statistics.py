"""Content and style: what is left after normalising, and what normalising removed.

The style of an image at one level of a network is the mean and the standard deviation of every
channel (Huang and Belongie 2017, AdaIN). Here they may be pooled over several patches of one image,
weighed by validity, or given from outside, so that a large raster is normalised by one set of
numbers whatever the tiles it is cut into.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional


class Moments(NamedTuple):
    """The style of one level, one row an image.

    Attributes
    ----------
    mean, std : (images, channels) float32 tensors
    """

    mean: torch.Tensor
    std: torch.Tensor

    def for_patches(self, patches: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Give mean and std as (patches, channels, 1, 1), each image's row for all its patches."""
        share = patches // len(self.mean)
        mean, std = self.mean, self.std
        if share > 1:
            mean, std = mean.repeat_interleave(share, 0), std.repeat_interleave(share, 0)
        return mean[:, :, None, None], std[:, :, None, None]


# One entry a level of a network, from the shallowest to the deepest features.
Levels = tuple[Moments, ...]


class Gaussian(NamedTuple):
    """The style of the pixels themselves: how bright, how contrasty, how bands go together.

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
    """All that makes up the style of images: of their pixels, and of each level's features.

    Attributes
    ----------
    pixels : Gaussian
    groups : tuple of Levels
        One entry a group of bands.
    """

    pixels: Gaussian
    groups: tuple[Levels, ...]

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "StyleStatistics":
        """Change every tensor."""
        return StyleStatistics(
            Gaussian(*map(change, self.pixels)),
            tuple(tuple(Moments(*map(change, m)) for m in levels) for levels in self.groups),
        )


def merged(looks: Sequence[StyleStatistics]) -> StyleStatistics:
    """Pool looks of single images as if their pixels had been measured together, all alike."""
    first = looks[0]
    pixels = [look.pixels for look in looks]
    mean, offset = _centred([gaussian.mean for gaussian in pixels])
    spread = torch.stack([gaussian.covariance for gaussian in pixels])
    covariance = (spread + offset[..., :, None] * offset[..., None, :]).mean(0)
    return StyleStatistics(
        Gaussian(mean, covariance),
        tuple(
            tuple(
                _merged_moments([look.groups[group][level] for look in looks])
                for level in range(len(levels))
            )
            for group, levels in enumerate(first.groups)
        ),
    )


def _merged_moments(parts: Sequence[Moments]) -> Moments:
    mean, offset = _centred([moments.mean for moments in parts])
    variance = torch.stack([moments.std**2 for moments in parts]) + offset**2
    return Moments(mean, variance.mean(0).sqrt())


def _centred(means: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    stacked = torch.stack(list(means))
    mean = stacked.mean(0)
    return mean, stacked - mean


def measure(
    x: torch.Tensor, images: int, weight: torch.Tensor | None = None, eps: float = 1e-5
) -> Moments:
    """Measure the moments of each image's patches together.

    Parameters
    ----------
    x : (patches, channels, height, width) tensor
        The patches of one image follow each other.
    images : int
        Number of images the patches belong to.
    weight : (patches, 1, height, width) tensor, optional
        0 leaves a pixel out.
    eps : float
        Added to the variance.
    """
    x = x.float()
    patches, channels = x.shape[:2]
    if weight is None:
        # Patches first: two short reductions are faster than one over strided dimensions.
        variance, mean = torch.var_mean(x, (2, 3), correction=0)
        count = mean.new_ones((patches, 1))
    else:
        total = weight.sum((2, 3))
        count = total
        mean = (x * weight).sum((2, 3)) / total.clamp(min=1e-6)
        spread = (x - mean[:, :, None, None]) ** 2
        variance = (spread * weight).sum((2, 3)) / total.clamp(min=1e-6)
    if patches > images:
        share = count.reshape(images, -1, 1)
        share = share / share.sum(1, keepdim=True).clamp(min=1e-6)
        each = mean.reshape(images, -1, channels)
        mean = (each * share).sum(1)
        within = variance.reshape(images, -1, channels)
        variance = ((within + (each - mean[:, None]) ** 2) * share).sum(1)
    return Moments(mean, torch.sqrt(variance + eps))


def measure_gaussian(
    x: torch.Tensor, images: int, weight: torch.Tensor | None = None, eps: float = 1e-6
) -> Gaussian:
    """Measure mean and covariance of each image's patches together; see :func:`measure`."""
    bands = x.shape[1]
    pixels = pooled(x.float(), images)
    if weight is None:
        mean = pixels.mean(2)
        centred = pixels - mean[:, :, None]
        covariance = _multiply(centred, centred) / pixels.shape[2]
    else:
        share = pooled(weight.float(), images)
        total = share.sum(2).clamp(min=1e-6)
        mean = (pixels * share).sum(2) / total
        centred = pixels - mean[:, :, None]
        covariance = _multiply(centred * share, centred) / total[:, :, None]
    return Gaussian(mean, covariance + eps * torch.eye(bands, device=x.device))


def pooled(x: torch.Tensor, images: int) -> torch.Tensor:
    """Give (images, channels, pixels) of patches (patches, channels, height, width)."""
    patches, channels = x.shape[:2]
    return x.reshape(images, patches // images, channels, -1).transpose(1, 2).flatten(2)


def transport(own: Gaussian, other: Gaussian, ridge: float = 0.2) -> torch.Tensor:
    """Give the linear map that takes one Gaussian to another and moves pixels least.

    The Monge map between Gaussians (Pitié and Kokaram 2007, MKL). Bands that go together closely
    leave directions of next to no variance, which an exact map would blow up with all their noise;
    so correlations are shrunk first.

    Parameters
    ----------
    own, other : Gaussian
    ridge : float
        0 takes correlations as they are, 1 passes them over: then bands are scaled one by one.

    Returns
    -------
    (images, bands, bands) float32 tensor
        Symmetric. No gradient flows through it: that of an eigenbasis is ill-conditioned.
    """
    with torch.no_grad():
        first, second = (_shrunk(gaussian, ridge) for gaussian in (own, other))
        if not (first.isfinite().all() and second.isfinite().all()):
            # Training has run away; its loss says so, where a failed decomposition would not.
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
    """Take the style off: zero mean and unit deviation a channel, in the moments' sense."""
    mean, std = moments.for_patches(len(x))
    return torch.addcmul((-mean / std).to(x.dtype), x, (1 / std).to(x.dtype))


def restyle(content: torch.Tensor, moments: Moments) -> torch.Tensor:
    """Put a style on normalised features: the second half of AdaIN (the paper's Eq. 4)."""
    mean, std = moments.for_patches(len(content))
    return torch.addcmul(mean.to(content.dtype), content, std.to(content.dtype))


def at_stride(weight: torch.Tensor | None, stride: int) -> torch.Tensor | None:
    """Give the weight of cells of `stride` pixels: 1 where every pixel is valid, else 0.

    Where no cell of any patch is wholly valid (a narrow strip, a mask full of holes), each counts
    by its share of valid pixels.
    """
    if weight is None or stride == 1:
        return weight
    share = functional.avg_pool2d(weight, stride)
    whole = (share == 1).to(weight.dtype)
    return whole if whole.any() else share

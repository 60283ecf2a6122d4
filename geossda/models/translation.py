"""Image-to-image translation between declared domains: the methods SS(DA)² is compared with.

Each is written from its paper, in the smallest form for patches of a few bands. All normalise
features by the instance, which for a raster that is read window by window is the whole raster:
statistics are measured once and then given, as those of the other presets are.
"""

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from geossda.models.style_statistics import Levels, Moments, at_stride, measure_moments, normalize


class InstanceNorm:
    """Instance normalisation in one pass through a network, by measured or by given statistics.

    Parameters
    ----------
    images : int
        Number of images that the patches belong to, in order.
    valid : (patches, 1, height, width) float tensor, optional
        0 leaves a pixel out of the statistics.
    given : Levels, optional
        Statistics of each normalisation in turn, instead of measured ones.

    Attributes
    ----------
    used : list of Moments
        The statistics of the normalisations so far.
    """

    def __init__(
        self, images: int, valid: torch.Tensor | None = None, given: Levels | None = None
    ) -> None:
        self.images, self.valid, self.given = images, valid, given
        self.used: list[Moments] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return normalised features, and note their statistics."""
        if self.given is not None:
            moments = self.given[len(self.used)]
        else:
            weight = self.valid
            if weight is not None:
                weight = at_stride(weight, weight.shape[2] // x.shape[2])
            moments = measure_moments(x, self.images, weight)
        self.used.append(moments)
        return normalize(x, moments)


class Translator(nn.Module, ABC):
    """Base class of networks that translate images to declared domains.

    Attributes
    ----------
    bands, domains : int
        Bands that the network takes at a time, and number of domains.
    code_size : int
        Numbers that describe a target: one per domain, and what a network adds to them.
    stride : int
        Sides of images must be multiples of it.
    halo : int
        Pixels around a window that its own pixels depend on, once statistics are given.
    level_channels : list of int
        Channels of each normalisation, in order.
    """

    bands: int
    domains: int
    code_size: int
    stride: int
    halo: int
    level_channels: list[int]

    @abstractmethod
    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images translated to a target.

        Parameters
        ----------
        image : (patches, bands, height, width) float tensor, 0..1
        code : (1 or patches, code_size) float tensor
            The target of each patch, or of all.
        norm : InstanceNorm
        """

    def reference_code(
        self, patches: torch.Tensor, valid: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Return the code of a target that a reference shows, (1, code_size).

        Parameters
        ----------
        patches : (patches, bands, height, width) float tensor, 0..1
            Of the reference.
        valid : (patches, 1, height, width) float tensor
        code : (1, domains) float tensor
            1 at the reference's domain.
        """
        return code

    def measure_channels(self) -> list[int]:
        """Return the channels of each normalisation, by a pass through the network."""
        with torch.no_grad():
            norm = InstanceNorm(1)
            side = 4 * self.stride
            self(torch.zeros(1, self.bands, side, side), torch.eye(self.code_size)[:1], norm)
        return [moments.mean.shape[1] for moments in norm.used]

    def translate(self, image: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Return patches translated, each by its own statistics, as in training.

        Parameters
        ----------
        image : (patches, bands, height, width) float tensor, 0..1
        code : (1 or patches, code_size) float tensor
        """
        translated: torch.Tensor = self(image, code, InstanceNorm(len(image)))
        return translated


def one_hot(domains: torch.Tensor, count: int) -> torch.Tensor:
    """Return codes of domains, (images, count).

    Parameters
    ----------
    domains : (images,) int tensor
        Of each image.
    count : int
    """
    return functional.one_hot(domains, count).float()

"""The interface of SS(DA)²'s generators: an encoder, AdaIN and a decoder.

The encoder separates an image into content and style (the statistics that normalisation removed);
the decoder combines any content with any style. Networks have a fixed number of input bands; images
with more bands go through in groups.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn

from geossda.models.band_groups import groups
from geossda.models.style_statistics import (
    Gaussian,
    Levels,
    StyleStatistics,
    measure_gaussian,
    normalize,
)

Features = tuple[torch.Tensor, ...]


class Content(NamedTuple):
    """What remains of images when their style is removed.

    Attributes
    ----------
    pixels : (patches, bands, height, width) float32 tensor
        The images, each band of zero mean and unit standard deviation.
    groups : tuple of Features
        Normalised features of each group of bands.
    """

    pixels: torch.Tensor
    groups: tuple[Features, ...]


class Generator(nn.Module, ABC):
    """Base class of the presets' generators.

    Attributes
    ----------
    bands : int
        Bands that the network takes at a time.
    stride : int
        Sides of images must be multiples of it.
    halo : int
        Pixels around a window that its own pixels depend on, once styles are given.
    level_channels : list of int
        Channels of each level that moments are measured of.
    """

    bands: int
    level_channels: list[int]
    stride: int
    halo: int

    def encode(
        self,
        image: torch.Tensor,
        *,
        images: int | None = None,
        valid: torch.Tensor | None = None,
        pixels: Gaussian | None = None,
        style: StyleStatistics | None = None,
    ) -> tuple[Content, StyleStatistics]:
        """Separate images into content and style.

        Parameters
        ----------
        image : (patches, bands, height, width) float32 tensor
        images : int, optional
            Number of images that the patches belong to, in order; by default each is its own.
        valid : (patches, 1, height, width) float tensor of 0 and 1, optional
            Invalid pixels enter no statistic.
        pixels : Gaussian, optional
            Mean and covariance of the images' pixels, if known better than from these patches.
        style : StyleStatistics, optional
            Statistics to remove; nothing is measured.

        Returns
        -------
        content : Content
        style : StyleStatistics
            The statistics that were removed.
        """
        images = len(image) if images is None else images
        if style is not None:
            pixels = style.pixels
        elif pixels is None:
            pixels = measure_gaussian(image, images, valid)
        normal = normalize(image.float(), pixels.moments)
        if valid is not None:  # nodata takes the mean
            normal, image = normal * valid, image * valid
        encoded = [
            self.features(
                normal[:, group.bands],
                image[:, group.bands],
                images,
                valid,
                None if style is None else style.groups[index],
            )
            for index, group in enumerate(groups(image.shape[1], self.bands))
        ]
        content = Content(normal, tuple(features for features, _ in encoded))
        return content, StyleStatistics(pixels, tuple(levels for _, levels in encoded))

    @abstractmethod
    def features(
        self,
        normal: torch.Tensor,
        image: torch.Tensor,
        images: int,
        valid: torch.Tensor | None,
        levels: Levels | None,
    ) -> tuple[Features, Levels]:
        """Return normalised features of a group of bands, and the moments that were removed.

        Parameters
        ----------
        normal, image : (patches, bands, height, width) float tensors
            The group's bands, normalised and as they are.
        images : int
            Number of images that the patches belong to.
        valid : (patches, 1, height, width) float tensor, optional
        levels : Levels, optional
            Moments to remove instead of the measured ones.
        """

    @abstractmethod
    def decode(
        self, content: Content, own: StyleStatistics, other: StyleStatistics
    ) -> torch.Tensor:
        """Return (patches, bands, height, width) images of a content in a style, not clipped.

        Parameters
        ----------
        content : Content
        own : StyleStatistics
            The style that was removed from the content.
        other : StyleStatistics
            The style to apply; `own` itself reconstructs the images.
        """

    @abstractmethod
    def change(self, features: Features, own: Levels, other: Levels) -> torch.Tensor:
        """Return what a style makes of one group of bands, (patches, bands, height, width).

        Images themselves with preset ``paper``, else what is added to normalised images.

        Parameters
        ----------
        features : Features
            As :meth:`features` returns them.
        own, other : Levels
            Moments of the style that was removed and of the style to apply.
        """

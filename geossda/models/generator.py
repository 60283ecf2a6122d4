"""What the generators of SS(DA)² share: an encoder, AdaIN and a decoder behind one interface.

They take an image apart into content and look (the statistics that normalising removed), and put
any content and any look together again. Networks have a fixed number of input bands; images with
more go through a few bands at a time.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn

from geossda.errors import ModelError
from geossda.models.style_statistics import (
    Gaussian,
    Levels,
    StyleStatistics,
    measure_gaussian,
    normalize,
)

Features = tuple[torch.Tensor, ...]


class Group(NamedTuple):
    """Bands that go through a network together.

    Attributes
    ----------
    bands : list of int
        0-based.
    fresh : list of int
        Which of them the result is taken of; the rest came out of an earlier group.
    """

    bands: list[int]
    fresh: list[int]

    @property
    def places(self) -> list[int]:
        """Where the fresh bands stand in the group."""
        return [self.bands.index(band) for band in self.fresh]


def groups(count: int, at_a_time: int) -> list[Group]:
    """Cover `count` bands by groups in their order; the last one is filled up from before.

    Raises
    ------
    ModelError
        Fewer bands than the network takes.
    """
    if count < at_a_time:
        raise ModelError(f"the network takes {at_a_time} bands at a time, the image has {count}")
    made = []
    for start in range(0, count, at_a_time):
        first = min(start, count - at_a_time)
        bands = list(range(first, first + at_a_time))
        made.append(Group(bands, [band for band in bands if band >= start]))
    return made


class Content(NamedTuple):
    """What is left of images once their look is taken off.

    Attributes
    ----------
    pixels : (patches, bands, height, width) float32 tensor
        The images, each band of zero mean and unit deviation.
    groups : tuple of Features
        Normalised features, one entry a group of bands.
    """

    pixels: torch.Tensor
    groups: tuple[Features, ...]


class Generator(nn.Module, ABC):
    """What the presets share.

    Attributes
    ----------
    bands : int
        That the network takes at a time.
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
        look: StyleStatistics | None = None,
    ) -> tuple[Content, StyleStatistics]:
        """Take images apart.

        Parameters
        ----------
        image : (patches, bands, height, width) float32 tensor
        images : int, optional
            How many images the patches belong to, one after another; each its own by default.
        valid : (patches, 1, height, width) float tensor of 0 and 1, optional
            What is not valid is in no statistic.
        pixels : Gaussian, optional
            The look of the pixels, where it is known better than from these patches.
        look : StyleStatistics, optional
            Used instead of measuring anything.
        """
        images = len(image) if images is None else images
        if look is not None:
            pixels = look.pixels
        elif pixels is None:
            pixels = measure_gaussian(image, images, valid)
        normal = normalize(image.float(), pixels.moments)
        if valid is not None:  # nodata is as if it had the mean
            normal, image = normal * valid, image * valid
        found = [
            self.features(
                normal[:, group.bands],
                image[:, group.bands],
                images,
                valid,
                None if look is None else look.groups[index],
            )
            for index, group in enumerate(groups(image.shape[1], self.bands))
        ]
        content = Content(normal, tuple(features for features, _ in found))
        return content, StyleStatistics(pixels, tuple(levels for _, levels in found))

    @abstractmethod
    def features(
        self,
        normal: torch.Tensor,
        image: torch.Tensor,
        images: int,
        valid: torch.Tensor | None,
        levels: Levels | None,
    ) -> tuple[Features, Levels]:
        """Give the normalised features of a group of bands, and the moments taken off."""

    @abstractmethod
    def decode(
        self, content: Content, own: StyleStatistics, other: StyleStatistics
    ) -> torch.Tensor:
        """Put together (patches, bands, height, width) images; values may leave 0..1.

        Parameters
        ----------
        content, own : Content, Look
            As they were taken apart.
        other : StyleStatistics
            What to put on; `own` itself reconstructs.
        """

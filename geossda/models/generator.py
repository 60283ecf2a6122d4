"""The generators of SS(DA)²: an encoder, AdaIN and a decoder, as two presets behind one interface.

Both take an image apart into content and look (the statistics that normalising removed), and put
any content and any look together again. Networks have a fixed number of input bands; images with
more go through a few bands at a time.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from geossda.errors import ModelError
from geossda.models.moments import (
    Gaussian,
    Levels,
    Look,
    Moments,
    at_stride,
    measure,
    measure_gaussian,
    normalize,
    restyle,
    transport,
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
        Pixels around a window that its own pixels depend on, once looks are given.
    """

    bands: int
    stride: int
    halo: int

    def encode(
        self,
        image: torch.Tensor,
        *,
        images: int | None = None,
        valid: torch.Tensor | None = None,
        pixels: Gaussian | None = None,
        look: Look | None = None,
    ) -> tuple[Content, Look]:
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
        look : Look, optional
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
        return content, Look(pixels, tuple(levels for _, levels in found))

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
    def decode(self, content: Content, own: Look, other: Look) -> torch.Tensor:
        """Put together (patches, bands, height, width) images; values may leave 0..1.

        Parameters
        ----------
        content, own : Content, Look
            As they were taken apart.
        other : Look
            What to put on; `own` itself reconstructs.
        """


class SpectralGenerator(Generator):
    """Preset ``geossda``: the style is taken off and put back at every level, the image included.

    The image itself is the first level: its look is a Gaussian of all bands together, and goes to
    the other's by the map that moves pixels least. The network's levels carry what a Gaussian
    cannot say: how bright and dark parts, smooth and rough ones differ. It reads them with a look
    put on; what the image gains is what it says under the other look less what it says under its
    own. So putting back what was taken off gives the image back, by construction, and before
    training translating is matching Gaussians.

    Parameters
    ----------
    bands : int
    widths : sequence of int
        Channels of the levels; the first has the image's resolution, each further one half.
    adain : {"all", "deepest"}
        Where the other image's style is put on. ``deepest`` is the authors' released reading: all
        levels above, the image included, keep the content's own.
    """

    def __init__(
        self, bands: int, widths: Sequence[int] = (16, 32, 48, 64), adain: str = "all"
    ) -> None:
        super().__init__()
        self.bands, self.adain = bands, adain
        self.stride = 2 ** (len(widths) - 1)
        # What the convolutions and enlargements reach together; tests/test_style_model.py
        # measures it.
        self.halo = 5 * self.stride
        self.down = nn.ModuleList([nn.Conv2d(bands, widths[0], 3, padding=1)])
        for shallow, deep in pairwise(widths):
            self.down.append(nn.Conv2d(shallow, deep, 4, stride=2, padding=1))
        # Convolving before enlarging, and adding where others concatenate, halves the work.
        self.skip = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths[:-1])
        self.up = nn.ModuleList(
            nn.Conv2d(deep, shallow, 3, padding=1, bias=False) for shallow, deep in pairwise(widths)
        )
        self.head = nn.Conv2d(2 * widths[0], bands, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def features(
        self,
        normal: torch.Tensor,
        image: torch.Tensor,
        images: int,
        valid: torch.Tensor | None,
        levels: Levels | None,
    ) -> tuple[Features, Levels]:
        """Give the normalised features of a group of bands, and the moments taken off."""
        features, found = [], []
        x = normal
        for level, convolve in enumerate(self.down):
            # Measured after the activation, moments tell how often a feature is there, which
            # the mean of a convolution of a normalised image cannot.
            x = functional.relu(convolve(x))
            if levels is None:
                found.append(measure(x, images, at_stride(valid, 2**level)))
            x = normalize(x, found[level] if levels is None else levels[level])
            features.append(x)
        return tuple(features), tuple(found) if levels is None else levels

    def decode(self, content: Content, own: Look, other: Look) -> torch.Tensor:
        """Put images together; see :meth:`Generator.decode`."""
        if other is own:
            return restyle(content.pixels, own.pixels.moments)
        patches = len(content.pixels)
        gain = torch.zeros_like(content.pixels)
        for index, group in enumerate(groups(content.pixels.shape[1], self.bands)):
            levels, mine = other.groups[index], own.groups[index]
            if self.adain == "deepest":
                deepest = Moments(*(m[:, :, 0, 0] for m in levels[-1].for_patches(patches)))
                levels = (*mine[:-1], deepest)
            features = content.groups[index]
            said = self._say(features, levels) - self._say(features, mine)
            gain[:, group.fresh] = said[:, group.places].float()
        if self.adain == "deepest":
            return restyle(content.pixels + gain, own.pixels.moments)
        return self._recolored(content.pixels, gain, own.pixels, other.pixels)

    def _recolored(
        self, normal: torch.Tensor, gain: torch.Tensor, own: Gaussian, other: Gaussian
    ) -> torch.Tensor:
        """Give normalised images the other's Gaussian, and gains in its contrast."""
        matrix = transport(own, other) * own.moments.std[:, None, :]
        share = len(normal) // len(matrix)
        matrix = matrix.repeat_interleave(share, 0)
        with torch.autocast(normal.device.type, enabled=False):
            mapped = torch.einsum("nij,njhw->nihw", matrix, normal)
        return mapped + restyle(gain, other.moments)

    def _say(self, features: Features, levels: Levels) -> torch.Tensor:
        styled = [restyle(x, m) for x, m in zip(features, levels, strict=True)]
        x = styled[-1]
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(
                self.up[level](x), scale_factor=2, mode="bilinear", align_corners=False
            )
            x = functional.relu(self.skip[level](styled[level]) + x)
        # The first level's features also go straight to the head: the shortest way there is
        # learned first.
        said: torch.Tensor = self.head(torch.cat([x, styled[0]], 1))
        return said


class PaperGenerator(Generator):
    """Preset ``paper``: the text of the paper, word by word (Section IV-B).

    Four blocks of convolution, instance normalization, max pooling and ReLU; AdaIN on the deepest
    features; a U-Net decoder whose skips carry the content's own features. What the text leaves
    open was chosen as plainly as possible: 3x3 kernels, nearest upsampling, no norm in the decoder,
    whose channels are half of the skip's.

    Instance normalization removes absolute colour in the first block and nothing puts it back:
    this preset cannot even reconstruct its input. It is here to be compared with. Its look has
    five levels: the moments each block's norm removed, which only a window of a large raster
    needs, and those of the deepest features, which are the style.
    """

    def __init__(self, bands: int, widths: Sequence[int] = (256, 128, 64, 32)) -> None:
        super().__init__()
        self.bands = bands
        self.stride = 2 ** len(widths)
        self.halo = 5 * self.stride
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip((bands, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList()
        below = widths[-1]
        for skip in reversed(widths[:-1]):
            self.up.append(nn.Conv2d(below + skip, skip // 2, 3, padding=1))
            below = skip // 2
        self.head = nn.Conv2d(below, bands, 3, padding=1)

    def features(
        self,
        normal: torch.Tensor,
        image: torch.Tensor,
        images: int,
        valid: torch.Tensor | None,
        levels: Levels | None,
    ) -> tuple[Features, Levels]:
        """Give the features of a group of bands, the deepest normalised, and the moments."""
        features, found = [], []
        x = image
        for level, convolve in enumerate(self.down):
            x = convolve(x)
            if levels is None:
                found.append(measure(x, images, at_stride(valid, 2**level)))
            x = normalize(x, found[level] if levels is None else levels[level])
            x = functional.relu(functional.max_pool2d(x, 2))
            features.append(x)
        if levels is None:
            found.append(measure(x, images, at_stride(valid, self.stride)))
        features[-1] = normalize(x, found[-1] if levels is None else levels[-1])
        return tuple(features), tuple(found) if levels is None else levels

    def decode(self, content: Content, own: Look, other: Look) -> torch.Tensor:
        """Put images together; see :meth:`Generator.decode`."""
        result = torch.empty_like(content.pixels)
        for index, group in enumerate(groups(content.pixels.shape[1], self.bands)):
            *skips, deepest = content.groups[index]
            x = restyle(deepest, other.groups[index][-1])
            for skip, convolve in zip(reversed(skips), self.up, strict=True):
                x = functional.interpolate(x, scale_factor=2)
                x = functional.relu(convolve(torch.cat([x, skip], 1)))
            x = self.head(functional.interpolate(x, scale_factor=2))
            result[:, group.fresh] = x[:, group.places].float()
        return result


def build(preset: str, bands: int, adain: str = "all") -> Generator:
    """Build the generator of a preset.

    Parameters
    ----------
    preset : {"geossda", "paper"}
    bands : int
    adain : {"all", "deepest"}
        See :class:`SpectralGenerator`; ``paper`` knows the deepest level only.
    """
    if preset == "paper":
        return PaperGenerator(bands)
    return SpectralGenerator(bands, adain=adain)

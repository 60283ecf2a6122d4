"""Preset ``geossda``: the style is taken off and put back at every level."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from geossda.models.generator import Content, Features, Generator, groups
from geossda.models.style_statistics import (
    Gaussian,
    Levels,
    Moments,
    StyleStatistics,
    at_stride,
    measure,
    normalize,
    restyle,
    transport,
)


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
        self.bands, self.adain, self.level_channels = bands, adain, list(widths)
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
            x = functional.relu(convolve(x), inplace=True)
            if levels is None:
                found.append(measure(x, images, at_stride(valid, 2**level)))
            x = normalize(x, found[level] if levels is None else levels[level])
            features.append(x)
        return tuple(features), tuple(found) if levels is None else levels

    def decode(
        self, content: Content, own: StyleStatistics, other: StyleStatistics
    ) -> torch.Tensor:
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
            x = functional.relu(x + self.skip[level](styled[level]), inplace=True)
        # The first level's features also go straight to the head: the shortest way there is
        # learned first.
        deep, short = self.head.weight.chunk(2, 1)
        return functional.conv2d(x, deep) + functional.conv2d(styled[0], short)

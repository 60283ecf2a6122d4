"""Preset ``geossda``: AdaIN at every level, the image included."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from geossda.models.band_groups import groups
from geossda.models.generator import Content, Features, Generator
from geossda.models.style_statistics import (
    Gaussian,
    Levels,
    StyleStatistics,
    at_stride,
    measure_moments,
    normalize,
    restyle,
    transport,
)


class SpectralGenerator(Generator):
    """Preset ``geossda``: AdaIN at every level, the image included.

    The image itself is the first level: its style is a Gaussian of all bands together, which is
    mapped to the other's by optimal transport. The network's levels carry what a Gaussian cannot
    describe: how bright and dark, smooth and rough parts differ. The decoder is run on the features
    in the other style and in the own one, and the image gains the difference. So the own style
    reconstructs the image by construction, and an untrained network matches Gaussians.

    Parameters
    ----------
    bands : int
    widths : sequence of int
        Channels of the levels; the first has the image's resolution, each further one half.
    adain : {"all", "deepest"}
        Levels that the other style is applied at. ``deepest`` is what the authors' release does:
        all other levels, the image included, keep the content's own style.
    """

    def __init__(
        self, bands: int, widths: Sequence[int] = (16, 32, 48, 64), adain: str = "all"
    ) -> None:
        super().__init__()
        self.bands, self.adain, self.level_channels = bands, adain, list(widths)
        self.stride = 2 ** (len(widths) - 1)
        # Reach of all convolutions and upsamplings; tests/models/test_style_model.py measures it.
        self.halo = 5 * self.stride
        self.down = nn.ModuleList([nn.Conv2d(bands, widths[0], 3, padding=1)])
        for shallow, deep in pairwise(widths):
            self.down.append(nn.Conv2d(shallow, deep, 4, stride=2, padding=1))
        # Convolution before upsampling, and addition instead of concatenation, halve the work.
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
        """Return normalised features and their moments.

        Parameters
        ----------
        normal, image, images, valid, levels
            As in :meth:`Generator.features`.
        """
        features, measured = [], []
        x = normal
        for level, convolve in enumerate(self.down):
            # Measured after the activation, moments depend on how frequent a feature is, unlike the
            # mean of a convolution of a normalised image.
            x = functional.relu(convolve(x), inplace=True)
            if levels is None:
                measured.append(measure_moments(x, images, at_stride(valid, 2**level)))
            x = normalize(x, measured[level] if levels is None else levels[level])
            features.append(x)
        return tuple(features), tuple(measured) if levels is None else levels

    def decode(
        self, content: Content, own: StyleStatistics, other: StyleStatistics
    ) -> torch.Tensor:
        """Return images of a content in a style.

        Parameters
        ----------
        content, own, other
            As in :meth:`Generator.decode`.
        """
        if other is own:
            return restyle(content.pixels, own.pixels.moments)
        gain = torch.zeros_like(content.pixels)
        for index, group in enumerate(groups(content.pixels.shape[1], self.bands)):
            change = self.change(content.groups[index], own.groups[index], other.groups[index])
            gain[:, group.fresh] = change[:, group.fresh_indices].float()
        if self.adain == "deepest":
            return restyle(content.pixels + gain, own.pixels.moments)
        return self._recolored(content.pixels, gain, own.pixels, other.pixels)

    def change(self, features: Features, own: Levels, other: Levels) -> torch.Tensor:
        """Return what the other style's levels add to normalised images of a group of bands.

        Parameters
        ----------
        features, own, other
            As in :meth:`Generator.change`.
        """
        if self.adain == "deepest":
            other = (*own[:-1], other[-1])
        return self._decode_features(features, other) - self._decode_features(features, own)

    def _recolored(
        self, normal: torch.Tensor, gain: torch.Tensor, own: Gaussian, other: Gaussian
    ) -> torch.Tensor:
        """Return normalised images with the other's Gaussian, plus gains in its contrast."""
        matrix = transport(own, other) * own.moments.std[:, None, :]
        matrix = matrix.repeat_interleave(len(normal) // len(matrix), 0)
        with torch.autocast(normal.device.type, enabled=False):
            mapped = torch.einsum("nij,njhw->nihw", matrix, normal)
        return mapped + restyle(gain, other.moments)

    def _decode_features(self, features: Features, levels: Levels) -> torch.Tensor:
        styled = [restyle(x, m) for x, m in zip(features, levels, strict=True)]
        x = styled[-1]
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(
                self.up[level](x), scale_factor=2, mode="bilinear", align_corners=False
            )
            x = functional.relu(x + self.skip[level](styled[level]), inplace=True)
        # The first level's features also go straight to the head: a short path is learned first.
        deep, short = self.head.weight.chunk(2, 1)
        return functional.conv2d(x, deep) + functional.conv2d(styled[0], short)

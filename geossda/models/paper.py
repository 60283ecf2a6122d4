"""Preset ``paper``: the networks as the paper describes them, for comparison."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from geossda.models.band_groups import groups
from geossda.models.generator import Content, Features, Generator
from geossda.models.style_statistics import (
    Levels,
    StyleStatistics,
    at_stride,
    measure_moments,
    normalize,
    restyle,
)


class PaperGenerator(Generator):
    """Preset ``paper``: the generator as the paper describes it (Section IV-B).

    Four blocks of convolution, instance normalization, max pooling and ReLU; AdaIN on the deepest
    features; a U-Net decoder whose skips carry the content's own features. What the paper leaves
    open is the simplest choice: 3x3 kernels, nearest upsampling, no norm in the decoder, whose
    channels are half of the skip's.

    Instance normalization removes absolute colour in the first block and nothing restores it:
    this preset cannot even reconstruct its input. Its statistics have five levels: the moments that
    each block's norm removed, which only windows of a large raster need, and those of the deepest
    features, which are the style.
    """

    def __init__(self, bands: int, widths: Sequence[int] = (256, 128, 64, 32)) -> None:
        super().__init__()
        self.bands, self.level_channels = bands, [*widths, widths[-1]]
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
        """Return features, of which the deepest are normalised, and the moments.

        Parameters
        ----------
        normal, image, images, valid, levels
            As in :meth:`Generator.features`.
        """
        features, measured = [], []
        x = image
        for level, convolve in enumerate(self.down):
            x = convolve(x)
            if levels is None:
                measured.append(measure_moments(x, images, at_stride(valid, 2**level)))
            x = normalize(x, measured[level] if levels is None else levels[level])
            x = functional.relu(functional.max_pool2d(x, 2))
            features.append(x)
        if levels is None:
            measured.append(measure_moments(x, images, at_stride(valid, self.stride)))
        features[-1] = normalize(x, measured[-1] if levels is None else levels[-1])
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
        result = torch.empty_like(content.pixels)
        for index, group in enumerate(groups(content.pixels.shape[1], self.bands)):
            x = self.change(content.groups[index], own.groups[index], other.groups[index])
            result[:, group.fresh] = x[:, group.fresh_indices].float()
        return result

    def change(self, features: Features, own: Levels, other: Levels) -> torch.Tensor:
        """Return images of a group of bands in the other style.

        Parameters
        ----------
        features, own, other
            As in :meth:`Generator.change`.
        """
        *skips, deepest = features
        x = restyle(deepest, other[-1])
        for skip, convolve in zip(reversed(skips), self.up, strict=True):
            x = functional.interpolate(x, scale_factor=2)
            x = functional.relu(convolve(torch.cat([x, skip], 1)))
        return self.head(functional.interpolate(x, scale_factor=2))  # type: ignore[no-any-return]


class PaperDiscriminator(nn.Module):
    """Preset ``paper``: four blocks of convolution, instance norm, max pooling and ReLU."""

    def __init__(self, bands: int, widths: Sequence[int] = (256, 128, 64, 32)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip((bands, *widths[:-1]), widths, strict=True)
        )
        self.score = nn.Linear(widths[-1], 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and embeddings; see :class:`SpectralDiscriminator`."""
        x = image
        for block in self.blocks:
            x = functional.relu(functional.max_pool2d(functional.instance_norm(block(x)), 2))
        pooled = x.float().mean((2, 3))
        return self.score(pooled).float()[:, 0], functional.normalize(pooled)

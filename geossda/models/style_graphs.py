"""The two networks of a style model that run outside training: one measures, one applies.

What depends on the data only through statistics is left to arrays: the Gaussian of the pixels, the
transport, and bands that go through in groups. Between them is one group of bands and the moments
of all levels, packed into one vector.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from geossda.models.daug import DomainGenerator
from geossda.models.generator import Generator
from geossda.models.style_arrays import Floats, ImageStyle, LevelMoments, PixelGaussian
from geossda.models.style_statistics import Levels, Moments


class MeasureGraph(nn.Module):
    """Measure the moments of each level over all patches of one image.

    Parameters
    ----------
    generator : Generator
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.network = generator

    def forward(self, pixels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the packed moments, (1, values).

        Parameters
        ----------
        pixels : (patches, bands, height, width) tensor
            As the generator's first layer takes them, 0 where not valid.
        valid : (patches, 1, height, width) tensor
            0 leaves a pixel out.
        """
        _, levels = self.network.features(pixels, pixels, 1, valid, None)
        return torch.cat([part for moments in levels for part in moments], 1)


class ApplyGraph(nn.Module):
    """Compute what one style changes in images of another, once both are given.

    Parameters
    ----------
    generator : Generator
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.network = generator

    def forward(self, pixels: torch.Tensor, own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return (N, bands, height, width) as :meth:`Generator.change` does.

        Parameters
        ----------
        pixels : (N, bands, height, width) tensor
            As the generator's first layer takes them, 0 where not valid.
        own, other : (1, values) tensors
            Packed moments of the style of the images and of the style to apply.
        """
        channels = self.network.level_channels
        mine, theirs = (unpacked_levels(values, channels) for values in (own, other))
        features, _ = self.network.features(pixels, pixels, 1, None, mine)
        return self.network.change(features, mine, theirs)


class StyleGraphs(nn.Module):
    """Both in one, as they are exported: they share the weights.

    Parameters
    ----------
    generator : Generator
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.network = generator

    def forward(
        self,
        pixels: torch.Tensor,
        own: torch.Tensor,
        other: torch.Tensor,
        patches: torch.Tensor,
        valid: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the change of `pixels`, and the packed moments of `patches`.

        Parameters
        ----------
        pixels, own, other
            As :class:`ApplyGraph` takes them.
        patches, valid
            As :class:`MeasureGraph` takes them.
        """
        change = ApplyGraph(self.network)(pixels, own, other)
        return change, MeasureGraph(self.network)(patches, valid)


def unpacked_levels(values: torch.Tensor, channels: Sequence[int]) -> Levels:
    """Return moments that were packed into one vector.

    Parameters
    ----------
    values : (1, values) tensor
    channels : sequence of int
        Of each level.
    """
    parts = iter(torch.split(values, [count for each in channels for count in (each, each)], 1))
    return tuple(Moments(mean, std) for mean, std in zip(parts, parts, strict=True))


@torch.no_grad()
def domain_styles(generator: Generator, names: Sequence[str]) -> dict[str, ImageStyle]:
    """Return the learned styles of declared domains by name, none for other generators.

    Parameters
    ----------
    generator : Generator
    names : sequence of str
    """
    styles: dict[str, ImageStyle] = {}
    if not isinstance(generator, DomainGenerator):
        return styles
    for index, name in enumerate(names):
        device = generator.get_buffer("mean").device
        learned = generator.domain_style(torch.tensor([index], device=device))
        pixels, levels = learned.pixels, learned.groups[0]
        styles[name] = ImageStyle(
            PixelGaussian(_array(pixels.mean), _array(pixels.covariance)),
            (tuple(LevelMoments(_array(m.mean), _array(m.std)) for m in levels),),
        )
    return styles


def _array(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor[0].float().cpu().numpy())

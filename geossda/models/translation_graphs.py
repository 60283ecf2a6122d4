"""What runs of a translator outside training: one network measures, one applies, one encodes.

Between them are one group of bands, the statistics of all normalisations packed into one vector,
and the code of the target.
"""

import torch
from torch import nn

from geossda.models.style_graphs import unpacked_levels
from geossda.models.translation import InstanceNorm, Translator


class _OfTranslator(nn.Module):
    """Base class of what runs of a translator.

    Parameters
    ----------
    network : Translator
    """

    def __init__(self, network: Translator) -> None:
        super().__init__()
        self.network = network


class MeasureTranslation(_OfTranslator):
    """Measure the statistics of each normalisation over all patches of one image."""

    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Return the packed statistics on the way to a target, (1, values).

        Parameters
        ----------
        pixels : (patches, bands, height, width) tensor, 0..1
        valid : (patches, 1, height, width) tensor
            0 leaves a pixel out.
        code : (1, code_size) tensor
        """
        norm = InstanceNorm(1, valid)
        self.network(pixels, code, norm)
        return torch.cat([part for moments in norm.used for part in moments], 1)


class ApplyTranslation(_OfTranslator):
    """Translate windows of an image whose statistics are given."""

    def forward(self, pixels: torch.Tensor, own: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Return (N, bands, height, width) images, 0..1.

        Parameters
        ----------
        pixels : (N, bands, height, width) tensor, 0..1
        own : (1, values) tensor
            Packed statistics of the image, measured on the way to the same target.
        code : (1, code_size) tensor
        """
        given = unpacked_levels(own, self.network.level_channels)
        translated: torch.Tensor = self.network(pixels, code, InstanceNorm(1, None, given))
        return translated


class ReferenceCode(_OfTranslator):
    """Encode what a reference shows of its domain."""

    def forward(
        self, pixels: torch.Tensor, valid: torch.Tensor, code: torch.Tensor
    ) -> torch.Tensor:
        """Return the code of the target, (1, code_size).

        Parameters
        ----------
        pixels, valid, code
            As for :meth:`Translator.reference_code`.
        """
        return self.network.reference_code(pixels, valid, code)

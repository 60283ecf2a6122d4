"""The discriminator of SS(DA)²: whether an image is real, and an embedding of its style."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class SpectralDiscriminator(nn.Module):
    """Preset ``geossda``: strided convolutions with spectral norm, none that removes colour.

    Embedding and score are computed from the features' means and standard deviations over the
    image, which are its style.

    Parameters
    ----------
    bands : int
    widths : sequence of int
        Channels of the blocks, each of half the resolution of the one before.
    size : int
        Length of the embedding.
    """

    def __init__(
        self, bands: int, widths: Sequence[int] = (32, 64, 96, 128), size: int = 64
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1))
            for before, after in zip((bands, *widths[:-1]), widths, strict=True)
        )
        self.embed = nn.Linear(2 * widths[-1], size)
        self.score = nn.Linear(2 * widths[-1], 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores and style embeddings of images.

        Parameters
        ----------
        image : (N, bands, H, W) float tensor

        Returns
        -------
        score : (N,) float32 tensor
            0 for real, 1 for generated (Eq. 5).
        embedding : (N, size) float32 tensor
            S in Eq. 10 and 11, of unit length, so that products are cosines.
        """
        x = image * 2 - 1
        for block in self.blocks:
            x = functional.leaky_relu(block(x), 0.2)
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0)
        pooled = torch.cat([mean, torch.sqrt(variance + 1e-6)], 1)
        return self.score(pooled).float()[:, 0], functional.normalize(self.embed(pooled).float())

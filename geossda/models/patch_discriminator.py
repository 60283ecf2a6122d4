"""PatchGAN, the discriminator that translators share."""

import torch
from torch import nn
from torch.nn import functional


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): a score for each of overlapping patches of 70 px.

    Parameters
    ----------
    bands, width : int
        Bands of an image, channels of the first layer.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        widths = [bands, width, 2 * width, 4 * width, 8 * width, 1]
        strides = (2, 2, 2, 1, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, stride, padding=1)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        for layer in self.layers:
            nn.init.normal_(layer.weight, 0, 0.02)  # type: ignore[arg-type]

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """Return what the last layer takes.

        Parameters
        ----------
        image : (N, bands, height, width) float tensor, 0..1
        """
        x = 2 * image - 1
        for index, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            x = functional.leaky_relu(functional.instance_norm(x) if index else x, 0.2)
        return x

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return scores, (N, 1, rows, columns)."""
        scores: torch.Tensor = self.layers[-1](self.features(image))
        return scores

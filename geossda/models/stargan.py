"""StarGAN (Choi et al. 2018): one network, to which the target is a label."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from geossda.models.resnet import Resnet
from geossda.models.translation import InstanceNorm, Translator


class StarGan(Translator):
    """StarGAN (Choi et al. 2018, CVPR): one network, to which the target is a label.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains
        self.network = Resnet(bands, width, labels=domains)
        self.stride, self.halo = self.network.stride, self.network.halo
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images translated to the domains of their labels.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        translated: torch.Tensor = self.network(image, norm, label=code)
        return translated


class StarGanDiscriminator(nn.Module):
    """StarGAN's discriminator: scores of places, and of which domain an image is.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        widths = [bands, width, 2 * width, 4 * width, 8 * width]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, padding=1) for before, after in pairwise(widths)
        )
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.classify = nn.Linear(widths[-1], domains)

    def scores_and_logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores, (N, 1, rows, columns), and logits of the domains, (N, domains)."""
        x = 2 * image - 1
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.01)
        return self.score(x), self.classify(x.mean((2, 3)))

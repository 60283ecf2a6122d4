"""StandardGAN (Tasar et al. 2020): all domains to one standard."""

import torch
from torch import nn

from geossda.models.patch_discriminator import PatchDiscriminator
from geossda.models.resnet import BLOCKS, Affine, Resnet
from geossda.models.translation import InstanceNorm, Translator


class StandardGan(Translator):
    """StandardGAN (Tasar et al. 2020): one network, one set of AdaIN parameters per domain.

    The first half removes what is an image's own; the second half gives it a domain's, or the mean
    of all domains', which is the standard that all images are put to.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains
        self.network = Resnet(bands, width)
        self.stride, self.halo = self.network.stride, self.network.halo
        styled = 2 * (BLOCKS - BLOCKS // 2) * 4 * width + 2 * width + width
        self.styles = nn.Parameter(torch.zeros(domains, 2 * styled))
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images in mixtures of the domains' parameters.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        translated: torch.Tensor = self.network(image, norm, Affine(code @ self.styles))
        return translated


class MultitaskDiscriminator(PatchDiscriminator):
    """A PatchGAN that also says of which domain an image is.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__(bands, width)
        self.classify = nn.Linear(8 * width, domains)

    def scores_and_logits(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores, (N, 1, rows, columns), and logits of the domains, (N, domains)."""
        features = self.features(image)
        return self.layers[-1](features), self.classify(features.mean((2, 3)))

"""CycleGAN (Zhu et al. 2017): one network each way between two domains."""

from collections.abc import Sequence

import torch
from torch import nn

from geossda.models.patch_discriminator import PatchDiscriminator
from geossda.models.resnet import Resnet
from geossda.models.translation import InstanceNorm, Translator


class CycleGan(Translator):
    """CycleGAN's two generators, one to each of two domains (Zhu et al. 2017, ICCV).

    Parameters
    ----------
    bands : int
    domains : int
        Two: one pair of domains is one model.
    width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.bands, self.domains, self.code_size = bands, domains, domains
        networks = [Resnet(bands, width) for _ in range(domains)]
        self.to_domain = nn.ModuleList(networks)
        self.stride, self.halo = networks[0].stride, networks[0].halo
        self.level_channels = self.measure_channels()

    def forward(self, image: torch.Tensor, code: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
        """Return images translated to one domain, that of the first code.

        Parameters
        ----------
        image, code, norm
            As for :meth:`Translator.forward`.
        """
        translated: torch.Tensor = self.to_domain[int(code[0].argmax())](image, norm)
        return translated


class DomainDiscriminators(nn.Module):
    """One discriminator per domain.

    Parameters
    ----------
    bands, domains, width : int
    """

    def __init__(self, bands: int, domains: int, width: int) -> None:
        super().__init__()
        self.of_domain = nn.ModuleList(PatchDiscriminator(bands, width) for _ in range(domains))

    def forward(self, images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return the scores of images, a tensor of them for each domain."""
        return tuple(one(image) for one, image in zip(self.of_domain, images, strict=True))

"""DAug: the same generator with a learned style per declared domain instead of measured ones."""

from collections.abc import Sequence

import torch
from torch import nn

from geossda.models.multilevel_adain import SpectralGenerator
from geossda.models.style_statistics import Gaussian, Levels, Moments, StyleStatistics


class DomainGenerator(SpectralGenerator):
    """The generator of preset ``geossda`` with a trainable style vector per domain.

    After DAugNet (Tasar et al. 2020): the domain of each training image is declared, and images are
    translated from domain to domain. Means and standard deviations of all levels are learned; the
    Gaussian of the pixels, which no gradient passes through, is the mean over the images so far.

    Parameters
    ----------
    bands : int
    domains : int
        Number of domains.
    widths : sequence of int
        Channels of the levels.
    """

    def __init__(self, bands: int, domains: int, widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__(bands, widths)
        self.level_means = nn.ParameterList(torch.full((domains, w), 0.4) for w in widths)
        self.level_logs = nn.ParameterList(torch.full((domains, w), -0.5) for w in widths)
        self.register_buffer("seen", torch.zeros(domains))
        self.register_buffer("mean", torch.full((domains, bands), 0.5))
        self.register_buffer("square", torch.eye(bands).repeat(domains, 1, 1) * 0.05 + 0.25)

    def domain_style(self, domains: torch.Tensor) -> StyleStatistics:
        """Return the styles of domains, given as an (images,) tensor of their indices."""
        mean = self.get_buffer("mean")[domains]
        square = self.get_buffer("square")[domains]
        covariance = square - mean[:, :, None] * mean[:, None, :]
        covariance = covariance + 1e-6 * torch.eye(self.bands, device=mean.device)
        levels: Levels = tuple(
            Moments(means[domains], logs[domains].exp())
            for means, logs in zip(self.level_means, self.level_logs, strict=True)
        )
        return StyleStatistics(Gaussian(mean, covariance), (levels,))

    @torch.no_grad()
    def update_gaussians(self, pixels: Gaussian, domains: torch.Tensor) -> None:
        """Add images' Gaussians to the means of their domains.

        Parameters
        ----------
        pixels : Gaussian
        domains : (images,) int tensor
            Index of each image's domain.
        """
        seen, mean, square = (self.get_buffer(name) for name in ("seen", "mean", "square"))
        second = pixels.covariance + pixels.mean[:, :, None] * pixels.mean[:, None, :]
        for image, domain in enumerate(domains.tolist()):
            seen[domain] += 1
            mean[domain].lerp_(pixels.mean[image], 1 / float(seen[domain]))
            square[domain].lerp_(second[image], 1 / float(seen[domain]))

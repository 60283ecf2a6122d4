"""DAug: the same generator, with one learned style a declared domain instead of measured ones."""

from collections.abc import Sequence

import torch
from torch import nn

from geossda.models.multilevel_adain import SpectralGenerator
from geossda.models.style_statistics import Gaussian, Levels, Moments, StyleStatistics


class DomainGenerator(SpectralGenerator):
    """The generator of preset ``geossda`` with a trainable style vector a domain.

    After DAugNet (Tasar et al. 2020): whoever trains it says which image belongs to which domain,
    and images go from domain to domain. Means and deviations of all levels are learned; the
    Gaussian of the pixels, through which no gradient goes, is the mean over what was seen.

    Parameters
    ----------
    bands : int
    domains : int
    widths : sequence of int
    """

    def __init__(self, bands: int, domains: int, widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__(bands, widths)
        self.level_means = nn.ParameterList(torch.full((domains, w), 0.4) for w in widths)
        self.level_logs = nn.ParameterList(torch.full((domains, w), -0.5) for w in widths)
        self.register_buffer("seen", torch.zeros(domains))
        self.register_buffer("mean", torch.full((domains, bands), 0.5))
        self.register_buffer("square", torch.eye(bands).repeat(domains, 1, 1) * 0.05 + 0.25)

    def domain_look(self, domains: torch.Tensor) -> StyleStatistics:
        """Give the looks of domains, (images,) of their numbers."""
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
    def observe(self, pixels: Gaussian, domains: torch.Tensor) -> None:
        """Take images' Gaussians into the means of their domains."""
        seen, mean, square = (self.get_buffer(name) for name in ("seen", "mean", "square"))
        second = pixels.covariance + pixels.mean[:, :, None] * pixels.mean[:, None, :]
        for image, domain in enumerate(domains.tolist()):
            seen[domain] += 1
            mean[domain].lerp_(pixels.mean[image], 1 / float(seen[domain]))
            square[domain].lerp_(second[image], 1 / float(seen[domain]))

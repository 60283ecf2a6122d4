"""The networks of each preset."""

from torch import nn

from geossda.models.daug import DomainGenerator
from geossda.models.discriminator import SpectralDiscriminator
from geossda.models.generator import Generator
from geossda.models.multilevel_adain import SpectralGenerator
from geossda.models.paper import PaperDiscriminator, PaperGenerator


def build_generator(preset: str, bands: int, adain: str = "all", domains: int = 0) -> Generator:
    """Build the generator of a preset.

    Parameters
    ----------
    preset : {"geossda", "paper", "daug"}
    bands : int
        Bands that the network takes at a time.
    adain : {"all", "deepest"}
        See :class:`~geossda.models.multilevel_adain.SpectralGenerator`; ``paper`` is always
        ``deepest``.
    domains : int
        Number of domains, for ``daug``.
    """
    if preset == "daug":
        return DomainGenerator(bands, domains)
    if preset == "paper":
        return PaperGenerator(bands)
    return SpectralGenerator(bands, adain=adain)


def build_discriminator(preset: str, bands: int) -> nn.Module:
    """Build the discriminator of a preset.

    Parameters
    ----------
    preset : {"geossda", "paper", "daug"}
    bands : int
    """
    return PaperDiscriminator(bands) if preset == "paper" else SpectralDiscriminator(bands)

"""The networks of each preset."""

from collections.abc import Callable

from torch import nn

from geossda.models.cyclegan import CycleGan, DomainDiscriminators
from geossda.models.daug import DomainGenerator
from geossda.models.discriminator import SpectralDiscriminator
from geossda.models.generator import Generator
from geossda.models.multilevel_adain import SpectralGenerator
from geossda.models.paper import PaperDiscriminator, PaperGenerator
from geossda.models.standardgan import MultitaskDiscriminator, StandardGan
from geossda.models.stargan import StarGan, StarGanDiscriminator
from geossda.models.stargan_v2 import StarGanV2, StarGanV2Discriminator
from geossda.models.translation import Translator

# By preset, from the numbers of bands and domains and the channels of the first layer.
TRANSLATORS: dict[str, Callable[[int, int, int], Translator]] = {
    "cyclegan": CycleGan,
    "standardgan": StandardGan,
    "stargan": StarGan,
    "starganv2": StarGanV2,
}
DISCRIMINATORS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "cyclegan": DomainDiscriminators,
    "standardgan": MultitaskDiscriminator,
    "stargan": StarGanDiscriminator,
    "starganv2": StarGanV2Discriminator,
}


def build_generator(
    preset: str, bands: int, adain: str = "all", domains: int = 0, width: int = 32
) -> Generator | Translator:
    """Build the generator of a preset.

    Parameters
    ----------
    preset : str
    bands : int
        Bands that the network takes at a time.
    adain : {"all", "deepest"}
        See :class:`~geossda.models.multilevel_adain.SpectralGenerator`; ``paper`` is always
        ``deepest``.
    domains : int
        Number of domains, for ``daug`` and translators.
    width : int
        Channels of the first layer, for translators.
    """
    if preset in TRANSLATORS:
        return TRANSLATORS[preset](bands, domains, width)
    if preset == "daug":
        return DomainGenerator(bands, domains)
    if preset == "paper":
        return PaperGenerator(bands)
    return SpectralGenerator(bands, adain=adain)


def build_discriminator(preset: str, bands: int, domains: int = 0, width: int = 32) -> nn.Module:
    """Build the discriminator of a preset.

    Parameters
    ----------
    preset : str
    bands, domains, width : int
        As for the generator.
    """
    if preset in DISCRIMINATORS:
        return DISCRIMINATORS[preset](bands, domains, width)
    return PaperDiscriminator(bands) if preset == "paper" else SpectralDiscriminator(bands)

"""Loading of a style model's generator."""

import os

from geossda.config import TrainStyleConfig
from geossda.errors import ModelError, counted
from geossda.models.card import StyleCard
from geossda.models.generator import Generator
from geossda.models.model_file import load, resolve
from geossda.models.presets import build_generator
from geossda.models.translation import Translator


def load_generator(path: str | os.PathLike[str]) -> tuple[Generator | Translator, StyleCard]:
    """Load the generator of a style model, in evaluation mode.

    Parameters
    ----------
    path : path
        A safetensors file written by ``geossda train-style``.

    Raises
    ------
    ModelError
        The file is missing, damaged, no style model, or does not hold the generator its card names.
    """
    tensors, card = load(path, StyleCard)
    network = build_generator(card.preset, card.bands, card.adain, len(card.domains), card.width)
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the generator its card names") from error
    return network.eval().requires_grad_(False), card


def initial_generator(config: TrainStyleConfig, domains: int = 0) -> Generator | Translator:
    """Return the generator that a run begins with: a new one, or that of a model.

    Parameters
    ----------
    config : TrainStyleConfig
    domains : int
        Number of declared domains.

    Raises
    ------
    ModelError
        The model is none that this run could have made, or as :func:`load_generator` raises it.
    """
    new = build_generator(config.preset, config.bands, config.adain, domains, config.width)
    if not config.init_from:
        return new
    initial, card = load_generator(resolve(config.init_from, StyleCard))
    initial_settings = (card.preset, card.bands, card.adain, len(card.domains), card.width)
    if initial_settings != (config.preset, config.bands, config.adain, domains, config.width):
        raise ModelError(
            f"{config.init_from} is of preset {card.preset}, {counted(card.bands, 'band')}, AdaIN "
            f"{card.adain}, {counted(len(card.domains), 'domain')} and width {card.width}, which "
            "this run has not: give the same settings, or another model"
        )
    new.load_state_dict(initial.state_dict())
    return new

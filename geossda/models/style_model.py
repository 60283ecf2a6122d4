"""Loading of a style model's generator."""

import os

from geossda.errors import ModelError
from geossda.models.card import StyleCard, load
from geossda.models.generator import Generator
from geossda.models.presets import build_generator


def load_generator(path: str | os.PathLike[str]) -> tuple[Generator, StyleCard]:
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
    network = build_generator(card.preset, card.bands, card.adain, len(card.domains))
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the generator its card names") from error
    return network.eval().requires_grad_(False), card

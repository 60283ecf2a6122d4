"""The building segmenter: any encoder-decoder of segmentation-models-pytorch, one class."""

import os
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file

from geossda.config import TrainSegmenterConfig
from geossda.errors import BandError, ModelError
from geossda.models.card import SegmenterCard, load, resolve
from geossda.models.fuse_layers import folded


def build(
    architecture: str, encoder: str, bands: int, encoder_weights: str | None = None
) -> torch.nn.Module:
    """Build the network; its output is one logit a pixel.

    Parameters
    ----------
    architecture, encoder : str
        Names of segmentation-models-pytorch, such as ``"unet"`` and ``"resnet50"``.
    bands : int
        Input channels.
    encoder_weights : str, optional
        ``"imagenet"`` (from the hub, online) or a safetensors file with the encoder's weights.

    Returns
    -------
    torch.nn.Module
        Takes (N, bands, H, W) in 0..1, H and W multiples of 32; gives (N, 1, H, W) logits.

    Raises
    ------
    ModelError
        Unknown names, or weights that do not fit or cannot be fetched.
    """
    from_file = encoder_weights is not None and encoder_weights.endswith(".safetensors")
    try:
        network = smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights=None if from_file else encoder_weights,
            in_channels=bands,
            classes=1,
        )
    except (KeyError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"cannot build {architecture} with encoder {encoder}: {reason}") from error
    except OSError as error:
        raise ModelError(
            f"weights {encoder_weights} of {encoder} cannot be fetched ({error}): go online, or "
            "give a local safetensors file"
        ) from error
    if from_file and encoder_weights is not None:
        _load_encoder(network, encoder_weights)
    return network  # type: ignore[no-any-return]


def _load_encoder(network: Any, path: str) -> None:
    if not Path(path).is_file():
        raise ModelError(f"encoder weights {path} do not exist")
    encoder = getattr(network.encoder, "model", network.encoder)
    weights = load_file(path)
    try:
        missing, _ = encoder.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit the encoder: {str(error).splitlines()[-1].strip()}"
        ) from error
    if missing:
        raise ModelError(
            f"{path} lacks {len(missing)} tensors of the encoder, such as {missing[0]}"
        )


def starting_network(config: TrainSegmenterConfig, bands: int) -> torch.nn.Module:
    """Give the network a training begins with.

    Raises
    ------
    BandError
        The segmenter to go on from takes other bands.
    ModelError
        As :func:`build` and :func:`load_segmenter` do.
    """
    if not config.start:
        weights = None if config.encoder_weights == "none" else config.encoder_weights
        return build(config.architecture, config.encoder, bands, weights)
    network, card = load_segmenter(config.start, fold=False)
    if len(card.bands) != bands:
        raise BandError(
            f"model {card.name} takes {len(card.bands)} bands, the rasters have {bands}: choose "
            "as many with --bidx"
        )
    return network


def load_segmenter(
    model: str | os.PathLike[str], *, fold: bool = True
) -> tuple[torch.nn.Module, SegmenterCard]:
    """Load a segmenter, ready to predict (evaluation mode, norms folded, float32, CPU).

    Parameters
    ----------
    model : str or path
        ``"default"`` or a safetensors file written by ``geossda train-segmenter``.
    fold : bool
        Whether to fold the batch norms, which changes nothing but the time.
    """
    path = resolve(model, SegmenterCard)
    tensors, card = load(path, SegmenterCard)
    network = build(card.architecture, card.encoder, len(card.bands))
    try:
        network.load_state_dict(
            {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in tensors.items()
            }
        )
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not hold the {card.architecture} with {card.encoder} its card names"
        ) from error
    network.eval()
    with torch.no_grad():  # the card's temperature, put into the last layer
        for parameter in network.get_submodule("segmentation_head").parameters():
            parameter.div_(card.temperature)
    return (folded(network, len(card.bands)) if fold else network), card

"""The building segmenter: any encoder-decoder of segmentation-models-pytorch."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from geossda.config import TrainSegmenterConfig
from geossda.devices import require_address_space
from geossda.errors import BandError, ModelError, counted
from geossda.models.card import SegmenterCard
from geossda.models.card_checks import OUTPUTS
from geossda.models.fuse_layers import folded
from geossda.models.model_file import first_clause, load, resolve

# Of timm: a model, and after a dot which of its trainings. Anything else may be an address.
TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?", re.IGNORECASE)


def build(
    architecture: str,
    encoder: str,
    bands: int,
    encoder_weights: str | None = None,
    outputs: int = 1,
) -> torch.nn.Module:
    """Build the network; it returns one logit per pixel and output.

    Parameters
    ----------
    architecture, encoder : str
        Names of segmentation-models-pytorch, such as ``"unet"`` and ``"resnet50"``.
    bands : int
        Input channels.
    encoder_weights : str, optional
        ``"imagenet"`` (downloaded from the hub) or a safetensors file with the encoder's weights.
    outputs : int
        Output channels.

    Returns
    -------
    torch.nn.Module
        Takes (N, bands, H, W) in 0..1, H and W multiples of 32; returns (N, outputs, H, W)
        logits.

    Raises
    ------
    ModelError
        The names are unknown, or the weights do not fit or cannot be downloaded.
    """
    check_names(architecture, encoder)
    from_file = encoder_weights is not None and encoder_weights.endswith(".safetensors")
    if not from_file:
        _check_pretrained(encoder, encoder_weights)
    try:
        network = smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights=None if from_file else encoder_weights,
            in_channels=bands,
            classes=outputs,
        )
    except OSError as error:
        raise ModelError(
            f"weights {encoder_weights} of {encoder} cannot be downloaded ({error}): go online, or "
            "give a local safetensors file"
        ) from error
    except Exception as error:  # whatever a combination of the libraries' networks runs into
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot build {architecture} with encoder {encoder}: {reason}") from error
    if from_file and encoder_weights is not None:
        _load_encoder(network, encoder_weights)
    return network  # type: ignore[no-any-return]


def check_names(architecture: str, encoder: str) -> None:
    """Raise ModelError unless both names are in the lists of the libraries.

    The names may come from somebody else's model file, and the libraries take some for addresses
    to download from.

    Parameters
    ----------
    architecture, encoder : str

    Raises
    ------
    ModelError
        One of them is unknown.
    """
    architectures = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture not in architectures:
        raise ModelError(
            f"unknown architecture {_short(architecture)}: give one of {', '.join(architectures)}"
        )
    name = encoder.removeprefix("tu-")
    of_timm = name != encoder and TIMM_NAME.fullmatch(name) and timm.is_model(name)
    if not of_timm and encoder not in smp.encoders.encoders:
        raise ModelError(
            f"unknown encoder {_short(encoder)}: give one of segmentation-models-pytorch, such as "
            "resnet34, or one of timm with tu- before its name"
        )


def _check_pretrained(encoder: str, weights: str | None) -> None:
    """Raise ModelError unless an encoder has pretrained weights of this name."""
    entry = smp.encoders.encoders.get(encoder)
    names = ["imagenet"] if entry is None else list(entry["pretrained_settings"])
    if weights is not None and weights not in names:
        raise ModelError(
            f"unknown encoder weights {_short(weights)}: give one of {', '.join(names)}, none, or "
            "a safetensors file"
        )


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


def _load_encoder(network: Any, path: str) -> None:
    if not Path(path).is_file():
        raise ModelError(f"encoder weights {path} do not exist")
    encoder = getattr(network.encoder, "model", network.encoder)
    try:
        missing, _ = encoder.load_state_dict(load_file(path), strict=False)
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file ({first_clause(error)})") from error
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit the encoder: {str(error).splitlines()[-1].strip()}"
        ) from error
    if missing:
        raise ModelError(
            f"{path} lacks {counted(len(missing), 'tensor')} of the encoder, such as {missing[0]}"
        )


def initial_network(config: TrainSegmenterConfig, bands: int) -> torch.nn.Module:
    """Return the network that a training begins with.

    Parameters
    ----------
    config : TrainSegmenterConfig
    bands : int
        Input channels.

    Raises
    ------
    BandError
        The segmenter to initialise from takes another number of bands.
    ModelError
        As :func:`build` and :func:`load_segmenter` raise it.
    """
    outputs = len(OUTPUTS) if config.auxiliary else 1
    if not config.init_from:
        weights = None if config.encoder_weights == "none" else config.encoder_weights
        return build(config.architecture, config.encoder, bands, weights, outputs)
    network, card = load_segmenter(config.init_from, fold=False)
    if len(card.bands) != bands:
        raise BandError(
            f"model {card.name} takes {counted(len(card.bands), 'band')}, the rasters have "
            f"{bands}: choose "
            "as many with --bidx"
        )
    if len(card.outputs) != outputs:
        _resize_head(network, outputs)
    return network


def _resize_head(network: torch.nn.Module, outputs: int) -> None:
    """Change the number of channels of the last convolution; the first ones keep their weights."""
    head: Any = network.get_submodule("segmentation_head")
    last: Any = head[0]
    resized = torch.nn.Conv2d(last.in_channels, outputs, last.kernel_size, padding=last.padding)
    kept = min(outputs, last.out_channels)
    with torch.no_grad():
        for name, tensor in last.named_parameters():
            resized.get_parameter(name)[:kept] = tensor[:kept]
    head[0] = resized


def load_segmenter(
    model: str | os.PathLike[str], *, fold: bool = True
) -> tuple[torch.nn.Module, SegmenterCard]:
    """Load a segmenter that is ready to predict (evaluation mode, norms folded, float32, CPU).

    Parameters
    ----------
    model : str or path
        ``"default"`` or a safetensors file written by ``geossda train-segmenter``.
    fold : bool
        Whether to fold the batch norms, which changes only the time it takes.

    Returns
    -------
    network : torch.nn.Module
        Takes (N, bands, H, W) in 0..1; returns (N, outputs, H, W) logits, of which the
        first channel's are calibrated.
    card : SegmenterCard

    Raises
    ------
    ModelError
        The file is missing, damaged, no segmenter, or does not hold the network its card names.
    """
    require_address_space()
    path = resolve(model, SegmenterCard)
    tensors, card = load(path, SegmenterCard)
    network = build_from_card(tensors, card)
    with torch.no_grad():  # the card's temperature, applied in the last layer
        for parameter in network.get_submodule("segmentation_head").parameters():
            parameter[:1].div_(card.temperature)
    return (folded(network, len(card.bands)) if fold else network), card


def build_from_card(tensors: Mapping[str, torch.Tensor], card: SegmenterCard) -> torch.nn.Module:
    """Return the network of a card with its trained weights, in evaluation mode and 32 bit.

    Parameters
    ----------
    tensors : dict of str to tensor
    card : SegmenterCard

    Raises
    ------
    ModelError
        The tensors are not those of the network that the card names.
    """
    network = build(card.architecture, card.encoder, len(card.bands), outputs=len(card.outputs))
    try:
        network.load_state_dict(
            {
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in tensors.items()
            }
        )
    except RuntimeError as error:
        raise ModelError(
            f"model {card.name} does not hold the {card.architecture} with {card.encoder} its card "
            "names"
        ) from error
    return network.eval()

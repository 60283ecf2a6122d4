"""What a model needs to be used rightly travels with its weights.

The card is JSON in the header of the safetensors file, so neither can be lost without the other,
and reading it runs no code.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from safetensors import SafetensorError, safe_open

from geossda.config import ScalingKind
from geossda.errors import ModelError

if TYPE_CHECKING:
    import torch  # two seconds to load, and reading a card does without

HEADER_KEY = "geossda"


@dataclass(frozen=True)
class SegmenterCard:
    """How to feed a building segmenter, and where it comes from.

    Attributes
    ----------
    name, version : str
    architecture, encoder : str
        Names known to segmentation-models-pytorch.
    bands : tuple of str
        What the input bands are, in order.
    gsd_m : float
        Ground sample distance it was trained at, in metres.
    patch_px, overlap_px : int
        Windows to predict on, in pixels at `gsd_m`.
    scaling : {"percentile", "bits", "equalize"}
        How digital numbers become 0..1: see :func:`geossda.raster.scaling.scaling`.
    low_percent, high_percent : float
        Percentiles of each band of the whole raster that are scaled to 0 and 1.
    threshold : float
        Probability from which a pixel is a building.
    temperature : float
        Logits are divided by it, so that probabilities say how often they are right.
    data, licence, attribution : str
        What it was trained on, under which terms it may be used, whom to name.
    metrics : dict
        Published figures.
    training : dict
        The settings that made it.
    sha256 : str
        Of all tensors, in order of name.
    """

    name: str
    version: str
    architecture: str = "unet"
    encoder: str = "tu-tf_efficientnet_lite0"
    bands: tuple[str, ...] = ("red", "green", "blue")
    gsd_m: float = 0.3
    patch_px: int = 512
    overlap_px: int = 64
    scaling: ScalingKind = "percentile"
    low_percent: float = 2.0
    high_percent: float = 98.0
    threshold: float = 0.5
    temperature: float = 1.0
    data: str = ""
    licence: str = ""
    attribution: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    kind: str = "segmenter"


@dataclass(frozen=True)
class StyleCard:
    """How to use a style model, and where it comes from.

    Attributes
    ----------
    name, version : str
    preset : {"geossda", "paper", "daug"}
    bands : int
        Bands the model takes at a time; images of more are taken a few bands at a time.
    adain : {"all", "deepest"}
    domains : tuple of str
        Of ``daug``, whose styles are declared and not measured.
    data, licence, attribution : str
        What it was trained on, under which terms it may be used, whom to name.
    metrics : dict
        Published figures.
    training : dict
        The settings that made it.
    sha256 : str
        Of all tensors, in order of name. Styles are kept with the hash of the model they are for.
    """

    name: str
    version: str
    preset: str = "geossda"
    bands: int = 3
    adain: str = "all"
    domains: tuple[str, ...] = ()
    data: str = ""
    licence: str = ""
    attribution: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    kind: str = "style"


Card = SegmenterCard | StyleCard
C = TypeVar("C", SegmenterCard, StyleCard)


DEFAULT = "default"


def resolve(model: str | os.PathLike[str], kind: type[C]) -> Path:
    """Give the file of a model: ``"default"`` is the bundled one of its kind, all else a path."""
    if os.fspath(model) == DEFAULT:
        return Path(str(resources.files("geossda") / "weights" / f"{kind.kind}.safetensors"))
    path = Path(model)
    if not path.exists():
        raise ModelError(f'unknown model {model}: give "{DEFAULT}" or a safetensors file')
    return path


def digest(tensors: "Mapping[str, torch.Tensor]") -> str:
    """Hash tensors in order of name: names, types, shapes and bytes."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def save(path: str | os.PathLike[str], tensors: "Mapping[str, torch.Tensor]", card: C) -> C:
    """Write weights (floats as 16 bit) and card to one safetensors file.

    Returns
    -------
    SegmenterCard or StyleCard
        The card with the hash filled in.
    """
    from safetensors.torch import save as to_bytes

    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in tensors.items()
    }
    card = dataclasses.replace(card, sha256=digest(halves))
    # Not save_file, which makes files that none but their owner can read.
    Path(path).write_bytes(to_bytes(halves, {HEADER_KEY: json.dumps(dataclasses.asdict(card))}))
    return card


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card alone, of whichever kind it is.

    Raises
    ------
    ModelError
        Missing, not safetensors (pickles are refused, since loading one can run any code), or
        without a card of ours.
    """
    with _opened(path, "numpy") as file:
        header = (file.metadata() or {}).get(HEADER_KEY)
    if header is None:
        raise ModelError(f"{path} holds weights without a geossda card: not made by geossda")
    try:
        entries = json.loads(header)
        if entries.get("kind") == "style":
            entries["domains"] = tuple(entries.get("domains", ()))
            return StyleCard(**entries)
        entries["bands"] = tuple(entries["bands"])
        return SegmenterCard(**entries)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} has a card this version cannot read ({error}): made by another version?"
        ) from error


def read_card_of(path: str | os.PathLike[str], kind: type[C]) -> C:
    """Read the card alone, as :func:`read_card` does; ModelError too if it is of another kind."""
    card = read_card(path)
    if not isinstance(card, kind):
        raise ModelError(f"{path} is a {card.kind} model, a {kind.kind} model was expected")
    return card


def load(path: str | os.PathLike[str], kind: type[C]) -> "tuple[dict[str, torch.Tensor], C]":
    """Read weights and card of a kind, and check the one against the hash in the other."""
    card = read_card_of(path, kind)
    with _opened(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if card.sha256 != digest(tensors):
        raise ModelError(f"{path} is damaged: its weights do not match its card, copy it again")
    return tensors, card


def _opened(path: str | os.PathLike[str], framework: Literal["numpy", "pt"]) -> Any:
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"model {path} does not exist")
    with path.open("rb") as file:
        start = file.read(9)
    # Byte 8 of a safetensors file opens its JSON header.
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        raise ModelError(
            f"{path} is a pickle (.pt, .pth): refused, since loading one can run any code; give "
            "a safetensors file"
        )
    try:
        return safe_open(path, framework=framework)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a safetensors file ({error})") from error

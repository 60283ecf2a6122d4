"""Model files: read and written with the card in them, downloaded, and checked.

The card is JSON in the header of the safetensors file, so neither can be lost without the other,
and reading it runs no code.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from safetensors import SafetensorError, safe_open

from geossda.errors import ModelError
from geossda.formats import ONNX_SUFFIX, WEIGHTS_SUFFIX, suffix_of
from geossda.models.card import C, Card, SegmenterCard, StyleCard
from geossda.models.card_checks import checked_entries
from geossda.models.download import downloaded, is_address
from geossda.models.onnx_file import CARD_KEY, RANGES_KEY, read_metadata

if TYPE_CHECKING:
    import torch  # two seconds to load, and reading a card does without

HEADER_KEY = "geossda"
DEFAULT = "default"


def resolve(model: str | os.PathLike[str], kind: type[C]) -> Path:
    """Return the file of a model.

    Parameters
    ----------
    model : str or path
        ``"default"`` for the bundled model of its kind, or a path.
    kind : type
        The card's class.

    Raises
    ------
    ModelError
        There is no such file.
    """
    if os.fspath(model) == DEFAULT:
        return Path(str(resources.files("geossda") / "weights" / f"{kind.kind}.safetensors"))
    if is_address(os.fspath(model)):
        return downloaded(os.fspath(model))
    path = Path(model)
    if not path.exists():
        raise ModelError(f'unknown model {model}: give "{DEFAULT}", a safetensors or an ONNX file')
    return path


def name_and_hash(model: str | os.PathLike[str], kind: type[C]) -> str:
    """Return the name of a model and the first digits of its hash, for the record of a run.

    Parameters
    ----------
    model : str or path
        As :func:`resolve` takes it.
    kind : type
        The card's class.

    Raises
    ------
    ModelError
        As :func:`resolve` and :func:`read_card` raise it.
    """
    card = read_card(resolve(model, kind))
    return f"{card.name} {card.sha256[:12]}"


class ModelFiles(NamedTuple):
    """The files of a model, at least one.

    Attributes
    ----------
    weights : Path or None
        The safetensors file, which PyTorch runs and trains on from.
    graph : Path or None
        The ONNX file, which OpenVINO runs.
    calibrated : bool
        Whether that has the ranges of the network's values, which int8 needs.
    """

    weights: Path | None
    graph: Path | None
    calibrated: bool


def read_model(model: str | os.PathLike[str], kind: type[C]) -> tuple[ModelFiles, C]:
    """Return the files of a model and its card, without its weights.

    Parameters
    ----------
    model : str or path
        ``"default"``, or either file: the other one lies beside it under the same name, if it is
        there.
    kind : type
        The card's class.

    Raises
    ------
    ModelError
        There is no such model, as :func:`read_card_of` raises it, or the two files hold different
        weights.
    """
    path = resolve(model, kind)
    metadata = _metadata(path)
    card = _of_kind(path, _card(path, metadata), kind)
    is_graph = suffix_of(path) == ONNX_SUFFIX
    other = path.with_suffix(WEIGHTS_SUFFIX if is_graph else ONNX_SUFFIX)
    if not other.is_file():
        calibrated = is_graph and RANGES_KEY in metadata
        files = ModelFiles(None, path, calibrated) if is_graph else ModelFiles(path, None, False)
        return files, card
    of_other = _metadata(other)
    calibrated = RANGES_KEY in (metadata if is_graph else of_other)
    files = ModelFiles(other if is_graph else path, path if is_graph else other, calibrated)
    if _of_kind(other, _card(other, of_other), kind).sha256 != card.sha256:
        raise ModelError(
            f"{files.graph} and {files.weights} hold different weights: make the former again with "
            f"geossda export {files.weights} --overwrite, or move it away"
        )
    return files, card


def is_calibrated(path: str | os.PathLike[str]) -> bool:
    """Return whether a model's ONNX file has the ranges of values that int8 needs.

    Parameters
    ----------
    path : path
        Either file of a model; without an ONNX file it is not calibrated.

    Raises
    ------
    ModelError
        The ONNX file is damaged.
    """
    graph = Path(path).with_suffix(ONNX_SUFFIX)
    return graph.is_file() and RANGES_KEY in read_metadata(graph)


def digest(tensors: "Mapping[str, torch.Tensor]") -> str:
    """Return the SHA-256 of tensors in order of name: names, types, shapes and bytes."""
    import torch

    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256.hexdigest()


def save(path: str | os.PathLike[str], tensors: "Mapping[str, torch.Tensor]", card: C) -> C:
    """Write weights (floats as 16 bit) and card to one safetensors file.

    Parameters
    ----------
    path : path
    tensors : dict of str to tensor
        State of the network, of any shapes.
    card : SegmenterCard or StyleCard

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
    # Not save_file, which writes files that only their owner can read.
    Path(path).write_bytes(to_bytes(halves, {HEADER_KEY: json.dumps(dataclasses.asdict(card))}))
    return card


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card in either file of a model of any kind, without its weights.

    Raises
    ------
    ModelError
        The file is missing, is not safetensors or ONNX (pickles are refused, since loading one can
        run any code), has no geossda card, or a card that cannot be used.
    """
    return _card(path, _metadata(path))


def _metadata(path: str | os.PathLike[str]) -> Mapping[str, str]:
    """Return the metadata of either file of a model."""
    if suffix_of(path) == ONNX_SUFFIX:
        return read_metadata(path)
    with _opened(path, "numpy") as file:
        return file.metadata() or {}


def _card(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> Card:
    """Return the card in the metadata of a file."""
    header = metadata.get(CARD_KEY if suffix_of(path) == ONNX_SUFFIX else HEADER_KEY)
    if header is None:
        raise ModelError(f"{path} holds weights without a geossda card: not made by geossda")
    try:
        entries = json.loads(header)
        of_style = isinstance(entries, dict) and entries.get("kind") == "style"
        card: type[Card] = StyleCard if of_style else SegmenterCard
        return card(**checked_entries(entries, card))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} has a card that cannot be used ({error}): it is damaged or made by another "
            "version, get the model again"
        ) from error


def read_card_of(path: str | os.PathLike[str], kind: type[C]) -> C:
    """Read a card of one kind, without the weights.

    Parameters
    ----------
    path : path
    kind : type
        The card's class.

    Raises
    ------
    ModelError
        As :func:`read_card`, and if the model is of another kind.
    """
    return _of_kind(path, read_card(path), kind)


def _of_kind(path: str | os.PathLike[str], card: Card, kind: type[C]) -> C:
    """Return a card of the kind expected; raise ModelError for any other."""
    if not isinstance(card, kind):
        raise ModelError(f"{path} is a {card.kind} model, a {kind.kind} model was expected")
    return card


def load(path: str | os.PathLike[str], kind: type[C]) -> "tuple[dict[str, torch.Tensor], C]":
    """Read weights and card, and check the weights.

    Parameters
    ----------
    path : path
    kind : type
        The card's class.

    Returns
    -------
    tensors : dict of str to tensor
    card : SegmenterCard or StyleCard

    Raises
    ------
    ModelError
        As :func:`read_card_of`; the weights do not have the card's hash, or are not finite.
    """
    card = read_card_of(path, kind)
    if suffix_of(path) == ONNX_SUFFIX:
        raise ModelError(f"{path} holds no weights to train on: give the model's safetensors file")
    with _opened(path, "pt") as file:
        try:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (SafetensorError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path} holds weights that cannot be read ({error})") from error
    if card.sha256 != digest(tensors):
        raise ModelError(f"{path} is damaged: its weights do not match its card, copy it again")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(f"{path} has weights that are not finite ({name}): train it again")
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
        raise ModelError(f"{path} is not a safetensors file ({first_clause(error)})") from error


def first_clause(error: Exception) -> str:
    """Return what a library says of a file it cannot parse, without the details of where.

    Parameters
    ----------
    error : Exception
    """
    return str(error).removeprefix("Error while deserializing header: ").split(":")[0]

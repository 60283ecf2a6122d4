"""Export of models to ONNX: the trained weights, as 16-bit floats, with the card in the metadata.

Weights are those of the safetensors file, tensor by tensor under the same names: what is folded or
computed from them is computed by the graph, and runtimes do it once, as they load it.
"""

import dataclasses
import hashlib
import io
import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from geossda.errors import GeossdaError, ModelError
from geossda.formats import ONNX_SUFFIX
from geossda.models.card import SegmenterCard, StyleCard
from geossda.models.fuse_layers import with_upconvolutions
from geossda.models.generator import Generator
from geossda.models.model_file import load, read_card, resolve
from geossda.models.onnx_file import (
    CARD_KEY,
    GENERATOR_KEY,
    GRAPH_KEY,
    RANGES_KEY,
    exchange_metadata,
)
from geossda.models.segmenter import build_from_card
from geossda.models.style_graphs import StyleGraphs
from geossda.models.style_model import load_generator
from geossda.models.translation import Translator
from geossda.progress import SILENT, Progress
from geossda.staging import atomic_write, check_output

OPSET = 17
# Added to the names of weights for their values as 32-bit floats.
WIDENED = "/float32"
DESCRIPTION = (
    "Building probability of 8-bit imagery: each band's {low:g} to {high:g} percentile over the "
    "whole raster stretched to 0..255, then divided by 255."
)


class SegmenterGraph(nn.Module):
    """A segmenter as it is exported: images to logits, and to probabilities of two classes.

    Parameters
    ----------
    network : nn.Module
        (N, bands, H, W) in 0..1 to (N, outputs, H, W) logits.
    temperature : float
        Logits are divided by it.
    """

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (N, 2, H, W) probabilities of background and building.

        Parameters
        ----------
        image : (N, bands, H, W) tensor
            In 0..1.
        """
        logits = self.network(image)[:, :1] / self.temperature
        return torch.sigmoid(torch.cat([-logits, logits], 1))


def export_segmenter(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], card: SegmenterCard
) -> None:
    """Write the ONNX file of a segmenter, for windows of the card's size.

    Parameters
    ----------
    path : path
    tensors : dict of str to tensor
        As its safetensors file holds them.
    card : SegmenterCard
        With the hash of the tensors.

    Raises
    ------
    ModelError
        The network cannot be exported.
    """
    bands = len(card.bands)
    network = with_upconvolutions(build_from_card(tensors, card), bands)
    side = card.patch_px
    metadata = exchange_metadata(bands, card.gsd_m, side, card.overlap_px, card.threshold)
    image = torch.zeros((1, bands, side, side))
    graph = SegmenterGraph(network, card.temperature)
    model = _exported(graph, [image], ["image"], {"classes": (1, 2, side, side)})
    _name_logits(model)
    model.doc_string = DESCRIPTION.format(low=card.low_percent, high=card.high_percent)
    _write(path, model, metadata, card)


def export_style(
    path: str | os.PathLike[str], generator: Generator | Translator, card: StyleCard
) -> None:
    """Write the ONNX file of a style model: what measures styles and what applies them.

    Parameters
    ----------
    path : path
    generator : Generator
        With the weights of its safetensors file.
    card : StyleCard
        With the hash of the weights.

    Raises
    ------
    ModelError
        The model has declared domains, or cannot be exported.
    """
    if card.domains or isinstance(generator, Translator):
        raise ModelError(
            f"a style model of preset {card.preset} has declared domains, and is run by PyTorch "
            "alone: there is nothing to export"
        )
    side = 8 * generator.stride
    values = 2 * sum(generator.level_channels)
    pixels, patches = torch.rand(1, card.bands, side, side), torch.rand(2, card.bands, side, side)
    model = _exported(
        StyleGraphs(generator),
        [
            pixels,
            torch.rand(1, values),
            torch.rand(1, values),
            patches,
            torch.ones_like(patches[:, :1]),
        ],
        ["pixels", "own", "other", "patches", "valid"],
        {"change": pixels.shape, "moments": (1, values)},
    )
    numbers = (generator.stride, generator.halo, *generator.level_channels)
    _write(path, model, {GENERATOR_KEY: " ".join(map(str, numbers))}, card)


def _exported(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    input_names: Sequence[str],
    outputs: Mapping[str, Sequence[int]],
) -> Any:
    """Return a module as an ONNX model whose weights are 16-bit floats.

    The shapes of its outputs are given, since some are computed in the graph, of constants.
    """
    try:
        import onnx
    except ImportError as error:
        raise ModelError(f"onnx cannot be imported ({error}): pip install onnx") from error
    buffer = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of traced conditions, which static shapes settle
            torch.onnx.export(
                module.eval(),
                tuple(inputs),
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                do_constant_folding=False,
                # Norms are kept: evaluation would fold them into weights of 32 bit.
                training=torch.onnx.TrainingMode.PRESERVE,
                input_names=list(input_names),
                output_names=list(outputs),
            )
    except Exception as error:  # whatever the exporter makes of foreign networks
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"the network cannot be exported to ONNX: {reason}") from error
    finally:
        logger.setLevel(level)
    model = onnx.load_from_string(buffer.getvalue())
    _halve(model.graph)
    for port, shape in zip(model.graph.output, outputs.values(), strict=True):
        for dimension, size in zip(port.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = size
    return model


def _halve(graph: Any) -> None:
    """Store weights as 16-bit floats under their own names, and widen them in the graph."""
    from onnx import TensorProto, helper, numpy_helper

    renamed: dict[str, str] = {}
    weights, casts = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        name = tensor.name.removeprefix("network.")
        halves = values.astype(np.float16) if values.dtype == np.float32 else values
        if halves is not values and np.array_equal(halves.astype(np.float32), values):
            renamed[tensor.name] = name + WIDENED
            casts.append(
                helper.make_node("Cast", [name], [name + WIDENED], name, to=TensorProto.FLOAT)
            )
        else:
            halves, renamed[tensor.name] = values, name
        weights.append(numpy_helper.from_array(np.ascontiguousarray(halves), name))
    nodes = list(graph.node)
    for node in nodes:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(weights)
    graph.node.extend([*casts, *nodes])


def _name_logits(model: Any) -> None:
    """Name what the sigmoid of the building channel takes ``logits``."""
    nodes = {output: node for node in model.graph.node for output in node.output}
    name = nodes[nodes["classes"].input[0]].input[1]
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, each in enumerate(names):
                if each == name:
                    names[index] = "logits"


def _write(
    path: str | os.PathLike[str],
    model: Any,
    metadata: Mapping[str, str],
    card: SegmenterCard | StyleCard,
) -> None:
    """Check a model and write it with its metadata."""
    import onnx
    from onnx import helper

    onnx.checker.check_model(model)
    model.producer_name, model.producer_version = "geossda", card.version
    entries = {
        **metadata,
        CARD_KEY: json.dumps(dataclasses.asdict(card)),
        GRAPH_KEY: hashlib.sha256(model.graph.SerializeToString()).hexdigest(),
    }
    helper.set_model_props(model, entries)
    Path(path).write_bytes(model.SerializeToString())


def add_ranges(path: str | os.PathLike[str], ranges: Mapping[str, tuple[float, float]]) -> None:
    """Add what a segmenter needs to run in int8 to the metadata of its ONNX file.

    Parameters
    ----------
    path : path
    ranges : dict
        As :func:`geossda.segmentation.int8_ranges.measure_ranges` returns it.
    """
    import onnx
    from onnx import helper

    model = onnx.load(os.fspath(path))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    limits = {name: [float(f"{limit:.6g}") for limit in pair] for name, pair in ranges.items()}
    helper.set_model_props(model, {**entries, RANGES_KEY: json.dumps(limits)})
    Path(path).write_bytes(model.SerializeToString())


def export_beside(
    path: str | os.PathLike[str], *, overwrite: bool, progress: Progress = SILENT
) -> None:
    """Write the ONNX file beside a model that was just trained; warn if it cannot be written.

    Parameters
    ----------
    path : path
        A safetensors file.
    overwrite : bool
        Whether an ONNX file that is there, of other weights, is replaced.
    progress : Progress
    """
    target = Path(path).with_suffix(ONNX_SUFFIX)
    progress.stage(f"writing {target.name}")
    try:
        check_output(target, overwrite=overwrite)
        with atomic_write(target) as part:
            export(path, part)
    except GeossdaError as error:  # the training of hours is not lost for it
        progress.warn(f"{target} was not written, without which the model needs PyTorch: {error}")


def export(model: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Write the ONNX file of a safetensors file.

    Parameters
    ----------
    model : str or path
        A safetensors file, or ``"default"`` for the bundled segmenter.
    output : path

    Raises
    ------
    ModelError
        The model cannot be read or exported.
    """
    path = resolve(model, SegmenterCard)
    card = read_card(path)
    if isinstance(card, SegmenterCard):
        export_segmenter(output, load(path, SegmenterCard)[0], card)
    else:
        export_style(output, *load_generator(path))

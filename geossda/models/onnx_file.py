"""ONNX files of models, read without an ONNX runtime: metadata, inputs, outputs, operators.

An ONNX file is a message of protocol buffers (https://onnx.ai/onnx/repo-docs/IR.html): pairs of a
field's number and its bytes, of which only a few are read here. What a file may hold is narrow: one
graph of standard operators with static shapes, whose weights lie in the file itself.
"""

import functools
import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from geossda.errors import ModelError

# Keys of the metadata: the card, and the SHA-256 of the graph's bytes.
CARD_KEY, GRAPH_KEY = "geossda", "geossda_graph_sha256"
# Of a segmenter that was calibrated for int8: the range of the values that are rounded, by name.
RANGES_KEY = "geossda_ranges"
# Of a style model: stride, halo, and the channels of each level.
GENERATOR_KEY = "geossda_generator"
# Field numbers of the messages, from onnx.proto.
MODEL_GRAPH, MODEL_OPSETS, MODEL_METADATA, MODEL_FUNCTIONS = 7, 8, 14, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
NODE_INPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH = 5, 6
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14
STANDARD_DOMAINS = ("", "ai.onnx")
# Inputs that an operator cannot do without, where that is more than one: OpenVINO 2026.4 ends the
# process where they are missing.
LEAST_INPUTS = {
    **dict.fromkeys(("Add", "Conv", "ConvTranspose", "Div", "Expand", "Gather", "Gemm"), 2),
    **dict.fromkeys(("MatMul", "Mul", "Pow", "Reshape", "Sub", "Tile"), 2),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "Slice", "Where"), 3),
    "BatchNormalization": 5,
}
# Of one metadata entry: cards are a few kilobytes.
MAX_METADATA_BYTES = 4_000_000

Shape = tuple[int, ...]


class OnnxFile(NamedTuple):
    """What is known of an ONNX file before it is run.

    Attributes
    ----------
    path : Path
    metadata : dict of str to str
    inputs, outputs : dict of str to tuple of int
        Static shapes by name, in order.
    sha256 : str
        Hash of the file.
    """

    path: Path
    metadata: dict[str, str]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    sha256: str


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata of an ONNX file; the graph is skipped.

    Parameters
    ----------
    path : path

    Raises
    ------
    ModelError
        The file is missing or is not ONNX.
    """
    with _Message(path) as message:
        entries = [value for number, value in message if number == MODEL_METADATA]
        return _metadata(entries)


def read_onnx(path: str | os.PathLike[str]) -> OnnxFile:
    """Check an ONNX file and return what is needed to run it.

    Parameters
    ----------
    path : path

    Raises
    ------
    ModelError
        The file is missing, is not ONNX, was damaged after it was written, has custom operators,
        dynamic shapes, or weights in other files.
    """
    with _Message(path) as message:
        sha256 = hashlib.sha256(message.map).hexdigest()
    return _checked(Path(path), sha256)


@functools.lru_cache(maxsize=8)  # a model is opened for file after file
def _checked(path: Path, sha256: str) -> OnnxFile:
    """Return what :func:`read_onnx` does of a file with this hash."""
    with _Message(path) as message:
        fields = list(message)
        graph = _graph(fields)
        metadata = _metadata([value for number, value in fields if number == MODEL_METADATA])
        for number, value in fields:
            if number == MODEL_OPSETS:
                _check_domain(path, _text_of(value, 1), "operators")
        ports: dict[int, dict[str, Shape]] = {GRAPH_INPUT: {}, GRAPH_OUTPUT: {}}
        for number, value in _fields(graph):
            if number == GRAPH_NODE:
                _check_node(path, value)
            elif number == GRAPH_INITIALIZER:
                _check_tensor(path, value)
            elif number in ports:
                name = _text_of(value, 1)
                ports[number][name] = _shape(path, name, value)
        expected = metadata.get(GRAPH_KEY)
        if expected is not None and expected != hashlib.sha256(graph).hexdigest():
            raise ModelError(f"{path} is damaged: its graph does not match its hash, copy it again")
        return OnnxFile(path, metadata, ports[GRAPH_INPUT], ports[GRAPH_OUTPUT], sha256)


def _graph(fields: list[tuple[int, bytes]]) -> bytes:
    """Return the only graph of a model's fields."""
    graphs = [value for number, value in fields if number == MODEL_GRAPH]
    if len(graphs) != 1 or any(number == MODEL_FUNCTIONS for number, _ in fields):
        raise ValueError("it does not hold one graph")
    return graphs[0]


class _Message:
    """The fields of a file's outermost message; errors of its parts become one line.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __enter__(self) -> "_Message":
        if not self.path.is_file():
            raise ModelError(f"model {self.path} does not exist")
        with self.path.open("rb") as file:
            try:
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (ValueError, OSError) as error:
                raise ModelError(f"{self.path} is not an ONNX file ({error})") from error
        return self

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        place, end = 0, len(self.map)
        while place < end:
            number, value, place = _field(self.map, place, end)
            yield number, value

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.map.close()
        if isinstance(error, ValueError) and not isinstance(error, ModelError):
            raise ModelError(
                f"{self.path} is not an ONNX file, or is damaged ({error}): copy it again, or make "
                "it with geossda export"
            ) from error


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the bytes of each field of a message."""
    place, end = 0, len(data)
    while place < end:
        number, value, place = _field(data, place, end)
        yield number, value


def _field(data: bytes | mmap.mmap, place: int, end: int) -> tuple[int, bytes, int]:
    """Return one field and the place of the next; numbers are given as their bytes."""
    key, place = _varint(data, place, end)
    kind = key & 7
    if kind == 0:
        start = place
        _, place = _varint(data, place, end)
    elif kind == 2:
        length, start = _varint(data, place, end)
        place = start + length
    elif kind in (1, 5):
        start, place = place, place + (8 if kind == 1 else 4)
    else:
        raise ValueError(f"field of kind {kind}")
    if place > end:
        raise ValueError("it ends too early")
    return key >> 3, data[start:place], place


def _varint(data: bytes | mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("it ends too early")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number of more than 64 bits")


def _text_of(data: bytes, wanted: int) -> str:
    """Return a field that is text, empty if it is not there."""
    return next((value.decode() for number, value in _fields(data) if number == wanted), "")


def _metadata(entries: list[bytes]) -> dict[str, str]:
    if any(len(entry) > MAX_METADATA_BYTES for entry in entries):
        raise ValueError("metadata of more than 4 MB")
    return {_text_of(entry, 1): _text_of(entry, 2) for entry in entries}


def _check_domain(path: str | os.PathLike[str], domain: str, what: str) -> None:
    if domain not in STANDARD_DOMAINS:
        raise ModelError(
            f"{path} has custom {what} (of {domain[:60]}), which no runtime knows: only standard "
            "ONNX operators can be run"
        )


def _check_node(path: str | os.PathLike[str], node: bytes) -> None:
    operator = _text_of(node, NODE_OPERATOR)
    inputs = [value for number, value in _fields(node) if number == NODE_INPUT]
    least = LEAST_INPUTS.get(operator, 0)
    if len(inputs) < least or not all(inputs[:least]):
        raise ValueError(f"{operator} lacks an input")
    for number, value in _fields(node):
        if number == NODE_DOMAIN:
            _check_domain(path, value.decode(), f"operators: {operator[:60]}")
        elif number == NODE_ATTRIBUTE:
            for inner, part in _fields(value):
                if inner == ATTRIBUTE_TENSOR:
                    _check_tensor(path, part)
                elif inner == ATTRIBUTE_GRAPH:
                    raise ModelError(
                        f"{path} has a loop or a branch ({operator[:60]}), which models of geossda "
                        "have not: make it with geossda export"
                    )


def _check_tensor(path: str | os.PathLike[str], tensor: bytes) -> None:
    for number, value in _fields(tensor):
        if number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value != b"\0"):
            raise ModelError(
                f"{path} keeps weights in other files, which are not read: a model is one file, "
                "made with geossda export"
            )


def _shape(path: str | os.PathLike[str], name: str, port: bytes) -> Shape:
    """Return the static shape of an input or output (ValueInfoProto)."""
    message = port
    for field in (2, 1, 2):  # type, tensor type, shape
        message = next((value for number, value in _fields(message) if number == field), b"")
    shape = []
    for _, dimension in _fields(message):
        sizes = [value for number, value in _fields(dimension) if number == 1]
        size = _varint(sizes[0], 0, len(sizes[0]))[0] if sizes else 0
        if not 0 < size < 2**31:
            raise ModelError(
                f"{path} has dynamic shapes ({name[:60]}), static ones are expected: make it with "
                "geossda export"
            )
        shape.append(size)
    return tuple(shape)


def exchange_metadata(
    bands: int, gsd_m: float, patch_px: int, overlap_px: int, threshold: float
) -> dict[str, str]:
    """Return the entries of a segmenter's metadata that Deepness and GeoDeep read.

    Parameters
    ----------
    bands : int
    gsd_m : float
        Ground sample distance, in metres.
    patch_px, overlap_px : int
    threshold : float
        Probability from which a pixel is a building.
    """
    entries = {
        "model_type": "Segmentor",
        "class_names": {0: "background", 1: "building"},
        "resolution": round(100 * gsd_m, 3),
        "tiles_size": patch_px,
        "tiles_overlap": round(100 * overlap_px / patch_px, 3),
        "standardization_mean": [0.0] * bands,
        "standardization_std": [1.0] * bands,
        "seg_thresh": threshold,
        "seg_small_segment": 0,
    }
    return {name: json.dumps(value) for name, value in entries.items()}

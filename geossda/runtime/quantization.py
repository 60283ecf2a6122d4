"""Networks in 8-bit integers, run by OpenVINO on CPUs.

The inputs and weights of convolutions are rounded to 256 levels between two limits, after which
they can be multiplied as integers (Jacob et al. 2018, "Quantization and training of neural networks
for efficient integer-arithmetic-only inference"). Limits of weights are their largest magnitude in
each output channel, limits of inputs are measured once on imagery and kept in the metadata of the
ONNX file. The last convolution, which gives the logits, stays in float32.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.errors import ModelError
from geossda.models.onnx_file import RANGES_KEY, OnnxFile
from geossda.parallel.cores import cores

Ranges = dict[str, tuple[float, float]]

# Axes of the output channels in the weights of each kind of convolution; the first of two is that
# of groups.
OUTPUT_AXES = {
    "Convolution": (0,),
    "GroupConvolution": (0, 1),
    "ConvolutionBackpropData": (1,),
    "GroupConvolutionBackpropData": (0, 2),
}
INPUT_LEVELS, WEIGHT_LEVELS = 256, 255


def ranges_of(file: OnnxFile) -> Ranges:
    """Return the limits in the metadata of an ONNX file, by the name of the value they are of.

    Parameters
    ----------
    file : OnnxFile

    Raises
    ------
    ModelError
        There are none, or they are not pairs of finite numbers in ascending order.
    """
    remedy = "measure them with geossda export --calibrate, or leave out --precision int8"
    if RANGES_KEY not in file.metadata:
        raise ModelError(f"{file.path} has no ranges for int8: {remedy}")
    try:
        entries = json.loads(file.metadata[RANGES_KEY])
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in entries.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        ranges = {}
    if not ranges or not all(
        math.isfinite(low) and math.isfinite(high) and low <= 0 <= high and low < high
        for low, high in ranges.values()
    ):
        raise ModelError(f"{file.path} has ranges for int8 that cannot be used: {remedy}")
    return ranges


def quantize(model: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Round the inputs and weights of all convolutions but the last, in place.

    Parameters
    ----------
    model : openvino.Model
    ranges : dict
        As :func:`ranges_of` returns it.

    Raises
    ------
    ModelError
        A range is missing: they are of another network.
    """
    for node in _rounded(model):
        port = _entry(node)
        value = port.get_source_output()
        known = [ranges[name] for name in value.get_names() if name in ranges]
        if not known:
            raise ModelError(
                f"the model's ranges for int8 lack {min(value.get_names(), default='a value')}: "
                "measure them with geossda export --calibrate"
            )
        port.replace_source_output(_levels(value, *_with_zero(*known[0]), INPUT_LEVELS))
        weights = node.input(1).get_source_output()
        values = np.asarray(weights.get_node().data, np.float32)
        kept = OUTPUT_AXES[node.get_type_name()]
        axes = tuple(axis for axis in range(values.ndim) if axis not in kept)
        # A channel of zeros has a range too.
        limit = np.maximum(np.abs(values).max(axis=axes, keepdims=True), np.float32(1e-12))
        node.input(1).replace_source_output(_levels(weights, -limit, limit, WEIGHT_LEVELS))
    model.validate_nodes_and_infer_types()


class RangeMeter:
    """Measures the limits of what goes into each convolution that :func:`quantize` rounds.

    Parameters
    ----------
    core : openvino.Core
    model : openvino.Model
        From one image to logits.
    """

    def __init__(self, core: Any, model: Any) -> None:
        import openvino
        from openvino import opset13 as operators

        self.ranges: Ranges = {}
        self._names: list[str] = []
        limits: list[Any] = []
        for node in _rounded(model):
            value = _entry(node).get_source_output()
            name = min(value.get_names())
            if name not in self._names:
                axes = operators.constant(np.arange(len(value.get_shape())), np.int64)
                limits += [operators.reduce_min(value, axes), operators.reduce_max(value, axes)]
                self._names.append(name)
        results = [operators.result(limit) for limit in limits]
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores()}
        compiled = core.compile_model(
            openvino.Model(results, model.get_parameters()), "CPU", settings
        )
        self._request = compiled.create_infer_request()

    def __call__(self, image: NDArray[np.uint8]) -> None:
        """Widen the limits to those of one image.

        Parameters
        ----------
        image : (bands, side, side) uint8 array
        """
        values = self._request.infer([image[None].astype(np.float32) / np.float32(255)])
        limits = np.array([float(values[index]) for index in range(2 * len(self._names))])
        for name, (low, high) in zip(self._names, limits.reshape(-1, 2).tolist(), strict=True):
            before = self.ranges.get(name, (0.0, 0.0))
            self.ranges[name] = (min(low, before[0]), max(high, before[1]))


def _rounded(model: Any) -> Iterator[Any]:
    """Yield the convolutions to round, whose weights are made constants."""
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() in OUTPUT_AXES]
    for node in nodes[:-1]:
        if node.input_value(1).get_node().get_type_name() == "Constant":
            yield node


def _entry(node: Any) -> Any:
    """Return the input port at which a convolution's input is rounded: before its padding."""
    before = node.input_value(0).get_node()
    return before.input(0) if before.get_type_name() == "Pad" else node.input(0)


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Move limits a little, so that 0 is one of the levels, as padding needs it."""
    step = (high - low) / (INPUT_LEVELS - 1)
    low = round(low / step) * step
    return low, low + (INPUT_LEVELS - 1) * step


def _levels(value: Any, low: Any, high: Any, levels: int) -> Any:
    """Return a value that is rounded to so many levels between two limits."""
    from openvino import opset13 as operators

    limits = [
        operators.constant(np.asarray(limit, np.float32).reshape(np.shape(limit) or (1,)))
        for limit in (low, high)
    ]
    return operators.fake_quantize(value, *limits, *limits, levels).output(0)

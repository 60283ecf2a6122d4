"""Networks run by OpenVINO, from ONNX files."""

import contextlib
import functools
import math
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.errors import InputError, ModelError
from geossda.models.onnx_file import OnnxFile
from geossda.parallel.cores import cores
from geossda.runtime.choice import Runtime
from geossda.runtime.quantization import RangeMeter, quantize, ranges_of

# Windows of no more pixels run side by side, each on its share of the cores; of larger ones as
# many at once would take too much memory.
SIDE_BY_SIDE_PX = 512 * 512

# Of inputs of compiled networks that are kept: two of the bundled segmenter on two cores.
KEPT_VALUES = 4 * 3 * 512 * 512

Shapes = tuple[tuple[int, ...], ...]


class OpenvinoGraph:
    """Outputs of an ONNX file, computed by OpenVINO.

    It is compiled when it is first run, once per shape of its inputs, which are static then. What
    was compiled last stays for later graphs of this process that are the same.

    Parameters
    ----------
    file : OnnxFile
    inputs, outputs : sequence of str
        Names of the inputs that are given, in their order, and of the values that are returned.
    runtime : Runtime
    callers : int
        Threads that run windows at the same time, at most; 0 is one for each core.
    """

    def __init__(
        self,
        file: OnnxFile,
        inputs: Sequence[str],
        outputs: Sequence[str],
        runtime: Runtime,
        callers: int = 0,
    ) -> None:
        self._runtime, self._callers, self._path = runtime, callers, file.path
        self._ranges = ranges_of(file) if runtime.precision == "int8" else {}
        self._model = _read(file.path, file.sha256, tuple(inputs), tuple(outputs))
        self._identity = (file.sha256, *inputs, "to", *outputs, runtime)
        self._compiled: dict[Shapes, Requests] = {}
        self._lock = threading.Lock()

    @property
    def side_by_side(self) -> bool:
        """Whether several threads run one window each."""
        return self._runtime.device == "cpu"

    def prepare(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Prepare for inputs of some shapes in a thread; what runs them meanwhile waits for it.

        Parameters
        ----------
        shapes : sequence of tuple of int
            One for each input.
        """

        def compile_it() -> None:
            with contextlib.suppress(ModelError):  # which the first run raises
                self._requests(tuple(shapes))

        threading.Thread(target=compile_it).start()

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run arrays; see :class:`geossda.runtime.graph.Graph`."""
        requests = self._requests(tuple(each.shape for each in inputs))
        request = requests.get()
        try:
            return request(inputs)
        finally:
            requests.put(request)

    def _requests(self, shapes: Shapes) -> "Requests":
        """Return the requests of the network compiled for some shapes."""
        with self._lock:
            if shapes not in self._compiled:
                pixels = max(shape[-2] * shape[-1] for shape in shapes if len(shape) == 4)
                side_by_side = self.side_by_side and pixels <= SIDE_BY_SIDE_PX
                streams = min(self._callers or cores(), cores()) if side_by_side else 1
                self._compiled[shapes] = _KEPT.get(
                    (*self._identity, streams, cores(), shapes),
                    streams * sum(math.prod(shape) for shape in shapes),
                    lambda: self._compile(shapes, streams),
                )
            return self._compiled[shapes]

    def _compile(self, shapes: Shapes, streams: int) -> "Requests":
        openvino = _openvino()
        model = self._model.clone()
        # Never left to the machine, or pixels would differ from one to the next. What is not
        # rounded to integers stays in float32.
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if self._runtime.precision == "bfloat16" else "f32"
        }
        if self._runtime.device == "cpu":
            settings |= {
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": cores(),
                "ENABLE_CPU_PINNING": False,  # other processes may work on the same cores
            }
        device = "CPU" if self._runtime.device == "cpu" else "GPU"
        try:
            sizes = zip(model.inputs, shapes, strict=True)
            model.reshape({port: openvino.PartialShape(list(shape)) for port, shape in sizes})
            _fold(model)
            if self._ranges:
                quantize(model, self._ranges)
            compiled = _core().compile_model(model, device, settings)
        except RuntimeError as error:
            raise ModelError(f"{self._path} cannot be run by OpenVINO: {_reason(error)}") from error
        requests: Requests = queue.SimpleQueue()
        for _ in range(streams):
            requests.put(_Request(compiled))
        return requests


class _Kept:
    """What was compiled last in this process, for graphs that are opened again.

    Compiling the bundled segmenter takes as long as three windows, which a caller that segments
    file after file would wait for at each.

    Parameters
    ----------
    max_values : int
        Values of all inputs together that are kept at most, but for the last ones.
    """

    def __init__(self, max_values: int) -> None:
        self._max_values = max_values
        self._entries: OrderedDict[Hashable, tuple[int, Requests]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, values: int, compile_it: "Callable[[], Requests]") -> "Requests":
        """Return what was compiled for a key, now if it is not there.

        Parameters
        ----------
        key : hashable
        values : int
            Values of its inputs.
        compile_it : callable
        """
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][1]
        requests = compile_it()
        with self._lock:
            self._entries[key] = values, requests
            while (
                len(self._entries) > 1
                and sum(size for size, _ in self._entries.values()) > self._max_values
            ):
                self._entries.popitem(last=False)
        return requests


class _Request:
    """One run of a compiled network at a time, with memory of its own for inputs and outputs.

    Arrays are bound to it once, in one thread: OpenVINO's conversion of arrays in several threads
    at once was seen to wait for itself for ever (2026.4).

    Parameters
    ----------
    compiled : openvino.CompiledModel
    """

    def __init__(self, compiled: Any) -> None:
        openvino = _openvino()
        self._request = compiled.create_infer_request()
        self._inputs, self._outputs = (
            [np.zeros(tuple(port.shape), np.float32) for port in ports]
            for ports in (compiled.inputs, compiled.outputs)
        )
        for index, array in enumerate(self._inputs):
            self._request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        for index, array in enumerate(self._outputs):
            self._request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run arrays; bytes are scaled to 0..1."""
        for array, given in zip(self._inputs, inputs, strict=True):
            if given.dtype == np.uint8:
                np.divide(given, np.float32(255), out=array, dtype=np.float32)
            else:
                np.copyto(array, given, casting="same_kind")
        self._request.start_async()
        self._request.wait()
        return [array.copy() for array in self._outputs]


Requests = queue.SimpleQueue[_Request]
_KEPT = _Kept(KEPT_VALUES)


def range_meter(file: OnnxFile) -> RangeMeter:
    """Return what measures the ranges that a segmenter needs to run in int8.

    Parameters
    ----------
    file : OnnxFile

    Raises
    ------
    ModelError
        OpenVINO cannot read the file.
    """
    return RangeMeter(_core(), _read(file.path, file.sha256, ("image",), ("logits",)).clone())


def has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware, as OpenVINO sees it."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_intel_gpu() -> bool:
    """Return whether OpenVINO finds an Intel GPU."""
    return any(device.startswith("GPU") for device in _core().available_devices)


@functools.lru_cache(maxsize=1)
def _read_whole(path: Path, sha256: str) -> Any:
    """Return a model, of which parts share the nodes."""
    return _core().read_model(str(path))


@functools.lru_cache(maxsize=4)
def _read(path: Path, sha256: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Any:
    """Return the part of a model that leads from some inputs to some outputs, to be cloned."""
    openvino = _openvino()
    try:
        model = _read_whole(path, sha256)
        ports = {
            name: port
            for node in model.get_ordered_ops()
            for port in node.outputs()
            for name in port.get_names()
        }
        if missing := [name for name in (*inputs, *outputs) if name not in ports]:
            raise ModelError(f"{path} has no {missing[0]}, which its card promises: make it "
                             "with geossda export")  # fmt: skip
        declared = {name: port.node for port in model.outputs for name in port.get_names()}
        results = [
            declared[name] if name in declared else openvino.opset13.result(ports[name])
            for name in outputs
        ]
        return openvino.Model(results, [ports[name].get_node() for name in inputs])
    except RuntimeError as error:
        raise ModelError(f"{path} cannot be read by OpenVINO: {_reason(error)}") from error


def _fold(model: Any) -> None:
    """Compute what is constant now that shapes are, in place.

    Compiling does so too, but late: most of its time goes into passes over all that is there.
    """
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


@functools.cache
def _core() -> Any:
    try:
        return _openvino().Core()
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"OpenVINO cannot be loaded ({_reason(error)}): install it again with "
            "pip install --force-reinstall openvino"
        ) from error


# Its converter of models from other frameworks, a part of the package that may be missing.
_CONVERTER = "openvino.tools.ovc"


def _openvino() -> Any:
    """Return OpenVINO, imported without its converter.

    That one is not needed, writes to the user's home folder, and reports to a server every time
    that it is imported; a process of its own does so, which the end of this one waits for.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        import openvino

        return openvino
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]  # importing it fails
    try:
        import openvino
    finally:
        sys.modules.pop(_CONVERTER, None)  # another thread may have taken it out
    return openvino


def _reason(error: Exception) -> str:
    """Return the last line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__

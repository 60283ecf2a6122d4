"""Which runtime runs a model, on which device, in which precision.

Nothing is imported to find out, since PyTorch takes seconds to load, but where there is a GPU that
it may be able to use.
"""

import ctypes
import functools
import importlib.metadata
import importlib.util
import platform
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from geossda.config import RunsModel
from geossda.devices import TRAIN_EXTRA, best_gpu, require_address_space
from geossda.errors import InputError, ModelError
from geossda.models.model_file import ModelFiles
from geossda.progress import SILENT, Progress

# The oldest release that the tests were run with.
OLDEST_OPENVINO = (2025, 0)


class Runtime(NamedTuple):
    """What runs a network.

    Attributes
    ----------
    name : {"openvino", "torch"}
    device : {"cpu", "cuda", "mps", "intel-gpu"}
    precision : {"float32", "bfloat16", "int8"}
        Of the multiplications; inputs and outputs are float32.
    """

    name: str
    device: str
    precision: str

    @property
    def tag(self) -> str:
        """What outputs record, and what a run has to share with the one that it resumes."""
        return f"{self.name} {self.precision}"

    def settings(self) -> dict[str, Any]:
        """Return the settings that stand for this runtime and no other, for workers."""
        return {"runtime": self.name, "device": self.device, "precision": self.precision}


def choose_runtime(config: RunsModel, files: ModelFiles, progress: Progress = SILENT) -> Runtime:
    """Return what runs a model: a GPU that PyTorch can use, else OpenVINO, else PyTorch.

    Parameters
    ----------
    config : config with fields device, runtime and precision
    files : ModelFiles
        OpenVINO needs the ONNX file, PyTorch the safetensors file.
    progress : Progress
        Warned where the processor is an old one.

    Raises
    ------
    InputError
        Neither runtime is installed, or it has no such device or precision here.
    ModelError
        The runtime that is installed or asked for needs the other file of the model.
    """
    require_address_space()
    name, device = config.runtime, config.device
    if name == "auto":
        if device in ("cuda", "mps"):
            name = "torch"
        elif device == "intel-gpu":
            name = "openvino"
        elif device == "auto" and files.weights and (gpu := _gpu_of_torch()):
            name, device = "torch", gpu
        elif files.graph and openvino_version():
            name = "openvino"
        else:
            name = "torch"
            _require_torch(files)
    if name == "torch":
        return _torch(config, files, device)
    return _openvino(config, files, device, progress)


def _require_torch(files: ModelFiles) -> None:
    """Raise the error of which of the two runtimes, and which file, is missing."""
    if has_torch() and files.weights:
        return
    if files.graph and not has_torch():
        raise InputError(
            "neither OpenVINO nor PyTorch is installed, one of which runs models: install OpenVINO "
            "with pip install openvino"
        )
    if files.weights and openvino_version():
        raise ModelError(
            f"{files.weights} has no ONNX file beside it, which is needed to run it without "
            f"PyTorch: make it with geossda export where PyTorch is, or {TRAIN_EXTRA}"
        )
    raise ModelError(
        f"{files.graph or files.weights} cannot be run with what is installed: "
        "pip install openvino, or give the model's safetensors file too"
    )


def _torch(config: RunsModel, files: ModelFiles, device: str) -> Runtime:
    if not has_torch():
        raise InputError(f"PyTorch is not installed: {TRAIN_EXTRA}, or leave out --runtime and "
                         "--device")  # fmt: skip
    if not files.weights:
        raise ModelError(
            f"{files.graph} has no safetensors file beside it, which PyTorch needs: give "
            "--runtime openvino"
        )
    from geossda.devices import choose, has_bfloat16

    chosen = choose(device)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(chosen) else "float32"
    elif precision == "bfloat16" and not has_bfloat16(chosen):
        raise InputError(_NO_BFLOAT16)
    elif precision == "int8":
        raise InputError(
            "precision int8 is one of OpenVINO on a CPU: leave out --precision, or give --runtime "
            "openvino"
        )
    return Runtime("torch", chosen.type, precision)


def _openvino(config: RunsModel, files: ModelFiles, device: str, progress: Progress) -> Runtime:
    version = openvino_version()
    if not version:
        raise InputError("OpenVINO is not installed: pip install openvino, or give --runtime torch")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_OPENVINO:
        oldest = ".".join(map(str, OLDEST_OPENVINO))
        raise InputError(
            f"OpenVINO {version} is too old, {oldest} or newer is needed: "
            "pip install --upgrade openvino"
        )
    if not files.graph:
        raise ModelError(
            f"{files.weights} has no ONNX file beside it, which OpenVINO needs: make it with "
            "geossda export, or give --runtime torch"
        )
    if device in ("cuda", "mps"):
        raise InputError(f"device {device} is one of PyTorch: leave out --runtime openvino")
    from geossda.runtime.openvino_graph import has_bfloat16, has_intel_gpu

    if device == "intel-gpu" and not has_intel_gpu():
        raise InputError(
            "OpenVINO finds no Intel GPU on this machine: install its driver, or use --device auto"
        )
    device = "cpu" if device == "auto" else device
    if device == "cpu":
        _check_processor(progress)
    precision, on_cpu = config.precision, device == "cpu"
    if precision == "auto":
        if on_cpu and has_vnni() and files.calibrated:
            precision = "int8"
        else:
            precision = "bfloat16" if on_cpu and has_bfloat16() else "float32"
    elif precision == "bfloat16" and not (on_cpu and has_bfloat16()):
        raise InputError(_NO_BFLOAT16)
    elif precision == "int8" and not (on_cpu and (has_vnni() or not processor_flags())):
        raise InputError(
            "this device has no instructions for int8 (VNNI), without which it is slow and less "
            "exact: leave out --precision"
        )
    return Runtime("openvino", device, precision)


_NO_BFLOAT16 = (
    "this device does not compute in bfloat16: use --precision auto, which is float32 here"
)


def has_torch() -> bool:
    """Return whether PyTorch is installed; it is not loaded."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    return importlib.util.find_spec("torch") is not None


@functools.cache
def openvino_version() -> str:
    """Return the version of OpenVINO that is installed, empty if none; it is not loaded."""
    if "openvino" in sys.modules and sys.modules["openvino"] is None:
        return ""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _gpu_of_torch() -> str | None:
    """Return the GPU that PyTorch can use, None if there is none or no PyTorch."""
    if not has_torch() or not _may_have_gpu():
        return None
    return best_gpu()


@functools.cache
def _may_have_gpu() -> bool:
    """Return whether a driver reports a GPU of a make that builds of PyTorch exist for."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if Path("/dev/kfd").exists():  # AMD
        return True
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return not (driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))) and bool(
            count.value
        )
    except (OSError, AttributeError):
        return False


def _check_processor(progress: Progress) -> None:
    """Warn of x86 processors without AVX2, on which OpenVINO is slow, and refuse older ones.

    Raises
    ------
    InputError
        The processor lacks SSE4.2, without which OpenVINO does not run.
    """
    flags = processor_flags()
    if not flags:
        return
    if "sse4_2" not in flags:
        raise InputError(
            "this processor lacks SSE4.2, which OpenVINO needs: use another machine, or "
            "--runtime torch"
        )
    if "avx2" not in flags:
        progress.warn(
            "this processor has no AVX2: predictions take several times as long as on newer ones"
        )


def has_vnni() -> bool:
    """Return whether the processor is known to multiply and add 8-bit integers at once."""
    return not processor_flags().isdisjoint(("avx512_vnni", "avx_vnni", "amx_int8"))


@functools.cache
def processor_flags() -> frozenset[str]:
    """Return what an x86 processor can do, as Linux lists it; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line[1].split()) if line else frozenset()

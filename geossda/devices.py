"""The device and the precision that PyTorch computes in; it is imported when it is first needed."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geossda.errors import InputError

if TYPE_CHECKING:
    import torch

# Bytes that a small network takes besides the libraries, on a CPU.
ADDRESS_SPACE = 1_500_000_000

TRAIN_EXTRA = "install PyTorch with pip install 'geossda[train]'"


def require_torch(what: str) -> None:
    """Check that PyTorch and what comes with it can be imported.

    Parameters
    ----------
    what : str
        What needs it, for the message.

    Raises
    ------
    InputError
        It is not installed, or cannot be loaded.
    """
    try:
        import segmentation_models_pytorch
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError(f"{what} needs PyTorch ({error}): {TRAIN_EXTRA}") from error
    del segmentation_models_pytorch


def best_gpu() -> str | None:
    """Return the GPU that PyTorch uses if it may choose: CUDA, else MPS, else None."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


def choose(device: str) -> "torch.device":
    """Return the device of a name; ``"auto"`` is CUDA if available, else MPS, else the CPU.

    Raises
    ------
    InputError
        This machine, or this build of PyTorch, has no such device; or a limit on address space is
        too low.
    """
    require_address_space()
    import torch

    if device == "auto":
        return torch.device(best_gpu() or "cpu")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device, False):
        raise InputError(f"PyTorch finds no device {device} on this machine: use --device auto")
    return torch.device(device)


def require_address_space() -> None:
    """Check that a limit on address space leaves room for networks.

    Where it does not, libraries in C++ end the process without a word.

    Raises
    ------
    InputError
        The limit, which ``ulimit -v`` sets, is too low.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    statistics = Path("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or not statistics.exists():
        return
    taken = int(statistics.read_text().split()[0]) * resource.getpagesize()
    if limit - taken < ADDRESS_SPACE:
        raise InputError(
            f"the address space is limited to {limit / 1e9:.1f} GB (ulimit -v), of which libraries "
            f"take {taken / 1e9:.1f} GB and networks need {ADDRESS_SPACE / 1e9:.1f} GB more: raise "
            "the limit"
        )


def has_bfloat16(device: "torch.device") -> bool:
    """Return whether the hardware multiplies bfloat16 faster than float32.

    CPUs do with AMX or AVX-512 BF16 (measured with the latter: 2 times faster inference, 1.5 times
    faster training); without them bfloat16 is emulated and slower.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    )


def mixed_precision(device: "torch.device") -> contextlib.AbstractContextManager[Any]:
    """Return autocast to bfloat16 where the hardware has it, for training."""
    import torch

    if has_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def depthwise_in_float32(network: "torch.nn.Module", device: "torch.device") -> None:
    """Replace the forward pass of depthwise convolutions by one in float32, for training on a CPU.

    Their backward pass in bfloat16 has no fast kernel on CPUs (measured: 3 to 18 times slower than
    float32 with strides); all other layers gain from bfloat16.

    Parameters
    ----------
    network : Module
        Changed in place.
    device : device
        Nothing is changed on others than CPUs.
    """
    import torch

    if device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = _in_float32(module.forward)  # type: ignore[method-assign, assignment]


def _in_float32(
    forward: "Callable[[torch.Tensor], torch.Tensor]",
) -> "Callable[[torch.Tensor], torch.Tensor]":
    import torch

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    return run

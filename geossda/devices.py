"""The device and the precision that networks run in."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from geossda.errors import InputError


def choose(device: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is CUDA if available, else MPS, else the CPU.

    Raises
    ------
    InputError
        This machine, or this build of PyTorch, has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device, False):
        raise InputError(f"device {device} is not available on this machine: use --device auto")
    return torch.device(device)


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return autocast to bfloat16 where the hardware multiplies it faster than float32.

    CPUs do with AMX or AVX-512 BF16 (measured with the latter: 2 times faster inference, 1.5 times
    faster training); without them bfloat16 is emulated and slower.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    if device.type == "cpu" and (
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    ):
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def depthwise_in_float32(network: torch.nn.Module, device: torch.device) -> None:
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
    if device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = _in_float32(module.forward)  # type: ignore[method-assign, assignment]


def _in_float32(
    forward: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    return run

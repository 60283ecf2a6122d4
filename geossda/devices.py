"""Which device to compute on, and in which precision."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from geossda.errors import InputError


def choose(device: str) -> torch.device:
    """Give the device for a name; ``"auto"`` takes CUDA, then Apple's, then the CPU."""
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
        raise InputError(f"device {device} is not available here: use --device auto")
    return torch.device(device)


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Give bfloat16 autocast where the hardware multiplies it faster than float32.

    On CPUs that is so with AMX or AVX-512 BF16 (measured with the latter: 2 times when
    predicting, 1.5 times when training); without them bfloat16 is emulated and slower.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    if device.type == "cpu" and (
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    ):
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


def depthwise_in_float32(network: torch.nn.Module, device: torch.device) -> None:
    """Keep depthwise convolutions out of bfloat16 when training on a CPU.

    Their bfloat16 backward pass has no fast kernel there (measured: 3 to 18 times slower than
    float32 with strides); all other layers gain from bfloat16.
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

"""Networks run by PyTorch."""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.runtime.choice import Runtime
from geossda.runtime.graph import DeviceMemoryError


class TorchGraph:
    """A module of PyTorch on its device.

    Parameters
    ----------
    module : torch.nn.Module
        Takes tensors, returns one or several.
    runtime : Runtime
    exclusive : bool
        Whether callers wait for each other unless each computes on one core: a network on all
        cores waits at every layer for the slowest of them.
    """

    def __init__(
        self, module: torch.nn.Module, runtime: Runtime, *, exclusive: bool = False
    ) -> None:
        self.device = torch.device(runtime.device)
        self.module = module.to(self.device).to(memory_format=torch.channels_last).eval()
        self._bfloat16 = runtime.precision == "bfloat16"
        self._lock = threading.Lock() if exclusive and self.side_by_side else None

    @property
    def side_by_side(self) -> bool:
        """Whether several threads run one window each."""
        return self.device.type == "cpu"

    def prepare(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Prepare nothing, since PyTorch compiles nothing.

        Parameters
        ----------
        shapes : sequence of tuple of int
            One for each input.
        """

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run arrays; see :class:`geossda.runtime.graph.Graph`."""
        lock = None if torch.get_num_threads() == 1 else self._lock
        try:
            with lock or contextlib.nullcontext(), self._precision():
                results = self.module(*map(self._tensor, inputs))
            results = [results] if isinstance(results, torch.Tensor) else results
            return [result.float().cpu().numpy() for result in results]
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise DeviceMemoryError from error

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16)

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
        tensor = tensor.float().div_(255) if tensor.dtype == torch.uint8 else tensor.float()
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

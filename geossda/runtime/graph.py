"""The protocol of what runs a network: arrays in, arrays out."""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class Graph(Protocol):
    """A network that is ready to run.

    Attributes
    ----------
    side_by_side : bool
        Whether several threads run one window each, as on a CPU; otherwise windows go in batches.
    """

    @property
    def side_by_side(self) -> bool: ...  # noqa: D102

    def prepare(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Prepare for inputs of some shapes, beside other work, where that takes time.

        Parameters
        ----------
        shapes : sequence of tuple of int
            One for each input.
        """

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run arrays, and return arrays of float32; safe to call from several threads.

        Parameters
        ----------
        inputs : sequence of array
            In the order of the network's inputs. Bytes are scaled to 0..1.

        Raises
        ------
        DeviceMemoryError
            A GPU's memory does not hold what they need.
        """


class DeviceMemoryError(Exception):
    """A GPU's memory does not hold a batch."""

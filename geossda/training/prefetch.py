"""Training samples drawn in threads, a few batches ahead of the optimizer."""

from collections.abc import Callable, Generator
from typing import TypeVar

from geossda.parallel.ordered_map import ordered_map

READER_THREADS = 2
BATCHES_AHEAD = 3
S = TypeVar("S")


def prefetch(
    draw: Callable[[int, int], S] | None, first: int, steps: int, batch: int
) -> Generator[list[S], None, None]:
    """Yield the samples of batches `first` to `steps` - 1.

    Closing the generator waits for no more than the samples being drawn.

    Parameters
    ----------
    draw : callable or None
        ``draw(step, place)`` returns sample `place` of batch `step`; called from several threads.
        Without it every batch is empty.
    first, steps : int
        Index of the first batch, and the number of all.
    batch : int
        Samples per batch.

    Yields
    ------
    list
        `batch` samples.
    """
    if draw is None:
        yield from ([] for _ in range(first, steps))
        return
    yield from ordered_map(
        lambda step: [draw(step, place) for place in range(batch)],
        range(first, steps),
        READER_THREADS,
        ahead=BATCHES_AHEAD - 1,
    )

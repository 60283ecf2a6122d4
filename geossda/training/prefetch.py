"""Training samples drawn in threads, a few batches ahead of the optimizer."""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
        ``draw(step, place)`` returns sample `place` of batch `step`. Without it every batch is
        empty.
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
    with ThreadPoolExecutor(READER_THREADS) as readers:

        def submit(step: int) -> list[Future[S]]:
            return [readers.submit(draw, step, place) for place in range(batch)]

        pending = [submit(step) for step in range(first, min(first + BATCHES_AHEAD, steps))]
        try:
            for step in range(first, steps):
                samples = [future.result() for future in pending.pop(0)]
                if step + BATCHES_AHEAD < steps:
                    pending.append(submit(step + BATCHES_AHEAD))
                yield samples
        finally:
            readers.shutdown(cancel_futures=True)

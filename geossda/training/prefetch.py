"""Samples drawn in threads, a few batches ahead of the optimizer."""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READERS = 2
AHEAD = 3
S = TypeVar("S")


def ahead(
    draw: Callable[[int, int], S], first: int, steps: int, batch: int
) -> Generator[list[S], None, None]:
    """Give the samples of batches `first` to `steps` - 1, each drawn by ``draw(step, place)``.

    Closing the generator waits for no more than the samples being drawn.
    """
    with ThreadPoolExecutor(READERS) as readers:

        def ask(step: int) -> list[Future[S]]:
            return [readers.submit(draw, step, place) for place in range(batch)]

        asked = [ask(step) for step in range(first, min(first + AHEAD, steps))]
        try:
            for step in range(first, steps):
                samples = [future.result() for future in asked.pop(0)]
                if step + AHEAD < steps:
                    asked.append(ask(step + AHEAD))
                yield samples
        finally:
            readers.shutdown(cancel_futures=True)

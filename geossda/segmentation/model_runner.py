"""Windows run through a model: one per thread on a CPU, in batches on a GPU."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from geossda.errors import InputError
from geossda.parallel.cores import cores, cores_each
from geossda.parallel.ordered_map import ordered_map, results_in_order
from geossda.raster.windows import Window
from geossda.runtime.graph import DeviceMemoryError


class Read(NamedTuple):
    """A window as the model takes it.

    Attributes
    ----------
    window : Window
        Ends where the raster does.
    image : (bands, patch, patch) uint8 array
        Filled with 0 past the window.
    valid : (height, width) bool array
        Of the window.
    """

    window: Window
    image: NDArray[np.uint8]
    valid: NDArray[np.bool_]


Reader = Callable[[int, int], Read]
Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Ran = tuple[Read, NDArray[np.float32] | None]


class Network(Protocol):
    """(N, bands, patch, patch) images to (N, patch, patch) logits.

    Attributes
    ----------
    side_by_side : bool
        Whether several threads run one window each, as on a CPU; otherwise windows go in batches.
    """

    @property
    def side_by_side(self) -> bool: ...  # noqa: D102

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]: ...  # noqa: D102


def run_windows(
    places: Iterable[tuple[int, int]],
    read: Reader,
    network: Network,
    batch: int,
) -> Iterator[Ran]:
    """Read windows and run the model on them, in order.

    Parameters
    ----------
    places : iterable of (row, col)
    read : callable
        (row, col) to a window; called from several threads.
    network : Network
    batch : int
        Windows at a time: on a CPU as many threads that share its cores, each with one window.

    Yields
    ------
    Read
    (patch, patch) float32 array or None
        Probability; None where no pixel is valid.
    """
    run = _in_threads if network.side_by_side else _in_batches
    return run(places, read, lambda images: _probabilities(network(images)), batch)


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logistic function of logits."""
    # Beyond 80 the result is 0 all the same, and the exponential would overflow.
    return np.asarray(1 / (1 + np.exp(np.minimum(-logits, 80))), np.float32)


def _in_threads(
    places: Iterable[tuple[int, int]], read: Reader, run: Run, batch: int
) -> Iterator[Ran]:
    """Run one window per thread, each on its share of the cores.

    A model on all cores waits at each layer for the slowest of them, which is the one that reads
    or blends beside it. Independent threads keep every core busy.
    """

    def ran(reading: Future[Read]) -> Ran:
        item = reading.result()
        return item, run(item.image[None])[0] if item.valid.any() else None

    count = min(batch, cores())
    # Each reader opens files of its own and decodes by itself what neighbouring windows share.
    readers = ThreadPoolExecutor(max(1, count // 2))
    with (
        cores_each(-(-cores() // count)) as begin,
        readers,
        ThreadPoolExecutor(count, initializer=begin) as runners,
    ):
        try:
            yield from results_in_order(
                lambda place: runners.submit(ran, readers.submit(read, *place)),
                places,
                4 * count,
                result=lambda future: future.result(),
            )
        finally:
            for pool in (runners, readers):  # no thread may wait for a window that is not read
                pool.shutdown(wait=pool is runners, cancel_futures=True)


def _in_batches(
    places: Iterable[tuple[int, int]], read: Reader, run: Run, batch: int
) -> Iterator[Ran]:
    """Read in threads, a batch or two ahead of the model."""
    fitting = Fitting(batch)
    for group in _groups(places, read, batch):
        used = [item.image for item in group if item.valid.any()]
        predicted = iter(fitting(run, np.stack(used)) if used else ())
        yield from ((item, next(predicted) if item.valid.any() else None) for item in group)


def _groups(places: Iterable[tuple[int, int]], read: Reader, batch: int) -> Iterator[list[Read]]:
    """Yield windows grouped by batch, read in threads at most two batches ahead."""
    group: list[Read] = []
    used = 0
    reading = ordered_map(lambda place: read(*place), places, ahead=2 * batch)
    with contextlib.closing(reading):
        for item in reading:
            group.append(item)
            used += bool(item.valid.any())
            if used == batch or len(group) == 4 * batch:  # wide nodata must not pile up
                yield group
                group, used = [], 0
    if group:
        yield group


class Fitting:
    """Runs batches of one size, and of half of it once a GPU's memory did not hold them.

    Parameters
    ----------
    batch : int
        Windows a batch to begin with.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __call__(self, run: Run, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run images batch by batch; the last one is filled up, so that shapes never change.

        Raises
        ------
        InputError
            Not even one image fits.
        """
        results: list[NDArray[np.float32]] = []
        place = 0
        while place < len(images):
            part = images[place : place + self.batch]
            filled = np.zeros((self.batch, *images.shape[1:]), images.dtype)
            filled[: len(part)] = part
            try:
                results.append(run(filled)[: len(part)])
            except DeviceMemoryError as error:
                if self.batch == 1:
                    raise InputError(
                        f"the GPU's memory does not hold one window of {images.shape[2]} px: close "
                        "other programs that use it, or give --device cpu"
                    ) from error
                self.batch //= 2
                continue
            place += len(part)
        return np.concatenate(results)

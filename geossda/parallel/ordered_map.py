"""Maps whose items are worked on at once and whose results come in order."""

import collections
import contextlib
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from geossda.parallel.cores import cores

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F")
_END: Any = object()
# With fewer items to spread, threads are done before processes have started.
_FEW_ITEMS = 4


def results_in_order(
    submit: Callable[[T], F],
    items: Iterable[T],
    ahead: int,
    *,
    result: Callable[[F], R],
    pending: collections.deque[F] | None = None,
) -> Generator[R, None, None]:
    """Yield the results of submitted items, in the items' order.

    Parameters
    ----------
    submit : callable
        Hands an item to a pool and returns its future.
    items : iterable
        Drawn while results are yielded.
    ahead : int
        How many items may be submitted beyond the one whose result is yielded next; bounds
        memory.
    result : callable
        Waits for a future and returns what it holds.
    pending : deque, optional
        Holds the futures that are not yielded yet, for a caller that cancels them.
    """
    pending = collections.deque() if pending is None else pending
    for item in items:
        pending.append(submit(item))
        if len(pending) > ahead:
            yield result(pending[0])
            pending.popleft()
    while pending:
        yield result(pending[0])
        pending.popleft()


def ordered_map(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int | None = None,
    *,
    ahead: int | None = None,
    initializer: Callable[[], None] | None = None,
) -> Generator[R, None, None]:
    """Yield ``function(item)`` for every item, in order, computed in threads of its own.

    Closing the generator cancels what has not begun and waits for the rest.

    Parameters
    ----------
    function : callable
        Called from several threads.
    items : iterable
        Drawn in the calling thread.
    workers : int, optional
        Number of threads; all available cores by default.
    ahead : int, optional
        How many items may be submitted beyond the next result; `workers` by default.
    initializer : callable, optional
        Called once in each thread before its first item.
    """
    workers = workers or cores()
    with ThreadPoolExecutor(workers, initializer=initializer) as pool:
        try:
            yield from results_in_order(
                lambda item: pool.submit(function, item),
                items,
                workers if ahead is None else ahead,
                result=lambda future: future.result(),
            )
        finally:
            pool.shutdown(cancel_futures=True)


class Helpers(Protocol):
    """Other processes, for pure Python work that threads of one interpreter cannot share."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield the results of a picklable function, in the items' order."""

    def stop(self) -> None:
        """Cancel what is not done; whoever waits for it gets an error."""


class OrderedPool:
    """Threads for the heavy steps of a pipeline, as many as cores may be used.

    A context manager; leaving it cancels what has not begun. Meanwhile OpenCV has no threads of
    its own, so that `workers` is the number of busy cores.

    Parameters
    ----------
    workers : int, optional
        All available cores by default. With 1, everything runs in the calling thread.
    helpers : Helpers, optional
        Processes that :meth:`spread` uses instead of threads.
    """

    def __init__(self, workers: int | None = None, helpers: Helpers | None = None) -> None:
        self.workers = workers or cores()
        self._helpers = helpers
        self._pool: ThreadPoolExecutor | None = None
        self._drawer: ThreadPoolExecutor | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "OrderedPool":
        self._stack.enter_context(_opencv_in_one_thread())
        _keep_freed_memory()
        if self.workers > 1:
            self._drawer = ThreadPoolExecutor(1)
            self._pool = ThreadPoolExecutor(self.workers)
            for threads in (self._drawer, self._pool):  # the drawer may wait for the others
                self._stack.callback(threads.shutdown, cancel_futures=True)
        if self._helpers is not None:  # the drawer may wait for them
            self._stack.callback(self._helpers.stop)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield ``function(item)`` for every item, in order, computed in the pool's threads."""
        if self._pool is None:
            return map(function, items)
        pool = self._pool
        return results_in_order(
            lambda item: pool.submit(function, item),
            items,
            self.workers,
            result=lambda future: future.result(),
        )

    def spread(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Apply a function like :meth:`map`, in helper processes; it is pickled.

        They are those given, else processes of this machine, unless there is one worker or little
        to do.
        """
        from geossda.parallel.helper_processes import HelperProcesses, can_start

        if self._helpers is not None:
            return self._helpers.map(function, items)
        drawn = iter(items)
        few = list(itertools.islice(drawn, _FEW_ITEMS))
        items = itertools.chain(few, drawn)
        if self._pool is None or len(few) < _FEW_ITEMS or not can_start():
            return self.map(function, items)
        helpers = HelperProcesses(self.workers)
        self._stack.callback(helpers.stop)
        return helpers.map(function, items)

    def ahead(self, items: Iterable[T]) -> Iterator[T]:
        """Draw items in a thread, two ahead of their use; at most one call per pool."""
        if self._drawer is None:
            return iter(items)
        drawer, source = self._drawer, iter(items)
        pending = collections.deque(drawer.submit(next, source, _END) for _ in range(2))

        def drawn() -> Iterator[T]:
            while (item := pending.popleft().result()) is not _END:
                pending.append(drawer.submit(next, source, _END))
                yield item

        return drawn()


def _keep_freed_memory() -> None:
    """Keep freed blocks in the process rather than return them, which threads queue for.

    glibc raises its threshold for that to the size of the largest block ever freed, at most 32 MB
    (mallopt(3), M_MMAP_THRESHOLD); elsewhere this does nothing.
    """
    import numpy as np

    np.empty(31 << 20, np.uint8)


_lock = threading.Lock()
_users, _threads_before = 0, 0


@contextlib.contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """Keep OpenCV to one thread; the setting is the process's, so its users are counted."""
    import cv2

    global _users, _threads_before
    with _lock:
        _users += 1
        if _users == 1:
            _threads_before = cv2.getNumThreads()
            cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                cv2.setNumThreads(_threads_before)

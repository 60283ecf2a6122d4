"""Threads that share a pipeline's work and keep its order."""

import collections
import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

T = TypeVar("T")
R = TypeVar("R")
_END: Any = object()


def ordered_map(
    function: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    begin: Callable[[], None] | None = None,
) -> Generator[R, None, None]:
    """Apply a function to items in threads; results come in order, at most `workers` + 1 ahead.

    Each thread calls `begin` first, if given.
    """
    with ThreadPoolExecutor(workers, initializer=begin) as pool:
        ahead: collections.deque[Future[R]] = collections.deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class Helpers(Protocol):
    """Other processes, for what keeps the interpreter busy."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Apply a function that can be pickled to items; the results come in order."""

    def stop(self) -> None:
        """Give up what is not done; who waits for it is told by an error."""


class OrderedPool:
    """As many threads for the heavy steps of a pipeline as cores may be taken.

    To be entered as a context; leaving it gives up what is not begun. Meanwhile OpenCV has no
    threads of its own, so that `workers` is the number of cores.

    Parameters
    ----------
    workers : int, optional
        All cores by default. With one everything is done in the calling thread.
    helpers : Helpers, optional
        They do what is given to :meth:`spread`.
    """

    def __init__(self, workers: int | None = None, helpers: Helpers | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._helpers = helpers
        self._pool: ThreadPoolExecutor | None = None
        self._drawer: ThreadPoolExecutor | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "OrderedPool":
        self._open.enter_context(_opencv_in_one_thread())
        _keep_memory()
        if self.workers > 1:
            self._drawer = ThreadPoolExecutor(1)
            self._pool = ThreadPoolExecutor(self.workers)
            for threads in (self._drawer, self._pool):  # the drawer may wait for the others
                self._open.callback(threads.shutdown, cancel_futures=True)
        if self._helpers is not None:  # whom the drawer may wait for
            self._open.callback(self._helpers.stop)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Apply a function to items, several at once; the results come in order."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: collections.deque[Future[R]] = collections.deque()
        for item in items:
            waiting.append(self._pool.submit(function, item))
            while waiting and (len(waiting) > self.workers or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def spread(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Do the same as :meth:`map`, by helpers if there are any; the function can be pickled."""
        return (self._helpers or self).map(function, items)

    def ahead(self, items: Iterable[T]) -> Iterator[T]:
        """Begin at once to draw items, in a thread, a few ahead of who uses them; once a crew."""
        if self._drawer is None:
            return iter(items)
        drawer, source = self._drawer, iter(items)
        waiting = collections.deque(drawer.submit(next, source, _END) for _ in range(2))

        def drawn() -> Iterator[T]:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(drawer.submit(next, source, _END))
                yield item

        return drawn()


def _keep_memory() -> None:
    """Have memory of blocks used again rather than given back and asked for, which takes turns.

    glibc does so with pieces up to the largest that was ever freed, of 32 MB at most (mallopt(3),
    M_MMAP_THRESHOLD); elsewhere this does nothing.
    """
    np.empty(31 << 20, np.uint8)


_lock = threading.Lock()
_users, _threads_before = 0, 0


@contextlib.contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """Keep OpenCV from starting threads; the setting is the process's, so users are counted."""
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

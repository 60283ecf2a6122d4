"""Processes of this machine for pure Python work, which threads of one interpreter cannot share.

A helper is another Python that reads pickled work from a pipe and writes pickled results to
another. Unlike `multiprocessing`, it neither forks this process, which has threads and open files,
nor imports the script that runs, which would start itself again if it had no main guard. When this
process ends, however it ends, its helpers read the end of their pipe, and end too.
"""

import contextlib
import os
import pickle
import queue
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from geossda.parallel.ordered_map import results_in_order

T = TypeVar("T")
R = TypeVar("R")

# More share no further work worth the memory of each, about 0.1 GB.
_MOST = 8
# Items submitted per helper, so that none waits for the next.
_AHEAD = 2
# What a helper runs. Modules are searched for where this process finds them.
_PROGRAM = """
import warnings
warnings.simplefilter("ignore")
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from geossda.parallel.helper_processes import serve
serve()
"""
_PYTHON = re.compile(r"(python|pypy)w?[\d.]*", re.IGNORECASE)


def can_start() -> bool:
    """Return whether this process runs in a Python that can be started again.

    In a program that has Python built in, such as QGIS on Windows, ``sys.executable`` is that
    program.
    """
    program = Path(sys.executable or "")
    name = program.stem if program.suffix == ".exe" else program.name
    return not hasattr(sys, "frozen") and _PYTHON.fullmatch(name) is not None


class HelperProcesses:
    """Helpers that share the items of one map.

    Parameters
    ----------
    count : int
        How many to start, at most; each keeps one core busy.
    """

    def __init__(self, count: int) -> None:
        self._count = min(count, _MOST)
        self._started: list[_Helper] = []
        self._stopped = False

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """Yield ``function(item)`` for every item, in order.

        What a helper fails at is computed in this process, and all that it would have had to do
        after that: it may have run out of memory, or lack what only this process can open, such as
        files in memory. Errors are those of this process.

        Parameters
        ----------
        function : callable
            Picklable, as are items and results; sent to each helper once.
        items : iterable
            Drawn a few ahead.
        """
        packed = pickle.dumps(function)
        with contextlib.suppress(OSError):  # as many as can be started
            while len(self._started) < self._count:
                self._started.append(_Helper(packed))
        idle: queue.SimpleQueue[_Helper | None] = queue.SimpleQueue()
        for helper in (*self._started, *[None] * (self._count - len(self._started))):
            idle.put(helper)

        def compute(item: T) -> R:
            helper = idle.get()
            try:
                if helper is not None:
                    return helper.compute(item)  # type: ignore[no-any-return]
            except _FailedError:
                if self._stopped:
                    raise
                helper = None
            finally:
                idle.put(helper)
            return function(item)

        with ThreadPoolExecutor(self._count) as threads:
            try:
                yield from results_in_order(
                    lambda item: threads.submit(compute, item),
                    items,
                    _AHEAD * self._count,
                    result=lambda future: future.result(),
                )
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                self.stop()

    def stop(self) -> None:
        """Stop all helpers, also those at work; whoever waits for one gets an error."""
        self._stopped = True
        for helper in self._started:
            helper.stop()


class _FailedError(Exception):
    """A helper has ended, or failed at an item."""


class _Helper:
    """One process; used by one thread at a time.

    Parameters
    ----------
    function : bytes
        What it computes, pickled.
    """

    def __init__(self, function: bytes) -> None:
        # A terminal sends Ctrl-C to all processes of a group; this one acts upon it.
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
            apart = {"creationflags": flags}
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],  # nothing of the working directory
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr else subprocess.DEVNULL,  # a closed one would be reused
            env={**os.environ, **one_thread},
            **apart,
        )
        self._items: Any = self._process.stdin
        self._results: Any = self._process.stdout
        with contextlib.suppress(OSError):  # lost already, as the first item will find
            self._send(pickle.dumps(sys.path))
            self._send(function)

    def compute(self, item: Any) -> Any:
        """Return the function's result for an item.

        Raises
        ------
        _FailedError
            The function has raised an error there, or the helper has ended.
        """
        try:
            self._send(pickle.dumps(item))
            done, result = pickle.load(self._results)  # noqa: S301  (of our own process)
        except (OSError, EOFError, pickle.UnpicklingError, ValueError) as lost:
            raise _FailedError from lost
        if not done:
            raise _FailedError
        return result

    def stop(self) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._items, self._results):
            with contextlib.suppress(OSError):  # what was not sent yet
                pipe.close()

    def _send(self, pickled: bytes) -> None:
        self._items.write(pickled)
        self._items.flush()


def serve() -> None:
    """Compute what comes through standard input, until it ends: what a helper runs."""
    import cv2

    cv2.setNumThreads(1)
    # What is printed by mistake must not lie between results.
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Whoever started it may end at any time.
    with contextlib.suppress(EOFError, BrokenPipeError, pickle.UnpicklingError):
        function = pickle.load(sys.stdin.buffer)  # noqa: S301  (of whoever started it)
        while True:
            item = pickle.load(sys.stdin.buffer)  # noqa: S301
            try:
                answer = pickle.dumps((True, function(item)))
            except Exception:  # which computing it again will tell
                answer = pickle.dumps((False, None))
            results.write(answer)
            results.flush()

"""The processes that share a run's work: none but this one, or the workers of a Dask cluster."""

import collections
import contextlib
import functools
import logging
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from geossda.config import HarmonizeConfig, SegmentConfig
from geossda.errors import GeossdaError, InputError, OutputError
from geossda.parallel.cores import cores
from geossda.parallel.ordered_map import results_in_order

T = TypeVar("T")
R = TypeVar("R")

# Items per worker that wait or are finished before their turn: one can take as long as many others.
AHEAD_PER_WORKER = 16
_SETTINGS = {
    "distributed.admin.low-level-log-length": 0,
    # Dask has workers give memory back at once: they would spend a third of their time on
    # asking for it again, image by image.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}


class Workers:
    """The processes that share a run's work: this one alone, or those of a Dask cluster.

    To be entered as a context. A cluster is started, or connected to, when it is first needed.

    Parameters
    ----------
    config : HarmonizeConfig or SegmentConfig
        Says how many workers, or which scheduler.
    """

    def __init__(self, config: HarmonizeConfig | SegmentConfig) -> None:
        self._processes, self._scheduler = config.workers, config.scheduler
        self._open = contextlib.ExitStack()
        self._waiting: collections.deque[Any] = collections.deque()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @property
    def alone(self) -> bool:
        """Whether this process does all of the work."""
        return self._processes == 1 and not self._scheduler

    @functools.cached_property
    def client(self) -> Any:
        """The cluster's client.

        Raises
        ------
        InputError
            The scheduler cannot be reached.
        """
        return self._open.enter_context(_client(self._processes, self._scheduler))

    @property
    def count(self) -> int:
        """How many workers there are."""
        return max(1, len(self.client.nthreads())) if self._scheduler else self._processes

    @property
    def threads(self) -> int:
        """Threads for each of them; 0 is as many as a worker was given."""
        return 0 if self._scheduler else max(1, cores() // self._processes)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Apply a function to items, several at once; the results come in order.

        Parameters
        ----------
        function : callable
            Can be pickled; sent with every item, and unpacked once a worker, its rasters open.
        items : iterable
            Drawn a few ahead.

        Raises
        ------
        GeossdaError
            As the function raises it, or workers were lost again and again.
        """
        packed = pickle.dumps(function)
        try:
            yield from results_in_order(
                lambda item: self.client.submit(sent, _apply, packed, item, pure=False),
                items,
                AHEAD_PER_WORKER * self.count,
                result=result,
                pending=self._waiting,
            )
        finally:
            self._waiting.clear()  # Dask drops tasks whose futures are gone

    def stop(self) -> None:
        """Give up what :meth:`map` waits for, which raises an error where it does."""
        if self._waiting:
            give_up(self.client, self._waiting)


def give_up(client: Any, futures: Iterable[Any]) -> None:
    """Have workers leave what is not done."""
    if client.status == "running":  # a lost scheduler has given up already
        client.cancel(list(futures), force=True)


def result(future: Any) -> Any:
    """Wait for what a worker makes.

    Raises
    ------
    GeossdaError
        As the work raises it; or workers were lost again and again, or the scheduler was.
    """
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise OutputError(
            "workers were lost again and again, out of memory perhaps: use fewer --workers, or "
            "lower --tile or --batch"
        ) from error
    except FutureCancelledError as error:
        if error.reason != "scheduler-connection-lost":
            raise
        raise OutputError(
            "the Dask scheduler does not answer any more: see whether it and its workers still run"
        ) from error


def sent(function: Callable[..., R], *arguments: Any) -> R:
    """Do something on a worker; its errors can travel back."""
    try:
        return function(*arguments)
    except GeossdaError as error:
        failed = type(error)(*error.args)
    # Without what it came from: GDAL's errors cannot travel.
    raise failed


def _apply(packed: bytes, item: Any) -> Any:
    return _unpacked(packed)(item)


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = pickle.loads(packed)  # noqa: S301  (by Dask, as all it sends)
    return function


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    import dask
    import distributed  # noqa: F401  (first: it brings levels and settings of its own)

    # Lost workers and the like are told of in one line, or made good for.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        client = _connected(scheduler) if scheduler else _started(workers, stack)
        # Not as a context, which belongs to the thread that enters it.
        stack.callback(client.close)
        yield client


def _connected(scheduler: str) -> Any:
    from distributed import Client

    try:
        return Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["no answer"])[0]
        raise InputError(
            f"scheduler {scheduler} cannot be reached ({reason}): check --scheduler"
        ) from error


def _started(workers: int, stack: contextlib.ExitStack) -> Any:
    from distributed import Client, LocalCluster

    with _quietly():
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        )
    return Client(cluster, set_as_default=False)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Have processes that begin here warn of nothing and not hear Ctrl-C.

    A terminal sends it to all processes of a program: this one acts upon it, and the others would
    only tell of it in many lines.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    told = os.environ.get("PYTHONWARNINGS")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    resource_tracker.ensure_running()  # starting it later would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if told is None:
            del os.environ["PYTHONWARNINGS"]

"""Worker processes that share a run: none but this one, or the workers of a Dask cluster."""

import collections
import contextlib
import functools
import logging
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from geossda.config import HarmonizeConfig, SegmentConfig
from geossda.errors import GeossdaError, OutputError
from geossda.parallel.cores import cores
from geossda.parallel.ordered_map import results_in_order
from geossda.parallel.scheduler import connected, silence

T = TypeVar("T")
R = TypeVar("R")

# Items per worker that wait or are finished before their turn: one can take as long as many others.
AHEAD_PER_WORKER = 16
_SETTINGS: dict[str, Any] = {
    "distributed.admin.low-level-log-length": 0,
    # Dask has workers give memory back at once: they would spend a third of their time on
    # asking for it again, image by image.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    # Nothing is served over HTTP, where anybody on the machine could ask.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class Workers:
    """The processes that share a run: this one alone, or the workers of a Dask cluster.

    A context manager. A cluster is started, or connected to, when it is first needed.

    Parameters
    ----------
    config : HarmonizeConfig or SegmentConfig
        Says how many workers, or which scheduler.
    """

    def __init__(self, config: HarmonizeConfig | SegmentConfig) -> None:
        self._processes, self._scheduler = config.workers, config.scheduler
        self._stack = contextlib.ExitStack()
        self._pending: collections.deque[Any] = collections.deque()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

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
        return self._stack.enter_context(_client(self._processes, self._scheduler))

    @property
    def count(self) -> int:
        """The number of workers."""
        return max(1, len(self.client.nthreads())) if self._scheduler else self._processes

    @property
    def threads(self) -> int:
        """Threads for each of them; 0 is as many as a worker was given."""
        return 0 if self._scheduler else max(1, cores() // self._processes)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield ``function(item)`` for every item, in order, computed by the workers.

        Parameters
        ----------
        function : callable
            Picklable; sent with every item and unpickled once per worker, its rasters open.
        items : iterable
            Drawn a few ahead.

        Raises
        ------
        GeossdaError
            As the function raises it, or workers were lost repeatedly.
        """
        packed = pickle.dumps(function)
        try:
            yield from results_in_order(
                lambda item: self.client.submit(sent, _apply, packed, item, pure=False),
                items,
                AHEAD_PER_WORKER * self.count,
                result=result,
                pending=self._pending,
            )
        finally:
            self._pending.clear()  # Dask drops tasks whose futures are gone

    def stop(self) -> None:
        """Cancel what :meth:`map` waits for, which raises an error there."""
        if self._pending:
            give_up(self.client, self._pending)


def give_up(client: Any, futures: Iterable[Any]) -> None:
    """Cancel tasks that are not done.

    Parameters
    ----------
    client : distributed.Client
    futures : iterable of distributed.Future
    """
    if client.status == "running":  # a lost scheduler has cancelled them
        client.cancel(list(futures), force=True)


def result(future: Any) -> Any:
    """Wait for a worker's result and return it.

    Raises
    ------
    GeossdaError
        As the work raises it.
    OutputError
        Workers were lost repeatedly, or the scheduler was.
    """
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise OutputError(
            "workers were lost repeatedly, perhaps out of memory: use fewer --workers, or "
            "lower --tile or --batch"
        ) from error
    except FutureCancelledError as error:
        if error.reason != "scheduler-connection-lost":
            raise
        raise OutputError(
            "the Dask scheduler no longer responds: check that it and its workers are running"
        ) from error


def sent(function: Callable[..., R], *arguments: Any) -> R:
    """Run a function on a worker and return its result; its errors can be pickled."""
    try:
        return function(*arguments)
    except GeossdaError as error:
        failed = type(error)(*error.args)
    # Without its cause: GDAL's errors cannot be pickled.
    raise failed


def _apply(packed: bytes, item: Any) -> Any:
    return _unpacked(packed)(item)


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    function: Callable[[Any], Any] = pickle.loads(packed)  # noqa: S301  (by Dask, as all it sends)
    return function


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    silence()
    import dask

    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_SETTINGS))
        client = connected(scheduler) if scheduler else _started(workers, stack)
        # Not as a context, which belongs to the thread that enters it.
        stack.callback(client.close)
        yield client


def _started(workers: int, stack: contextlib.ExitStack) -> Any:
    """Return a client of a new cluster on this machine, which only this process can talk to."""
    from distributed import Client, LocalCluster, Security

    # Whoever can talk to a scheduler can have it run code, and every user of the machine can
    # connect to its port: both sides must show a certificate that is made for this run.
    security = Security.temporary()
    with _quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the HTTP port, which serves nothing, may be taken
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls",
                security=security,
                dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        )
    return Client(cluster, security=security, set_as_default=False)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Start processes in this block without warnings, and so that Ctrl-C does not reach them.

    A terminal sends Ctrl-C to all processes of a program: this one acts upon it, and the others
    would only print tracebacks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    warnings_before = os.environ.get("PYTHONWARNINGS")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # starting it later would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if warnings_before is None:
            del os.environ["PYTHONWARNINGS"]

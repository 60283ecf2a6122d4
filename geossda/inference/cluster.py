"""Parts made here, or by worker processes of a Dask cluster.

What travels to a worker is a recipe: paths and settings. It opens the rasters and loads the model
itself, once, takes what was measured from the folder of the parts, and writes parts there.
"""

import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from multiprocessing import resource_tracker
from typing import Any, Protocol

from geossda.config import HarmonizeConfig, SegmentConfig
from geossda.errors import GeossdaError, InputError, OutputError
from geossda.inference.threads import limit_threads
from geossda.progress import SILENT, Progress
from geossda.raster.parts import Parts

# Tasks a worker, so that none waits long for the last one.
TASKS_A_WORKER = 4
_TURN = threading.Lock()


class Work(Protocol):
    """Makes the parts of a raster."""

    @property
    def parts(self) -> Parts: ...  # noqa: D102

    def steps(self, index: int) -> int:
        """Count the steps of progress that a part is."""

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Make these parts, which follow from the top; advances by their steps."""


Opener = Callable[[Any], Work]


def make_parts(
    work: Work,
    opened: Opener,
    recipe: Hashable,
    config: HarmonizeConfig | SegmentConfig,
    stage: str,
    progress: Progress = SILENT,
) -> None:
    """Make the parts that are missing.

    Parameters
    ----------
    work : Work
        Does it in this process.
    opened, recipe
        A function of a module, and what it needs to make the same work in another process.
    config : HarmonizeConfig or SegmentConfig
        Says how many workers, or which scheduler.
    stage : str
        Its name for the progress.
    progress : Progress

    Raises
    ------
    GeossdaError
        As the work raises it, wherever; or the scheduler cannot be reached, or workers were lost
        again and again.
    """
    every, missing = range(len(work.parts.layout.strips)), work.parts.missing()
    progress.stage(stage, sum(map(work.steps, every)))
    if done := sum(work.steps(index) for index in set(every) - set(missing)):
        progress.advance(done)
    if not missing:
        return
    if config.workers == 1 and not config.scheduler:
        work.make(missing, progress)
        return
    with _client(config.workers, config.scheduler) as client:
        threads = 0 if config.scheduler else max(1, (os.cpu_count() or 1) // config.workers)
        count = config.workers if not config.scheduler else max(1, len(client.nthreads()))
        _distribute(client, work, opened, recipe, _runs(missing, count), threads, progress)


def _runs(missing: list[int], workers: int) -> list[list[int]]:
    """Cut into runs of parts that follow each other, a few for every worker."""
    longest = max(1, len(missing) // (TASKS_A_WORKER * workers))
    runs: list[list[int]] = []
    for index in missing:
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) < longest:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _distribute(
    client: Any,
    work: Work,
    opened: Opener,
    recipe: Hashable,
    runs: list[list[int]],
    threads: int,
    progress: Progress,
) -> None:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {client.submit(_do, opened, recipe, run, threads, pure=False): run for run in runs}
    try:
        for future in as_completed(futures):
            future.result()
            progress.advance(sum(map(work.steps, futures[future])))
    except KilledWorker as error:
        raise OutputError(
            "workers were lost again and again, out of memory perhaps: use fewer --workers, or "
            "lower --tile or --batch"
        ) from error
    finally:
        client.cancel(list(futures), force=True)


def _do(opened: Opener, recipe: Hashable, indexes: list[int], threads: int) -> None:
    """Make parts on a worker, one task at a time: each takes all the cores the worker has."""
    try:
        with _TURN:
            if not threads:
                from distributed import get_worker

                threads = get_worker().state.nthreads
            work = _open_once(opened, recipe)
            limit_threads(threads)
            missing = set(work.parts.missing())
            work.make([index for index in indexes if index in missing])
        return
    except GeossdaError as error:
        failed = type(error)(*error.args)
    # Without what it came from: GDAL's errors cannot travel.
    raise failed


@functools.lru_cache(maxsize=1)
def _open_once(opened: Opener, recipe: Hashable) -> Work:
    return opened(recipe)


@contextlib.contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    # Lost workers and the like are told of in one line, or made good for.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.admin.low-level-log-length": 0}))
        if scheduler:
            try:
                yield stack.enter_context(Client(scheduler, timeout=10))
            except (OSError, ValueError) as error:
                if isinstance(error, InputError | OutputError):
                    raise
                reason = (str(error).splitlines() or ["no answer"])[0]
                raise InputError(
                    f"scheduler {scheduler} cannot be reached ({reason}): check --scheduler"
                ) from error
            return
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
        yield stack.enter_context(Client(cluster))


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

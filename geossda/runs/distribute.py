"""Parts made here, or by worker processes of a Dask cluster.

What travels to a worker is a recipe: paths and settings. It opens the rasters and loads the model
itself, once, takes what was measured from the folder of the parts, and writes parts there.
"""

import functools
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

from geossda.parallel.cores import limit_cores
from geossda.parallel.dask_workers import Workers, give_up, result, sent
from geossda.progress import SILENT, Progress
from geossda.runs.shards import Shards

# Tasks per worker, so that none waits long for the last one.
TASKS_PER_WORKER = 4
_TURN = threading.Lock()


class Work(Protocol):
    """Makes the parts of a raster.

    Attributes
    ----------
    least_run : int
        Parts that are better made together than by two workers, since each run of parts begins
        with work that was also done for the part above.
    """

    least_run: ClassVar[int]

    @property
    def parts(self) -> Shards: ...  # noqa: D102

    def steps(self, index: int) -> int:
        """Count the steps of progress that a part is."""

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Make these parts, which follow from the top; advances by their steps."""


Opener = Callable[[Any], Work]


def make_shards(
    work: Work,
    opened: Opener,
    recipe: Hashable,
    workers: Workers,
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
    workers : Workers
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
    if workers.alone:
        work.make(missing, progress)
        return
    share = -(-len(missing) // workers.count)
    longest = max(1, share // TASKS_PER_WORKER, min(work.least_run, share))
    _distribute(workers, work, opened, recipe, consecutive(missing, longest), progress)


def consecutive(indexes: Iterable[int], longest: int | None = None) -> list[list[int]]:
    """Return ascending indexes split into runs without gaps, of at most `longest` each."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) != longest:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _distribute(
    workers: Workers,
    work: Work,
    opened: Opener,
    recipe: Hashable,
    runs: list[list[int]],
    progress: Progress,
) -> None:
    from distributed import as_completed

    client, threads = workers.client, workers.threads
    futures = {
        client.submit(sent, _do, opened, recipe, run, threads, pure=False): run for run in runs
    }
    try:
        for future in as_completed(futures, loop=client.loop):
            result(future)
            progress.advance(sum(map(work.steps, futures[future])))
    finally:
        give_up(client, futures)


def _do(opened: Opener, recipe: Hashable, indexes: list[int], threads: int) -> None:
    """Make parts on a worker, one task at a time: each takes all the cores the worker has."""
    with _TURN:
        if not threads:
            from distributed import get_worker

            threads = get_worker().state.nthreads
        work = _open_once(opened, recipe)
        limit_cores(threads)
        missing = set(work.parts.missing())
        work.make([index for index in indexes if index in missing])


@functools.lru_cache(maxsize=1)
def _open_once(opened: Opener, recipe: Hashable) -> Work:
    return opened(recipe)

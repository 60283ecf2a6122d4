"""Distribution of shards: computed in this process, or by worker processes of a Dask cluster.

What travels to a worker is a task of paths and settings. The worker opens the rasters and loads
the model itself, once, reads the saved state from the shards' folder, and writes shards there.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from geossda.config import HarmonizeConfig, SegmentConfig
from geossda.parallel.cores import limit_cores
from geossda.parallel.dask_workers import Workers, give_up, result, sent
from geossda.progress import SILENT, Progress
from geossda.runs.shard_layout import Layout
from geossda.runs.shards import Shards

# Tasks per worker, so that none waits long for the last one.
TASKS_PER_WORKER = 4
_one_at_a_time = threading.Lock()
ConfigT = TypeVar("ConfigT", HarmonizeConfig, SegmentConfig)


@dataclass(frozen=True)
class ShardTask(Generic[ConfigT]):
    """What a worker needs to know to make shards.

    Attributes
    ----------
    paths : tuple of str
        Sources: absolute paths, or URLs.
    config : HarmonizeConfig or SegmentConfig
        With the method that ``auto`` stands for.
    folder : str
        Of the shards and the saved state.
    key : str
        Differs if the state does, which workers keep in memory.
    """

    paths: tuple[str, ...]
    config: ConfigT
    folder: str
    key: str

    def shards(self, layout: Layout) -> Shards:
        """Return the shards in the task's folder."""
        return Shards(Path(self.folder), layout)


class ShardJob(Protocol):
    """Makes the shards of a raster.

    Attributes
    ----------
    min_run : int
        Consecutive shards that one worker makes better than two, since each run of shards begins
        with work that was also done for the shard above.
    """

    min_run: ClassVar[int]

    @property
    def shards(self) -> Shards: ...  # noqa: D102

    def steps(self, index: int) -> int:
        """Return the number of progress steps of a shard."""

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Write shards, given in ascending order; advances by their steps."""


Opener = Callable[[ShardTask[Any]], ShardJob]


def make_shards(
    job: ShardJob,
    opener: Opener,
    task: ShardTask[Any],
    workers: Workers,
    stage: str,
    progress: Progress = SILENT,
) -> None:
    """Make the shards that are missing.

    Parameters
    ----------
    job : ShardJob
        Makes them in this process.
    opener, task
        A function of a module and its argument, which return the same job in another process.
    workers : Workers
    stage : str
        Name of the progress stage.
    progress : Progress

    Raises
    ------
    GeossdaError
        As the job raises it, wherever it runs; or the scheduler cannot be reached, or workers were
        lost repeatedly.
    """
    indexes, missing = range(len(job.shards.layout.strips)), job.shards.missing()
    progress.stage(stage, sum(map(job.steps, indexes)))
    if done := sum(job.steps(index) for index in set(indexes) - set(missing)):
        progress.advance(done)
    if not missing:
        return
    if workers.alone:
        job.make(missing, progress)
        return
    share = -(-len(missing) // workers.count)
    longest = max(1, share // TASKS_PER_WORKER, min(job.min_run, share))
    _distribute(workers, job, opener, task, consecutive(missing, longest), progress)


def consecutive(indexes: Iterable[int], longest: int | None = None) -> list[list[int]]:
    """Split ascending indexes into runs without gaps.

    Parameters
    ----------
    indexes : iterable of int
    longest : int, optional
        Most indexes of a run.
    """
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) != longest:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _distribute(
    workers: Workers,
    job: ShardJob,
    opener: Opener,
    task: ShardTask[Any],
    runs: list[list[int]],
    progress: Progress,
) -> None:
    """Send runs of shards to workers and wait for them."""
    from distributed import as_completed

    client, threads = workers.client, workers.threads
    futures = {
        client.submit(sent, _make_on_worker, opener, task, run, threads, pure=False): run
        for run in runs
    }
    try:
        for future in as_completed(futures, loop=client.loop):
            result(future)
            progress.advance(sum(map(job.steps, futures[future])))
    finally:
        give_up(client, futures)


def _make_on_worker(opener: Opener, task: ShardTask[Any], indexes: list[int], threads: int) -> None:
    """Make shards on a worker, one task at a time: each takes all the cores the worker has."""
    with _one_at_a_time:
        if not threads:
            from distributed import get_worker

            threads = get_worker().state.nthreads
        job = _open_once(opener, task)
        limit_cores(threads)
        missing = set(job.shards.missing())
        job.make([index for index in indexes if index in missing])


@functools.lru_cache(maxsize=1)
def _open_once(opener: Opener, task: ShardTask[Any]) -> ShardJob:
    return opener(task)

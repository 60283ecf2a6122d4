"""A run: one output that a command makes in shards, and how far earlier attempts have come."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

from geossda._version import __version__
from geossda.config import NOT_IN_PROVENANCE, HarmonizeConfig, SegmentConfig, settings_of
from geossda.parallel.dask_workers import Workers
from geossda.progress import Stages
from geossda.raster.description import provenance
from geossda.runs.distribute import ConfigT, Opener, ShardJob, ShardTask, make_shards
from geossda.runs.fingerprint import absolute, digest, was_written_by
from geossda.runs.lock import output_lock
from geossda.runs.shard_folder import (
    check_shards_folder,
    is_resumable,
    open_shards,
    remove_leftovers,
    shards_folder,
)
from geossda.runs.shard_layout import Layout
from geossda.runs.shards import Shards
from geossda.staging import PathLike, atomic_write, check_output
from geossda.urls import file_name


def timings_file(output: PathLike) -> Path:
    """Return the file for time and memory of the stages of an output's run, beside it."""
    output = Path(output)
    return output.with_name(f"{output.name}.stages.json")


@dataclass(frozen=True)
class Run(Generic[ConfigT]):
    """One output of a command.

    Attributes
    ----------
    command : str
    sources : tuple of str
        Paths and URLs of the rasters it is made from.
    output : Path
        Its shards lie in a hidden folder beside it.
    inputs : dict
        What the pixels follow from besides command and version, as JSON takes it.
    config : HarmonizeConfig or SegmentConfig
    progress : Stages
    """

    command: str
    sources: tuple[str, ...]
    output: Path
    inputs: Mapping[str, Any]
    config: ConfigT
    progress: Stages

    @property
    def key(self) -> dict[str, Any]:
        """What the pixels depend on: shards of another key are not used."""
        return {"version": __version__, "command": self.command, **self.inputs}

    @cached_property
    def resumes(self) -> bool:
        """Whether an earlier attempt with the same key was interrupted, as seen at first."""
        return self.config.resume and is_resumable(self.output, self.key)

    def tags(self, **entries: Any) -> dict[str, str]:
        """Return the tags of the output's provenance, with further entries."""
        return provenance(
            self.command,
            **entries,
            settings=settings_of(self.config, NOT_IN_PROVENANCE),
            sources=[file_name(path) for path in self.sources],
            key=digest(self.key),
        )

    def save_timings(self) -> None:
        """Write time and memory of the stages beside the output, if that is asked for.

        A file of its own: in the output, they would make no two runs alike.
        """
        if self.config.timings:
            with atomic_write(timings_file(self.output)) as part:
                part.write_text(json.dumps(self.progress.record(), indent=2) + "\n")

    def has_finished(self, path: Path, tags: Mapping[str, str], *, resumes: bool) -> bool:
        """Return whether an earlier attempt has finished a file; else check that it may be written.

        Parameters
        ----------
        path : Path
            The output, or another raster that is written along with it.
        tags : dict
            As the file would be given.
        resumes : bool
            Whether this or a related run resumes: otherwise the file is not taken for finished.

        Raises
        ------
        OutputExistsError
            The file exists, is not this run's, and may not be replaced.
        """
        if resumes and was_written_by(path, tags):
            self.progress.note(f"{path} is finished already")
            return True
        if path.exists():
            check_output(path, overwrite=self.config.overwrite)
        remove_leftovers(path)
        return False

    @contextlib.contextmanager
    def open(self, layout: Layout) -> Iterator["OpenRun[ConfigT]"]:
        """Open the shards and the workers of the run, under a lock.

        The shards are removed when the block ends well, and kept for the next attempt otherwise.

        Raises
        ------
        OutputError
            Another process is making the same output, or the disk has no room for it.
        """
        config, progress = self.config, self.progress
        with output_lock(self.output):
            # Another process may have finished it while this one measured a style.
            replaces = config.overwrite or getattr(config, "append", False)
            check_output(self.output, overwrite=replaces)
            with (
                open_shards(
                    self.output, layout, self.key, resume=config.resume, progress=progress
                ) as shards,
                Workers(config) as workers,
            ):
                yield OpenRun(self, shards, workers)


@dataclass(frozen=True)
class OpenRun(Generic[ConfigT]):
    """A run whose shards are open.

    Attributes
    ----------
    run : Run
    shards : Shards
    workers : Workers
    """

    run: Run[ConfigT]
    shards: Shards
    workers: Workers

    def compute_once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return state that was saved under a name, or compute and save it."""
        return self.shards.compute_once(name, compute)

    def make_shards(self, job: ShardJob, opener: Opener, stage: str) -> None:
        """Make the shards that are missing; see :func:`geossda.runs.distribute.make_shards`.

        Parameters
        ----------
        job : ShardJob
        opener : callable
            Returns the same job in another process.
        stage : str
            Name of the progress stage.
        """
        run = self.run
        config = run.config
        if config.area is not None:  # a worker may run in another folder
            config = replace(config, area=absolute(config.area))
        task = ShardTask(
            tuple(map(absolute, run.sources)),
            config,
            absolute(self.shards.folder),
            digest(run.key),
        )
        make_shards(job, opener, task, self.workers, stage, run.progress)


def check_outputs(
    outputs: Iterable[PathLike],
    config: HarmonizeConfig | SegmentConfig,
    *,
    runs: Sequence[PathLike],
    inputs: Sequence[PathLike],
) -> None:
    """Check, before any work is done, that outputs may be written.

    Parameters
    ----------
    outputs : iterable of path
    config : HarmonizeConfig or SegmentConfig
    runs : sequence of path
        Outputs whose shards an interrupted attempt may have left: then files that such an attempt
        has finished may exist.
    inputs : sequence of path
        Files that must not be written over.

    Raises
    ------
    OutputError
        See :func:`geossda.staging.check_output`.
    """
    for path in runs:
        check_shards_folder(path)
    interrupted = config.resume and any(os.path.isdir(shards_folder(path)) for path in runs)
    for path in outputs:
        finished = interrupted and was_written_by(path)
        check_output(path, overwrite=config.overwrite or finished, inputs=inputs)

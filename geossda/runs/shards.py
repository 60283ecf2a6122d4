"""Shards: a raster computed strip by strip, each in its own file, so that a run can be resumed.

The files lie in a hidden folder beside the output. One that is there with its checksum is
finished, so the folder is its own journal: whatever ends a run, only the strips under way are
lost.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio

from geossda.errors import OutputError, counted
from geossda.progress import SILENT, Progress
from geossda.raster.cog import RasterWriter, new_working_raster, write_cog
from geossda.raster.description import Description, describe_dataset
from geossda.raster.handles import OWN_FILES
from geossda.raster.source import gdal_environment
from geossda.runs.checksums import is_intact, publish, remove
from geossda.runs.shard_layout import Layout
from geossda.runs.state import load_state, save_state
from geossda.staging import PathLike


@dataclass(frozen=True)
class Shards:
    """The shards of a raster in their folder.

    Attributes
    ----------
    folder : Path
    layout : Layout
    """

    folder: Path
    layout: Layout

    def path(self, index: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{index:06d}.tif"

    def missing(self) -> list[int]:
        """Return the indexes of the shards that are still to be computed."""
        names = set(os.listdir(self.folder))
        indexes = range(len(self.layout.strips))
        return [index for index in indexes if self.path(index).name not in names]

    def remove_damaged(self) -> int:
        """Remove shards that do not have their checksum; return how many there were."""
        missing = set(self.missing())
        finished = (self.path(i) for i in range(len(self.layout.strips)) if i not in missing)
        damaged = [path for path in finished if not is_intact(path)]
        for path in damaged:
            remove(path)
        return len(damaged)

    @contextlib.contextmanager
    def writing(self, index: int) -> Iterator[RasterWriter]:
        """Write one shard; the writer takes windows counted from the strip's first pixel.

        Raises
        ------
        OutputError
            The shard cannot be written.
        """
        layout, strip = self.layout, self.layout.strips[index]
        # Not by process id: workers of several machines write into one folder.
        temporary = self.folder / f"{index:06d}.{uuid.uuid4().hex[:12]}.tmp.tif"
        try:
            with new_working_raster(
                temporary,
                layout.grid[strip.rows, strip.cols],
                layout.count,
                layout.dtype,
                validity=layout.validity,
                nodata=layout.nodata,
                block_rows=min(512, -(-strip.height // 16) * 16),
            ) as writer:
                yield writer
            publish(temporary, self.path(index))
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write {temporary}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def compute_once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return state that was saved under a name, or compute and save it.

        Parameters
        ----------
        name : str
        compute : callable
            Returns the state: dicts and lists of arrays, texts, numbers and None.
        """
        path = self.folder / f"{name}.npz"
        if not is_intact(path):
            save_state(path, compute())
        return self.load(name)

    def load(self, name: str) -> Any:
        """Return the state that was saved under a name."""
        return load_state(self.folder / f"{name}.npz")

    def vrt(
        self, description: Description | None = None, tags: Mapping[str, str] | None = None
    ) -> Path:
        """Return a VRT that shows the shards as one raster.

        Raises
        ------
        OutputError
            Shards are missing.
        """
        if missing := self.missing():
            raise OutputError(
                f"{counted(len(missing), 'shard')} are not in {self.folder}: workers and "
                "this program must see the same folder"
            )
        path, layout = self.folder / "whole.vrt", self.layout
        # GDAL keeps ground control points only where there is no transform.
        by_transform = description is None or not description.gcps
        names = [self.path(index).name for index in range(len(layout.strips))]
        path.write_text(layout.vrt(names, by_transform=by_transform))
        OWN_FILES.add(str(path))
        with gdal_environment(), rasterio.open(path, "r+") as dataset:
            describe_dataset(
                dataset, description or Description(), tags or {}, layout.count, layout.validity
            )
        return path

    def assemble(
        self,
        output: PathLike,
        *,
        description: Description | None = None,
        tags: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """Write the shards as one COG, whole or not at all.

        Parameters
        ----------
        output : path
        description : Description, optional
        tags : dict, optional
            Added to those of the description.
        options : dict, optional
            Creation options.
        progress : Progress
        """
        write_cog(self.vrt(description, tags), output, options=options, progress=progress)

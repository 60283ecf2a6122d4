"""A raster made strip by strip, each a file of its own, so that a run can end and go on.

The files lie in a hidden folder beside the output. One that is there is finished, so the folder is
its own journal; whatever ends a run, strips under way are all that is lost.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from geossda.errors import OutputError
from geossda.progress import SILENT, Progress
from geossda.raster.cog import (
    Description,
    RasterWriter,
    describe_dataset,
    new_working_raster,
    write_cog,
)
from geossda.raster.source import gdal_environment
from geossda.raster.validity import Validity
from geossda.raster.windows import Window
from geossda.runs.lock import locked
from geossda.runs.state import load_state, save_state
from geossda.staging import PathLike, check_space

# A strip is so many rows, or several times that where the raster is narrow: small enough to lose,
# large enough that starting one costs nothing against it.
ROWS, LEAST_PX = 1024, 2**20
GO_ON = "run the same command again to go on"
_KEY, _LOCK = "key.json", "lock"


def strips_of(shape: tuple[int, int], rows: int = ROWS) -> tuple[Window, ...]:
    """Cut a raster into strips of whole rows, multiples of `rows`; by its shape alone."""
    height, width = shape
    step = rows * max(1, -(-LEAST_PX // (rows * width)))
    return tuple(Window(row, 0, min(step, height - row), width) for row in range(0, height, step))


@dataclass(frozen=True)
class Layout:
    """What a raster made of parts is.

    Attributes
    ----------
    grid : GeoBox
    count : int
        Bands, alpha not counted.
    dtype : numpy dtype
    validity, nodata
        As :func:`geossda.raster.cog.new_cog` takes them.
    strips : tuple of Window
        One a part, from the top.
    """

    grid: GeoBox
    count: int
    dtype: np.dtype[Any]
    validity: Validity
    nodata: float | None
    strips: tuple[Window, ...]


@dataclass(frozen=True)
class Shards:
    """The folder of a raster's parts.

    Attributes
    ----------
    folder : Path
    layout : Layout
    """

    folder: Path
    layout: Layout

    def path(self, index: int) -> Path:
        """Name the file of a part."""
        return self.folder / f"{index:06d}.tif"

    def missing(self) -> list[int]:
        """Give the numbers of the parts that are still to be made."""
        there = set(os.listdir(self.folder))
        every = range(len(self.layout.strips))
        return [index for index in every if self.path(index).name not in there]

    @contextlib.contextmanager
    def writing(self, index: int) -> Iterator[RasterWriter]:
        """Make one part; it takes windows counted from the strip's first pixel."""
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
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # a power cut must not leave a name without its pixels
            os.replace(temporary, self.path(index))
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"cannot write {temporary}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def compute_once(self, name: str, make: Callable[[], Any]) -> Any:
        """Give numbers that were saved under a name, or make and save them.

        Numbers are dicts and lists of arrays, texts, floats and None.
        """
        path = self.folder / f"{name}.npz"
        if not path.exists():
            save_state(path, make())
        return self.load(name)

    def load(self, name: str) -> Any:
        """Give the numbers that were saved under a name."""
        return load_state(self.folder / f"{name}.npz")

    def vrt(
        self, description: Description | None = None, tags: Mapping[str, str] | None = None
    ) -> Path:
        """Write the parts as one raster, which holds no pixels itself; gives its path."""
        if missing := self.missing():
            raise OutputError(
                f"{len(missing)} parts are not in {self.folder}: workers and this program must "
                "see the same folder"
            )
        path, layout = self.folder / "whole.vrt", self.layout
        # GDAL keeps ground control points only where there is no transform.
        by_transform = description is None or not description.gcps
        path.write_text(
            _vrt(
                layout,
                [self.path(i).name for i in range(len(layout.strips))],
                by_transform=by_transform,
            )
        )
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
        """Put the parts together as a COG, whole or not at all."""
        write_cog(self.vrt(description, tags), output, options=options, progress=progress)


def shards_folder(output: PathLike) -> Path:
    """Name the folder of an output's parts."""
    return Path(output).with_name(f".{Path(output).name}.parts")


def is_resumable(output: PathLike, key: Mapping[str, Any]) -> bool:
    """Tell whether a run of the same key has been interrupted."""
    return _same_key(shards_folder(output), key)


def load_if_matching(output: PathLike, key: Mapping[str, Any], name: str) -> Any:
    """Give the numbers an interrupted run of the same key has saved under a name, or None."""
    folder = shards_folder(output)
    path = folder / f"{name}.npz"
    return load_state(path) if _same_key(folder, key) and path.exists() else None


@contextlib.contextmanager
def open_shards(
    output: PathLike,
    layout: Layout,
    key: Mapping[str, Any],
    *,
    resume: bool,
    progress: Progress = SILENT,
) -> Iterator[Shards]:
    """Open the folder of an output's parts; it goes away when the block ends well.

    If the block ends early, what is finished stays, to go on with; but for `resume` False, which
    neither takes up nor leaves anything.

    Parameters
    ----------
    output : path
    layout : Layout
    key : mapping
        What the pixels follow from, as JSON takes it. Parts made from another one are removed.
    resume : bool
    progress : Progress

    Raises
    ------
    OutputError
        Another process is making the same output, or the disk has no room for it.
    """
    folder = shards_folder(output)
    with contextlib.ExitStack() as held:
        if resume or folder.exists():
            _mkdir(folder)
            held.enter_context(
                locked(folder / _LOCK, f"{output} is being made by another process: wait for it")
            )
        remove_leftovers(Path(output))
        if not resume:
            if folder.exists():
                _clear(folder)
                held.callback(_remove, folder)
            temporary = tempfile.TemporaryDirectory(
                dir=folder.parent, prefix=f".geossda-{os.getpid()}-"
            )
            parts = Shards(Path(held.enter_context(temporary)), layout)
            _check_room(parts)
            yield parts
            return
        if not _same_key(folder, key):
            if _finished(folder):
                progress.note(f"{output}: inputs or settings have changed, so it is begun anew")
            _clear(folder)
        for stray in folder.glob("*.tmp.*"):
            stray.unlink(missing_ok=True)
        parts = Shards(folder, layout)
        done = len(layout.strips) - len(parts.missing())
        try:
            _check_room(parts)
            if done:
                progress.note(f"{output}: going on, {done} of {len(layout.strips)} parts are done")
            (folder / _KEY).write_text(json.dumps(key))
            yield parts
        except BaseException as error:
            if _finished(folder):
                error.add_note(GO_ON)
            else:
                held.callback(_remove, folder)
            raise
        held.callback(_remove, folder)


def _check_room(parts: Shards) -> None:
    """Check for room for what is missing, and for the result beside it."""
    layout = parts.layout
    each = (layout.count + (layout.validity == "alpha")) * layout.dtype.itemsize
    missing = sum(
        layout.strips[index].height * layout.strips[index].width for index in parts.missing()
    )
    whole = int(layout.grid.shape.y) * int(layout.grid.shape.x)
    check_space(parts.folder, (missing + whole // 2) * each)


def _mkdir(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error


def _same_key(folder: Path, key: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads((folder / _KEY).read_text()) == json.loads(json.dumps(key)))
    except (OSError, ValueError):
        return False


def _finished(folder: Path) -> bool:
    return any(not path.name.endswith(".tmp.tif") for path in folder.glob("*.tif")) or any(
        folder.glob("*.npz")
    )


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(output: Path) -> None:
    """Remove what killed processes have left under :func:`geossda.staging.staged`'s names."""
    name = re.compile(
        rf"\.{re.escape(output.stem)}\.(\d+)\.part{re.escape(output.suffix)}.*", re.DOTALL
    )
    if os.name != "posix":
        return  # elsewhere there is no asking for a process without ending it
    for path in output.parent.glob(".*.part*"):
        found = name.fullmatch(path.name)
        if found and path.is_file() and not _lives(int(found[1])):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _vrt(layout: Layout, names: list[str], *, by_transform: bool) -> str:
    """Write a VRT of strips below each other."""
    height, width = int(layout.grid.shape.y), int(layout.grid.shape.x)
    bits = layout.dtype.itemsize * 8
    kind = {"u": "UInt", "i": "Int", "f": "Float"}[layout.dtype.kind] + str(bits)
    kind = "Byte" if kind == "UInt8" else kind

    def band(number: str, band_type: str, source: str) -> str:
        sources = "".join(
            "<SimpleSource>"
            f'<SourceFilename relativeToVRT="1">{escape(name)}</SourceFilename>'
            f"<SourceBand>{source}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{strip.height}"/>'
            f'<DstRect xOff="0" yOff="{strip.row}" xSize="{width}" ySize="{strip.height}"/>'
            "</SimpleSource>"
            for name, strip in zip(names, layout.strips, strict=True)
        )
        nodata = ""
        if layout.validity == "nodata" and number:
            nodata = f"<NoDataValue>{layout.nodata!r}</NoDataValue>"
        return (
            f'<VRTRasterBand dataType="{band_type}"{number} blockXSize="512" blockYSize="512">'
            f"{nodata}{sources}</VRTRasterBand>"
        )

    count = layout.count + (layout.validity == "alpha")
    bands = "".join(band(f' band="{i}"', kind, str(i)) for i in range(1, count + 1))
    if layout.validity == "mask":
        bands += f"<MaskBand>{band('', 'Byte', 'mask,1')}</MaskBand>"
    crs = layout.grid.crs
    srs = f"<SRS>{escape(crs.to_wkt())}</SRS>" if crs else ""
    numbers = ", ".join(repr(float(x)) for x in layout.grid.transform.to_gdal())
    transform = f"<GeoTransform>{numbers}</GeoTransform>" if by_transform else ""
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{srs}'
        f"{transform}{bands}</VRTDataset>"
    )

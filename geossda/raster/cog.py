"""Write rasters tile by tile, then as a cloud-optimized GeoTIFF; whole or not at all."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
from numpy.typing import NDArray
from rasterio.enums import MaskFlags

from geossda.errors import OutputError, counted
from geossda.progress import SILENT, Progress
from geossda.raster.creation_options import COG_OPTIONS, with_cores
from geossda.raster.description import Description, describe_dataset
from geossda.raster.grid import Grid
from geossda.raster.source import GDAL_ERRORS, GDAL_SETTINGS, gdal_reason
from geossda.raster.validity import Validity
from geossda.raster.windows import Window
from geossda.staging import atomic_write, check_space

# Of uncompressed rasters.
_BLOCK_COLS = 512


class RasterWriter:
    """Takes windows in any order, from any thread.

    Attributes
    ----------
    nodata : float or None
        The value that stands for nodata, if a value does.
    """

    def __init__(self, dataset: Any, validity: Validity, nodata: float | None) -> None:
        self._dataset = dataset
        self._validity = validity
        self.nodata = nodata if validity == "nodata" else None
        self._lock = threading.Lock()
        self._open = True

    def close(self) -> None:
        """Wait for the write under way; later ones, of threads not yet stopped, do nothing."""
        with self._lock:
            self._open = False

    def write(
        self,
        window: Window,
        pixels: NDArray[Any],
        valid: NDArray[np.bool_],
        alpha: NDArray[Any] | None = None,
    ) -> None:
        """Write one window.

        Parameters
        ----------
        window : Window
        pixels : (bands, height, width) array
        valid : (height, width) bool array
            Where it is False, nodata is written, the mask is set or alpha is 0.
        alpha : (height, width) array, optional
            Opacity to write as it is.

        Raises
        ------
        OutputError
            GDAL cannot write: the disk is full, for example.
        """
        where = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        if self._validity == "nodata" and not valid.all():
            pixels = np.where(valid, pixels, np.asarray(self.nodata, pixels.dtype))
        try:
            with self._lock:
                if not self._open:
                    return
                if self._validity == "alpha":
                    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
                    opacity = valid * full if alpha is None else np.where(valid, alpha, 0)
                    pixels = np.concatenate([pixels, opacity[None].astype(pixels.dtype)])
                self._dataset.write(pixels, window=where)
                if self._validity == "mask":
                    # A setting of the calling thread, which may not be the one that opened.
                    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                        self._dataset.write_mask(valid, window=where)
        except GDAL_ERRORS as error:
            raise OutputError(f"cannot write {self._dataset.name}: {gdal_reason(error)}") from error


@contextlib.contextmanager
def new_working_raster(
    path: str | os.PathLike[str],
    grid: Grid,
    count: int,
    dtype: np.dtype[Any],
    *,
    validity: Validity = "all",
    nodata: float | None = None,
    description: Description | None = None,
    tags: Mapping[str, str] | None = None,
    block_rows: int = 512,
) -> Iterator[RasterWriter]:
    """Open an uncompressed tiled raster, which takes windows in any order at the disk's speed.

    It is written in place: for a folder that goes away.

    Parameters
    ----------
    path, grid, count, dtype, validity, nodata, description, tags
        As for :func:`new_cog`.
    block_rows : int
        Height of its blocks in pixels, a multiple of 16.
    """
    bands = count + (validity == "alpha")
    with (
        rasterio.Env(**GDAL_SETTINGS, GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=int(grid.shape.y),
            width=int(grid.shape.x),
            count=bands,
            dtype=dtype,
            crs=grid.crs.to_wkt() if grid.crs else None,
            transform=grid.transform,
            nodata=nodata if validity == "nodata" else None,
            tiled=True,
            blockxsize=_BLOCK_COLS,
            blockysize=block_rows,
            bigtiff="IF_SAFER",
            interleave="pixel",
        ) as dataset,
    ):
        describe_dataset(dataset, description or Description(), tags or {}, count, validity)
        writer = RasterWriter(dataset, validity, nodata)
        try:
            yield writer
        finally:
            writer.close()
    _check_working(Path(path), _bytes_of(grid, bands, dtype, (block_rows, _BLOCK_COLS)))


def _bytes_of(grid: Grid, bands: int, dtype: np.dtype[Any], block: tuple[int, int] = (1, 1)) -> int:
    """Return the bytes of a raster, whose blocks at the right and bottom are filled up."""
    height, width = (-(-int(n) // m) * m for n, m in zip(grid.shape, block, strict=True))
    return height * width * bands * int(np.dtype(dtype).itemsize)


@contextlib.contextmanager
def new_cog(
    path: str | os.PathLike[str],
    grid: Grid,
    count: int,
    dtype: np.dtype[Any],
    *,
    validity: Validity = "all",
    nodata: float | None = None,
    description: Description | None = None,
    tags: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    overviews: Literal["average", "nearest"] = "average",
    progress: Progress = SILENT,
) -> Iterator[RasterWriter]:
    """Open a raster for writing; when the block ends well it is a COG under `path`.

    Windows go to an uncompressed tiled file beside it, which takes them in any order at the
    disk's speed; the COG driver then orders, compresses and builds overviews.

    Parameters
    ----------
    path : path
    grid : Grid
        CRS, transform and shape.
    count : int
        Bands, alpha not counted.
    dtype : numpy dtype
    validity : {"all", "nodata", "mask", "alpha"}
        How invalid pixels are marked.
    nodata : float, optional
        With ``validity="nodata"``.
    description : Description, optional
        Names, colour interpretation and tags to carry over.
    tags : mapping, optional
        Tags to add.
    options : mapping, optional
        Creation options of the COG driver; :data:`COG_OPTIONS` by default.
    overviews : {"average", "nearest"}
    progress : Progress

    Yields
    ------
    RasterWriter

    Raises
    ------
    OutputError
        The disk is full, an option is wrong, or GDAL cannot write.
    """
    size = _bytes_of(grid, count + (validity == "alpha"), dtype)
    check_space(Path(path).parent, int(1.5 * size))
    with atomic_write(path) as part, rasterio.Env(**GDAL_SETTINGS, GDAL_TIFF_INTERNAL_MASK=True):
        working = part.with_name(part.name + ".work.tif")
        try:
            with new_working_raster(
                working,
                grid,
                count,
                dtype,
                validity=validity,
                nodata=nodata,
                description=description,
                tags=tags,
            ) as writer:
                yield writer
            _to_cog(working, part, Path(path).name, options, overviews, progress)
        except GDAL_ERRORS as error:
            raise OutputError(f"cannot write {path}: {gdal_reason(error)}") from error


def write_cog(
    working: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    options: Mapping[str, str] | None = None,
    overviews: Literal["average", "nearest"] = "average",
    progress: Progress = SILENT,
) -> None:
    """Copy a raster to a COG, whole or not at all.

    Parameters
    ----------
    working : path
        The raster to copy.
    path, options, overviews, progress
        As for :func:`new_cog`.

    Raises
    ------
    OutputError
        The disk is full, an option is wrong, or GDAL cannot write.
    """
    with atomic_write(path) as part, rasterio.Env(**GDAL_SETTINGS, GDAL_TIFF_INTERNAL_MASK=True):
        try:
            _to_cog(working, part, Path(path).name, options, overviews, progress)
        except GDAL_ERRORS as error:
            raise OutputError(f"cannot write {path}: {gdal_reason(error)}") from error


def _to_cog(
    working: str | os.PathLike[str],
    part: Path,
    name: str,
    options: Mapping[str, str] | None,
    overviews: str,
    progress: Progress,
) -> None:
    progress.stage(f"compressing {name}")
    rasterio.shutil.copy(
        working,
        part,
        driver="COG",
        OVERVIEW_RESAMPLING=overviews.upper(),
        **with_cores(options or COG_OPTIONS),
    )
    _check_cog(part)


def _check_working(working: Path, size: int) -> None:
    """Catch what GDAL does not report: a disk that fills up while it closes a file."""
    if (written := working.stat().st_size) < size:
        raise OutputError(
            f"only {written} of {counted(size, 'byte')} could be written to "
            f"{working.parent}: is the disk "
            "full?"
        )


def _check_cog(path: Path) -> None:
    """Read what lies last in a COG, its last block, for the same reason."""
    with rasterio.open(path) as dataset:
        corner = rasterio.windows.Window(dataset.width - 1, dataset.height - 1, 1, 1)
        dataset.read(window=corner)
        if dataset.mask_flag_enums[0] == [MaskFlags.per_dataset]:
            dataset.read_masks(1, window=corner)

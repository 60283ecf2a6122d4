"""Open datasets of a source, one set a thread."""

import contextlib
import ctypes
import functools
import threading
from typing import TYPE_CHECKING, Any

import rasterio
import rasterio._base
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from geossda.local_only import RASTER_DRIVERS, local_only
from geossda.raster.alpha import type_opaque, without_alpha_label
from geossda.raster.grid import Grid
from geossda.urls import is_remote

if TYPE_CHECKING:
    from geossda.raster.source import Source


# Files that this process has made, which may name others it has made.
OWN_FILES: set[str] = set()


@functools.cache
def silence_libtiff() -> None:
    """Keep libtiff from printing on standard error, which a library must not.

    GDAL gives libtiff an error handler for each file, but reports what goes wrong in its own
    reading, writing and seeking (a full disk, offsets that no file can have) to libtiff's global
    handler, which prints; GDAL raises the error as well. The function is found among the libraries
    that rasterio has loaded. It is not on Windows, nor where libtiff is part of GDAL: there the
    line is still printed.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(rasterio._base.__file__).TIFFSetErrorHandler(None)


def open_dataset(path: str) -> Any:
    """Open a raster for reading, with its side files.

    Where only local files are allowed, formats that name other files are not opened, nor are side
    files, which may be of such formats.

    Parameters
    ----------
    path : str
        A path or URL.
    """
    silence_libtiff()
    restricted = local_only() and path not in OWN_FILES
    # Side files (.msk, .tfw, .aux.xml) count; over a network looking for them is slow.
    listing = "EMPTY_DIR" if is_remote(path) or restricted else "FALSE"
    # 25 MB a file, which pays over a network only.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=listing, VSI_CACHE=is_remote(path)):
        for driver in RASTER_DRIVERS[:-1] if restricted else ():
            with contextlib.suppress(RasterioError, CPLE_BaseError):
                return rasterio.open(path, driver=driver)
        return rasterio.open(path, driver=RASTER_DRIVERS[-1] if restricted else None)


class Handles(threading.local):
    """Open datasets, one set a thread, since GDAL's must not be shared."""

    def __init__(self) -> None:
        self.datasets: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Return what recreates it in another process, with no file open."""
        return Handles, ()

    def get(self, path: str) -> Any:
        """Open a file, or return the dataset that this thread has open."""
        if path not in self.datasets:
            self.datasets[path] = open_dataset(path)
        return self.datasets[path]

    def warped(self, source: "Source", grid: Grid) -> Any:
        """Return a WarpedVRT of a source on another grid, whose validity GDAL can warp."""
        key = (source.path, grid)
        if key not in self.datasets:
            tests = source.tests
            # The alpha band that GDAL adds, or finds, is scaled by its type unless this is set.
            fill: dict[str, Any] = {"add_alpha": True, "DST_ALPHA_MAX": "255"}
            if tests.nodata:
                value = next(value for value in tests.nodata if value is not None)
                fill = {"src_nodata": value, "nodata": value}
            elif tests.alpha is not None:
                opaque = f"{tests.opaque:.17g}"
                fill = {"SRC_ALPHA_MAX": opaque, "DST_ALPHA_MAX": opaque}
                if tests.opaque == type_opaque(source.dtype):
                    fill = {}
            dataset = self.get(source.path)
            if source.grid.transform != dataset.transform:  # moved by a turn of longitude
                fill["src_transform"] = source.grid.transform
            if tests.alpha is None and ColorInterp.alpha in dataset.colorinterp:
                dataset = self.datasets[key, "unlabelled"] = without_alpha_label(dataset)
            self.datasets[key] = WarpedVRT(
                dataset,
                crs=grid.crs.to_wkt() if grid.crs else None,
                transform=grid.transform,
                height=grid.height,
                width=grid.width,
                resampling=Resampling.bilinear,
                **fill,
            )
        return self.datasets[key]

"""Open one raster, or many as one mosaic, and read it by window."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.crs
import rasterio.errors
import rasterio.warp
from numpy.typing import NDArray

from geossda.errors import BandError, GeoreferenceError, InputError, RasterError, counted
from geossda.formats import RASTER_SUFFIXES, suffix_of
from geossda.raster.alignment import MISPLACED, on_globe, outline_in, unwrapped
from geossda.raster.area import Area
from geossda.raster.grid import Grid
from geossda.raster.gsd import grid_at_gsd, ground_sample_distance
from geossda.raster.opening import open_source
from geossda.raster.source import Source, gdal_environment
from geossda.raster.windows import Window
from geossda.staging import PathLike
from geossda.urls import is_remote

# Pixels along a side of what is written or segmented; listing its parts takes memory.
LARGEST_SIDE_PX = 2**29
# Times that pixels may be as large as those a model works with: a house is one pixel then.
COARSEST = 30


@dataclass(frozen=True)
class Mosaic:
    """One or more sources on one grid, read lazily by window.

    Sources that share the grid are read as they are; others are resampled (bilinear) to it. Where
    sources overlap, the first one given is on top.

    Attributes
    ----------
    sources : tuple of Source
    grid : Grid
        CRS, transform and shape of what :meth:`read` gives.
    """

    sources: tuple[Source, ...]
    grid: Grid

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return int(self.grid.shape.y), int(self.grid.shape.x)

    @property
    def count(self) -> int:
        """Number of bands, alpha not counted."""
        return len(self.sources[0].bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of every band."""
        return self.sources[0].dtype

    @property
    def name(self) -> str:
        """A short name for messages."""
        first = self.sources[0].name
        return first if len(self.sources) == 1 else f"{first} (and {len(self.sources) - 1} more)"

    def alone(self, index: int) -> "Mosaic":
        """Return one source as a mosaic of its own, on its own grid."""
        return Mosaic((self.sources[index],), self.sources[index].grid)

    @property
    def area(self) -> Area | None:
        """The area within which pixels count, of all sources; None for all pixels."""
        return self.sources[0].area

    def within(self, area: Area | None) -> "Mosaic":
        """Return the mosaic of which only an area counts, on the same grid.

        Sources that the area does not reach are left out.

        Raises
        ------
        GeoreferenceError
            The area does not overlap the mosaic, or the mosaic has no CRS.
        """
        if area is None:
            return self
        if self.grid.crs is None:
            raise GeoreferenceError(
                f"{self.sources[0].lacks_crs}, as the area {area.name} is laid over it"
            )
        area.window(self.grid)
        reached = [
            source.within(area)
            for source in self.sources
            if area.touches(Window(0, 0, *source.grid.shape), source.grid)
        ]
        return replace(self, sources=tuple(reached))

    def cropped_to_area(self) -> "Mosaic":
        """Return the part of the grid that the area reaches into; all of it without an area."""
        if self.area is None:
            return self
        window = self.area.window(self.grid)
        return replace(self, grid=self.grid[window.rows, window.cols])

    def read_source(
        self, index: int, window: Window, *, beyond_area: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window from one source alone; invalid where the source has no pixels.

        Parameters
        ----------
        index : int
            Which source.
        window : Window
        beyond_area : bool
            Whether to read the whole window if the area reaches into it.
        """
        return self.sources[index].read(window, self.grid, beyond_area=beyond_area)

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read `window`, the first valid source on top.

        Returns
        -------
        pixels : (bands, height, width) array
        valid : (height, width) bool array
        """
        pixels, valid = self.read_source(0, window)
        for index in range(1, len(self.sources)):
            if valid.all():
                break
            below, below_valid = self.read_source(index, window)
            fill = below_valid & ~valid
            pixels[:, fill] = below[:, fill]
            valid |= below_valid
        return pixels, valid

    def require_colors(self) -> None:
        """Raise RasterError if pixels are numbers of a colour table, which are no colours.

        Raises
        ------
        RasterError
            A source has a colour table.
        """
        for source in self.sources:
            if source.paletted:
                raise RasterError(
                    f"{source.name} has a colour table: expand it first with "
                    "gdal_translate -expand rgb"
                )

    def require_bounded(self) -> None:
        """Raise RasterError if a mosaic declares more pixels than could be processed one by one.

        Raises
        ------
        RasterError
            A side is longer than `LARGEST_SIDE_PX`.
        """
        height, width = self.shape
        if max(height, width) > LARGEST_SIDE_PX:
            raise RasterError(
                f"{self.name} is {width:,} x {height:,} px, more than the Earth has at 10 cm: cut "
                "out a part of it with gdal_translate -projwin"
            )

    def window_of(self, bounds: Sequence[float], crs: str | None = None) -> Window:
        """Return the pixels that bounds touch.

        Parameters
        ----------
        bounds : sequence of float
            Left, bottom, right, top.
        crs : str
            What they are given in; the mosaic's own CRS by default.

        Raises
        ------
        GeoreferenceError
            Bounds that are empty or beside the mosaic, or a CRS that is unknown or missing.
        """
        left, bottom, right, top = bounds
        if not (left < right and bottom < top):
            raise GeoreferenceError(
                f"bounds {left:g} {bottom:g} {right:g} {top:g}: left, bottom, right and top were "
                "expected, in this order"
            )
        if crs:
            left, bottom, right, top = self._from(crs, left, bottom, right, top)
        to_pixel = ~self.grid.transform
        corners = [to_pixel * (x, y) for x in (left, right) for y in (bottom, top)]
        # A thousandth of a pixel is rounding in the bounds, not another pixel.
        low = np.floor(np.min(corners, axis=0) + 1e-3)
        high = np.ceil(np.max(corners, axis=0) - 1e-3)
        height, width = self.shape
        (col, row), (end_col, end_row) = np.clip((low, high), 0, (width, height)).astype(int)
        if end_col <= col or end_row <= row:
            raise GeoreferenceError(
                f"the bounds do not overlap {self.name}: choose others, or name their CRS"
            )
        return Window(int(row), int(col), int(end_row - row), int(end_col - col))

    def _from(self, crs: str, *bounds: float) -> tuple[float, ...]:
        """Transform bounds in another CRS to the mosaic's CRS."""
        if self.grid.crs is None:
            raise GeoreferenceError(f"{self.name} has no CRS: give the bounds in its own numbers")
        try:
            with gdal_environment():
                own = rasterio.crs.CRS.from_wkt(self.grid.crs.to_wkt())
                given = rasterio.crs.CRS.from_user_input(crs)
                moved = rasterio.warp.transform_bounds(given, own, *bounds)
        except (rasterio.errors.CRSError, rasterio.errors.RasterioError) as error:
            raise GeoreferenceError(f"bounds in {crs} cannot be used: {error}") from error
        return tuple(float(number) for number in moved)

    def cropped(self, bounds: Sequence[float], crs: str | None = None) -> "Mosaic":
        """Return the part that bounds touch, as by :meth:`window_of`."""
        window = self.window_of(bounds, crs)
        return replace(self, grid=self.grid[window.rows, window.cols])

    def resampled(self, grid: Grid) -> "Mosaic":
        """Return the same sources on another grid."""
        return replace(self, grid=grid)

    def at_gsd(self, gsd_m: float) -> "Mosaic":
        """Return the same sources with the pixels that a model works with.

        Parameters
        ----------
        gsd_m : float
            Ground sample distance in metres.

        Raises
        ------
        GeoreferenceError
            It has no CRS, or its pixels are more than `COARSEST` times as large.
        """
        own = max(ground_sample_distance(self.grid))
        if own > COARSEST * gsd_m:
            raise GeoreferenceError(
                f"{self.name} has pixels of {own:.3g} m, more than {COARSEST} times the {gsd_m:g} "
                "m to work at: no building can be seen in them; check its CRS and transform, give "
                "finer imagery or a coarser --gsd"
            )
        return self.resampled(grid_at_gsd(self.grid, gsd_m))

    def to_xarray(self, chunk_px: int = 1024) -> Any:
        """Return a lazy Dask-backed Dataset with ``image`` (band, y, x) and ``valid`` (y, x).

        CRS and transform are set through rioxarray, so ``.rio`` works on it.

        Raises
        ------
        InputError
            xarray, rioxarray or Dask is not installed.
        """
        try:
            import dask.array as da
            import rioxarray  # noqa: F401  (registers .rio)
            import xarray as xr
        except ImportError as error:
            raise InputError(
                f"to_xarray needs xarray ({error}): install it with pip install 'geossda[xarray]'"
            ) from error

        height, width = self.shape
        rows = [(r, min(chunk_px, height - r)) for r in range(0, height, chunk_px)]
        cols = [(c, min(chunk_px, width - c)) for c in range(0, width, chunk_px)]
        chunks = (tuple(h for _, h in rows), tuple(w for _, w in cols))

        def block(what: int, location: Any) -> NDArray[Any]:
            (top, bottom), (left, right) = location[-2:]
            return self.read(Window(top, left, bottom - top, right - left))[what]

        image = da.map_blocks(
            lambda block_info: block(0, block_info[None]["array-location"]),
            dtype=self.dtype,
            chunks=((self.count,), *chunks),
            meta=np.empty((0, 0, 0), self.dtype),
        )
        valid = da.map_blocks(
            lambda block_info: block(1, block_info[None]["array-location"]),
            dtype=bool,
            chunks=chunks,
            meta=np.empty((0, 0), bool),
        )
        dataset = xr.Dataset(
            {"image": (("band", "y", "x"), image), "valid": (("y", "x"), valid)},
            coords={"band": list(self.sources[0].bands)},
        )
        if self.grid.crs is not None:
            dataset = dataset.rio.write_crs(self.grid.crs.to_wkt())
        return dataset.rio.write_transform(self.grid.transform)


def rasters_in(folder: Path) -> list[Path]:
    """Return the rasters of a folder by their suffixes, sorted."""
    return sorted(
        file
        for file in folder.iterdir()
        if suffix_of(file) in RASTER_SUFFIXES and not file.name.startswith(".")
    )


def find_sources(paths: PathLike | Sequence[PathLike]) -> list[str]:
    """Expand a file, folder or glob, or several, into a list of rasters in the order given.

    URLs and GDAL's ``/vsi`` paths are passed on as they are.

    Parameters
    ----------
    paths : path or sequence of path
        Files, folders, globs or URLs.

    Raises
    ------
    RasterError
        A folder holds no raster, a glob matches no file, or nothing was given.
    """
    rasters: list[str] = []
    for given in [paths] if isinstance(paths, str | os.PathLike) else paths:
        path = os.fspath(given)
        if is_remote(path):
            rasters.append(path)
        elif os.path.isdir(path):
            inside = rasters_in(Path(path))
            if not inside:
                expected = ", ".join(RASTER_SUFFIXES)
                raise RasterError(f"folder {path} holds no raster ({expected})")
            rasters.extend(map(str, inside))
        elif not os.path.exists(path) and any(sign in path for sign in "*?["):
            matches = sorted(glob.glob(path))
            if not matches:
                raise RasterError(f"{path} matches no file")
            rasters.extend(matches)
        else:
            rasters.append(path)
    if not rasters:
        raise RasterError("no raster was given")
    return list(dict.fromkeys(rasters))


def open_mosaic(
    paths: PathLike | Sequence[PathLike],
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
) -> Mosaic:
    """Open files, folders, globs or URLs as one lazy mosaic.

    The first source gives CRS, pixel size and alignment; the grid is extended to cover all, beyond
    180 degrees where they lie on both sides of the antimeridian.

    Parameters
    ----------
    paths : path or sequence of path
        Where to look; the first one found on top where they overlap.
    bands : sequence of int, optional
        1-based; all but alpha by default.
    nodata : float, optional
        Stands in for the files' own.

    Returns
    -------
    Mosaic
        Read by window with ``read``, or as a Dask-backed Dataset with ``to_xarray``.

    Raises
    ------
    RasterError, BandError
        As :func:`open_source`; sources must agree in band count and dtype.
    GeoreferenceError
        Several sources, and one of them is without CRS.
    """
    return mosaic_of(
        [open_source(path, bands=bands, nodata=nodata) for path in find_sources(paths)]
    )


def mosaic_of(sources: Sequence[Source]) -> Mosaic:
    """Return open sources as one mosaic, as :func:`open_mosaic` does.

    Parameters
    ----------
    sources : sequence of Source
        At least one.

    Raises
    ------
    RasterError, BandError, GeoreferenceError
        As :func:`open_mosaic`.
    """
    first = sources[0]
    for other in sources[1:]:
        if len(other.bands) != len(first.bands):
            raise BandError(
                f"{other.name} has {counted(len(other.bands), 'band')}, {first.name} has "
                f"{len(first.bands)}: choose common ones with --bidx"
            )
        if other.dtype != first.dtype:
            raise RasterError(
                f"{other.name} is {other.dtype}, {first.name} is {first.dtype}: one mosaic needs "
                "one type, convert one of them or process them one by one"
            )
        if other.grid.crs is None or first.grid.crs is None:
            lacking = other if other.grid.crs is None else first
            raise GeoreferenceError(f"{lacking.lacks_crs}, as several rasters are placed by it")
    # Metres declared as degrees, beside degrees: a canvas of the whole way between them.
    if len({on_globe(source.grid) for source in sources}) == 2:
        raise GeoreferenceError(MISPLACED)
    sources = [replace(each, grid=unwrapped(each.grid, first.grid)) for each in sources]
    return Mosaic(tuple(sources), _common_grid(sources))


def _common_grid(sources: list[Source]) -> Grid:
    first = sources[0].grid
    if len(sources) == 1:
        return first
    corners = np.concatenate([outline_in(source.grid, first) for source in sources])
    # A thousandth of a pixel is rounding in the transforms, not another pixel.
    left, top = np.floor(np.min(corners, axis=0) + 1e-3).astype(int)
    right, bottom = np.ceil(np.max(corners, axis=0) - 1e-3).astype(int)
    transform = first.transform * first.transform.translation(int(left), int(top))
    return Grid((int(bottom - top), int(right - left)), transform, first.crs)

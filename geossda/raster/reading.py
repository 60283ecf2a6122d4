"""Open one raster, or many as one mosaic, and read it by window."""

import contextlib
import glob
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geossda.errors import BandError, GeoreferenceError, RasterError
from geossda.raster.windows import Window

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
# GDAL keeps 5 % of the machine's memory by default; a fixed cache keeps our promise on memory.
GDAL_SETTINGS: dict[str, Any] = {
    "GDAL_CACHEMAX": 192 * 2**20,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "VSI_CACHE": True,
}
Validity = Literal["all", "nodata", "alpha", "mask"]


@contextlib.contextmanager
def gdal_environment() -> Iterator[None]:
    """Set GDAL's cache and network options for the calling thread."""
    with rasterio.Env(**GDAL_SETTINGS):
        yield


@dataclass(frozen=True)
class Source:
    """One raster file, and how to tell its valid pixels.

    Attributes
    ----------
    path : str
        A path or URL GDAL opens.
    grid : GeoBox
        Its own CRS, transform and shape.
    bands : tuple of int
        The bands read, 1-based, alpha not among them.
    dtype : numpy dtype
        Of every band.
    validity : {"all", "nodata", "alpha", "mask"}
        What tells valid pixels from others; floats must be finite besides.
    nodata : float or None
        With ``validity="nodata"``, a pixel is invalid if every band read has this value.
    alpha_band : int or None
        The band that tells opacity.
    paletted : bool
        Whether pixels are numbers of a colour table.
    """

    path: str
    grid: GeoBox
    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    validity: Validity
    nodata: float | None
    alpha_band: int | None
    paletted: bool
    _handles: "_Handles" = field(repr=False, compare=False)

    def read(
        self, window: Window, grid: GeoBox | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window of `grid`, resampled (bilinear) where that is not the source's own.

        Parameters
        ----------
        window : Window
            Pixels of `grid`.
        grid : GeoBox, optional
            Any grid; without one the source's own.

        Returns
        -------
        pixels : (bands, height, width) array of the source's dtype
        valid : (height, width) bool array
            False also outside the source; a resampled pixel with a mask is valid if all it was
            made from is.
        """
        grid = self.grid if grid is None else grid
        pixels = np.zeros((len(self.bands), window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        covered = self.covered(grid)
        part = covered and window.intersection(covered)
        if part is None:
            return pixels, valid
        scale = _axis_scale(self.grid, grid)
        if scale is None:
            read = self._read_warped(part, grid)
        else:
            read = self._read_scaled(part, scale)
        pixels[:, *part.within(window)], valid[part.within(window)] = read
        return pixels, valid

    def read_alpha(self, window: Window) -> NDArray[Any]:
        """Read the alpha band of the source's own pixels as it is, (height, width)."""
        with self._reading():
            dataset = self._handles.get(self.path)
            return np.asarray(dataset.read(self.alpha_band, window=_rio(window)))

    def covered(self, grid: GeoBox) -> Window | None:
        """Give the window of `grid` whose pixel centres can lie in this source."""
        if grid == self.grid:
            return Window(0, 0, *grid.shape)
        extent = self.grid.extent
        if self.grid.crs != grid.crs:
            extent = extent.to_crs(grid.crs)
        to_pixel = ~grid.transform
        corners = np.array([to_pixel * xy for xy in extent.exterior.points])
        # A thousandth of a pixel is rounding in the transforms, not another pixel.
        left, top = np.ceil(corners.min(axis=0) - 0.5 - 1e-3).astype(int).tolist()
        right, bottom = np.ceil(corners.max(axis=0) - 0.5 - 1e-3).astype(int).tolist()
        return Window(top, left, bottom - top, right - left).intersection(Window(0, 0, *grid.shape))

    def _read_scaled(
        self, part: Window, axes: tuple[float, float, float, float]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read where target and own pixels differ by scale and offset only."""
        scale_x, scale_y, offset_x, offset_y = axes
        rows = _inside(part.row, part.height, scale_y, offset_y, self.grid.shape.y)
        cols = _inside(part.col, part.width, scale_x, offset_x, self.grid.shape.x)
        left, right = (
            min(max(0.0, c * scale_x + offset_x), self.grid.shape.x) for c in _ends(cols)
        )
        top, bottom = (
            min(max(0.0, r * scale_y + offset_y), self.grid.shape.y) for r in _ends(rows)
        )
        window = rasterio.windows.Window(left, top, right - left, bottom - top)
        pixels, valid = self._read(window, (rows.stop - rows.start, cols.stop - cols.start))
        # Pixels that stick out of the source by less than half of themselves repeat the edge.
        pad = (
            (rows.start - part.row, part.row + part.height - rows.stop),
            (cols.start - part.col, part.col + part.width - cols.stop),
        )
        if any(map(any, pad)):
            pixels = np.pad(pixels, ((0, 0), *pad), mode="edge")
            valid = np.pad(valid, pad, mode="edge")
        return pixels, valid

    def _read(self, window: Any, shape: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        # Bilinear, because GDAL computes each pixel of it alike whatever the window (measured:
        # its "average" differs at window borders); it starts from the nearest finer overview.
        how = {"window": window, "resampling": Resampling.bilinear}
        with self._reading():
            dataset = self._handles.get(self.path)
            bands = list(self.bands)
            pixels = dataset.read(bands, out_shape=(len(bands), *shape), **how)
            if self.validity == "mask":
                valid = dataset.read_masks(1, out_shape=shape, **how) == 255
            elif self.validity == "alpha":
                opacity = dataset.read(self.alpha_band, out_shape=shape, **how)
                native = shape == (window.height, window.width)
                valid = opacity > 0 if native else opacity == _opaque(self.dtype)
            elif self.validity == "nodata":
                valid = ~_equals(pixels, self.nodata).all(axis=0)
            else:
                valid = np.ones(shape, bool)
        return pixels, np.asarray(valid & _finite(pixels))

    def _read_warped(self, window: Window, grid: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with self._reading():
            vrt = self._handles.warped(self, grid)
            bands = list(self.bands)
            pixels = vrt.read(bands, window=_rio(window))
            if self.validity == "nodata":
                valid = ~_equals(pixels, self.nodata).all(axis=0)
            else:
                opaque = _opaque(self.dtype) if self.validity == "alpha" else 255
                valid = vrt.read(self.alpha_band or vrt.count, window=_rio(window)) == opaque
        return pixels, np.asarray(valid & _finite(pixels))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except RasterioError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise RasterError(
                f"{self.path} cannot be read to its end ({reason}): the file is truncated or "
                "damaged, copy it again"
            ) from error


class _Handles(threading.local):
    """Open datasets, one set a thread, since GDAL's must not be shared."""

    def __init__(self) -> None:
        self.datasets: dict[Any, Any] = {}

    def get(self, path: str) -> Any:
        if path not in self.datasets:
            # Side files (.msk, .tfw, .aux.xml) count; over a network looking for them is slow.
            listing = "EMPTY_DIR" if is_remote(path) else "FALSE"
            with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=listing):
                self.datasets[path] = rasterio.open(path)
        return self.datasets[path]

    def warped(self, source: Source, grid: GeoBox) -> Any:
        key = (source.path, grid)
        if key not in self.datasets:
            # The alpha GDAL adds goes to another number in each type unless told.
            fills: dict[Validity, dict[str, Any]] = {
                "all": {"add_alpha": True, "DST_ALPHA_MAX": "255"},
                "mask": {"add_alpha": True, "DST_ALPHA_MAX": "255"},
                "nodata": {"src_nodata": source.nodata, "nodata": source.nodata},
                "alpha": {},
            }
            dataset = self.get(source.path)
            if source.alpha_band is None and ColorInterp.alpha in dataset.colorinterp:
                dataset = self.datasets[key, "unlabelled"] = _without_alpha_label(dataset)
            self.datasets[key] = WarpedVRT(
                dataset,
                crs=grid.crs.to_wkt() if grid.crs else None,
                transform=grid.transform,
                height=grid.height,
                width=grid.width,
                resampling=Resampling.bilinear,
                **fills[source.validity],
            )
        return self.datasets[key]


@dataclass(frozen=True)
class Mosaic:
    """One or more sources on one grid, read lazily by window.

    Sources that share the grid are read as they are; others are resampled (bilinear) to it. Where
    sources overlap, the first one given is on top.

    Attributes
    ----------
    sources : tuple of Source
    grid : GeoBox
        CRS, transform and shape of what :meth:`read` gives.
    """

    sources: tuple[Source, ...]
    grid: GeoBox

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
        first = self.sources[0].path
        return first if len(self.sources) == 1 else f"{first} and {len(self.sources) - 1} more"

    def read_source(self, index: int, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read `window` from one source alone; invalid where the source has no pixels."""
        return self.sources[index].read(window, self.grid)

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
        """Raise RasterError if pixels are numbers of a colour table, which are no colours."""
        for source in self.sources:
            if source.paletted:
                raise RasterError(
                    f"{source.path} has a colour table: expand it first with "
                    "gdal_translate -expand rgb"
                )

    def resampled(self, grid: GeoBox) -> "Mosaic":
        """Give the same sources on another grid."""
        return replace(self, grid=grid)

    def to_xarray(self, chunk_px: int = 1024) -> Any:
        """Give a lazy Dask-backed Dataset with ``image`` (band, y, x) and ``valid`` (y, x).

        CRS and transform are set through rioxarray, so ``.rio`` works on it.
        """
        import dask.array as da
        import rioxarray  # noqa: F401  (registers .rio)
        import xarray as xr

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


def is_remote(path: str) -> bool:
    """Tell URLs and GDAL's ``/vsi`` paths from local ones."""
    return "://" in path or path.startswith("/vsi")


def find_sources(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Expand files, folders and globs into a sorted list of rasters, in the order given.

    URLs and GDAL's ``/vsi`` paths are passed on as they are.
    """
    found: list[str] = []
    for given in paths:
        path = os.fspath(given)
        if is_remote(path):
            found.append(path)
        elif os.path.isdir(path):
            inside = sorted(
                str(file)
                for file in Path(path).iterdir()
                if file.suffix.lower() in RASTER_SUFFIXES and not file.name.startswith(".")
            )
            if not inside:
                expected = ", ".join(RASTER_SUFFIXES)
                raise RasterError(f"folder {path} holds no raster ({expected})")
            found.extend(inside)
        elif not os.path.exists(path) and any(sign in path for sign in "*?["):
            matches = sorted(glob.glob(path))
            if not matches:
                raise RasterError(f"{path} matches no file")
            found.extend(matches)
        else:
            found.append(path)
    if not found:
        raise RasterError("no raster was given")
    return list(dict.fromkeys(found))


def open_source(
    path: str | os.PathLike[str],
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
) -> Source:
    """Open one raster.

    Parameters
    ----------
    path : path or URL
    bands : sequence of int, optional
        1-based; all but alpha by default.
    nodata : float, optional
        Stands in for the file's own, which may be missing.

    Raises
    ------
    RasterError
        Missing, not a raster, or of mixed or complex dtype.
    BandError
        A band number the file does not have.
    """
    path = os.fspath(path)
    remote = is_remote(path)
    if not remote and not os.path.exists(path):
        raise RasterError(f"{path} does not exist")
    if not remote and os.path.isdir(path):
        raise RasterError(f"{path} is a folder, one raster was expected")
    handles = _Handles()
    try:
        dataset = handles.get(path)
    except RasterioError as error:
        raise RasterError(
            f"{path} is not a raster GDAL can open ({str(error).splitlines()[0]})"
        ) from error
    if dataset.count == 0:
        raise RasterError(f"{path} has no bands of its own: name one of its subdatasets")
    if len(set(dataset.dtypes)) > 1:
        raise RasterError(
            f"{path} mixes band types {sorted(set(dataset.dtypes))}: convert it to one type"
        )
    dtype = np.dtype(dataset.dtypes[0])
    if dtype.kind not in "uif":
        raise RasterError(f"{path} has pixels of type {dtype}, integers or floats were expected")
    alpha = _alpha_band(dataset)
    chosen = tuple(bands) if bands else tuple(b for b in dataset.indexes if b != alpha)
    if wrong := [band for band in chosen if band not in dataset.indexes]:
        raise BandError(f"band {wrong[0]} was asked for, {path} has bands 1 to {dataset.count}")
    if not chosen:
        raise BandError(f"{path} has an alpha band only")
    declared = dataset.nodata if nodata is None else nodata
    validity: Validity = "all"
    if nodata is not None:
        validity = "nodata"
    elif MaskFlags.per_dataset in dataset.mask_flag_enums[0] and alpha is None:
        alpha_flag = MaskFlags.alpha in dataset.mask_flag_enums[0]
        validity = "all" if alpha_flag else "mask"
    elif declared is not None:
        validity = "nodata"
    elif alpha is not None:
        validity = "alpha"
    grid = GeoBox(
        (dataset.height, dataset.width),
        dataset.transform,
        dataset.crs.to_wkt() if dataset.crs else None,
    )
    return Source(
        path=path,
        grid=grid,
        bands=chosen,
        dtype=dtype,
        validity=validity,
        nodata=declared if validity == "nodata" else None,
        alpha_band=alpha,
        paletted=dataset.colorinterp[chosen[0] - 1] == ColorInterp.palette,
        _handles=handles,
    )


def open_mosaic(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
) -> Mosaic:
    """Open files, folders, globs or URLs as one lazy mosaic.

    The first source gives CRS, pixel size and alignment; the grid is extended to cover all.

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
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    sources = [open_source(path, bands=bands, nodata=nodata) for path in find_sources(given)]
    first = sources[0]
    for other in sources[1:]:
        if len(other.bands) != len(first.bands):
            raise BandError(
                f"{other.path} has {len(other.bands)} bands, {first.path} has "
                f"{len(first.bands)}: choose common ones with --bidx"
            )
        if other.dtype != first.dtype:
            raise RasterError(
                f"{other.path} is {other.dtype}, {first.path} is {first.dtype}: one mosaic needs "
                "one type, convert one of them or process them one by one"
            )
        if other.grid.crs is None or first.grid.crs is None:
            lacking = other if other.grid.crs is None else first
            raise GeoreferenceError(
                f"{lacking.path} has no CRS, and several rasters are placed by it: assign one "
                "with gdal_edit.py -a_srs"
            )
    return Mosaic(tuple(sources), _common_grid(sources))


def _common_grid(sources: list[Source]) -> GeoBox:
    first = sources[0].grid
    if len(sources) == 1:
        return first
    to_pixel = ~first.transform
    corners = []
    for source in sources:
        extent = source.grid.extent
        if source.grid.crs != first.crs:
            extent = extent.to_crs(first.crs)
        corners += [to_pixel * xy for xy in extent.exterior.points]
    # A thousandth of a pixel is rounding in the transforms, not another pixel.
    left, top = np.floor(np.min(corners, axis=0) + 1e-3).astype(int)
    right, bottom = np.ceil(np.max(corners, axis=0) - 1e-3).astype(int)
    transform = first.transform * first.transform.translation(int(left), int(top))
    return GeoBox((int(bottom - top), int(right - left)), transform, first.crs)


def _axis_scale(own: GeoBox, target: GeoBox) -> tuple[float, float, float, float] | None:
    """Give (scale x, scale y, offset x, offset y) from pixels of `target` to pixels of `own`.

    None if the two differ by more: another CRS, a rotation, a flip.
    """
    if own.crs != target.crs:
        return None
    to_own = ~own.transform * target.transform
    span = max(target.shape)
    if max(abs(to_own.b), abs(to_own.d)) * span > 0.01 or min(to_own.a, to_own.e) <= 0:
        return None
    exact = [to_own.a, to_own.e, to_own.c, to_own.f]
    # Snap what is rounding in the transforms, so that equal lattices are read without resampling.
    snapped = [round(value) for value in exact]
    near = [
        abs(e - s) * (span if i < 2 else 1) < 0.01
        for i, (e, s) in enumerate(zip(exact, snapped, strict=True))
    ]
    if all(near):
        exact = [float(value) for value in snapped]
    return exact[0], exact[1], exact[2], exact[3]


def _inside(start: int, length: int, scale: float, offset: float, size: int) -> slice:
    """Give the target pixels of a run that lie wholly inside `size` own pixels (at least one)."""
    first = max(start, math.ceil(-offset / scale - 1e-6))
    stop = min(start + length, math.floor((size - offset) / scale + 1e-6))
    if stop <= first:  # narrower than a target pixel
        first = min(max(start, first), start + length - 1)
        stop = first + 1
    return slice(first, stop)


def _ends(run: slice) -> tuple[int, int]:
    return run.start, run.stop


def _rio(window: Window) -> Any:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


def _equals(pixels: NDArray[Any], value: float | None) -> NDArray[np.bool_]:
    if value is not None and np.isnan(value):
        return np.asarray(np.isnan(pixels))
    return np.asarray(pixels == value)


def _opaque(dtype: np.dtype[Any]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0


def _finite(pixels: NDArray[Any]) -> NDArray[np.bool_] | np.bool_:
    if pixels.dtype.kind != "f":
        return np.True_
    return np.asarray(np.isfinite(pixels).all(axis=0))


def _without_alpha_label(dataset: Any) -> Any:
    """Open a dataset again with no band called alpha: rasterio adds no alpha beside one."""
    with MemoryFile(ext=".vrt") as copy:
        rasterio.shutil.copy(dataset, copy.name, driver="VRT")
        text = copy.read().decode()
    return rasterio.open(text.replace("<ColorInterp>Alpha</ColorInterp>", ""))


def _alpha_band(dataset: Any) -> int | None:
    """Find the band that is alpha in fact.

    Many four-band files carry near infrared in a band that TIFF's defaults label alpha. An alpha
    band is opaque or transparent nearly everywhere; near infrared is neither.
    """
    if ColorInterp.alpha not in dataset.colorinterp:
        return None
    band = dataset.colorinterp.index(ColorInterp.alpha) + 1
    if dataset.count == 1:
        return None
    dtype = np.dtype(dataset.dtypes[band - 1])
    size = 64
    samples = []
    try:
        for row in np.linspace(0, max(0, dataset.height - size), 3).astype(int):
            for col in np.linspace(0, max(0, dataset.width - size), 3).astype(int):
                window = rasterio.windows.Window(
                    col, row, min(size, dataset.width), min(size, dataset.height)
                )
                samples.append(dataset.read(band, window=window).ravel())
    except RasterioError as error:
        raise RasterError(
            f"{dataset.name} cannot be read ({str(error).splitlines()[0]}): the file is truncated "
            "or damaged, copy it again"
        ) from error
    values = np.concatenate(samples)
    return band if np.isin(values, (0, _opaque(dtype))).mean() > 0.9 else None

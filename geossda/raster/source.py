"""One raster file: how to tell its valid pixels, and how to read it on any grid."""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from geossda.errors import BandError, RasterError
from geossda.raster.alignment import axis_scale, ends, inside
from geossda.raster.alpha import alpha_band, opaque, without_alpha_label
from geossda.raster.windows import Window

# GDAL keeps 5 % of the machine's memory by default; a fixed cache keeps our promise on memory.
GDAL_SETTINGS: dict[str, Any] = {
    "GDAL_CACHEMAX": 192 * 2**20,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
}
Validity = Literal["all", "nodata", "alpha", "mask"]


@contextlib.contextmanager
def gdal_environment() -> Iterator[None]:
    """Set GDAL's cache and network options for the calling thread."""
    with rasterio.Env(**GDAL_SETTINGS):
        yield


class Correction(Protocol):
    """What is done to pixels as they are read."""

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, grid: GeoBox
    ) -> NDArray[Any]:
        """Change the (bands, height, width) pixels of a window of `grid`; the type stays."""


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
    correction : Correction or None
        What is done to the pixels as they are read.
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
    correction: Correction | None = None

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
        covered = self.covered(grid)
        part = covered and window.intersection(covered)
        pixels = np.zeros((len(self.bands), window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        if part is None:
            return pixels, valid
        scale = axis_scale(self.grid, grid)
        if scale is None:
            read = self._read_warped(part, grid)
        else:
            read = self._read_scaled(part, scale)
        if self.correction is not None:
            before, known = read
            after = self.correction(before, known, part, grid)
            read = avoid_nodata(after, before, known, self.nodata), known
        if part == window:
            return read
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
        rows = inside(part.row, part.height, scale_y, offset_y, self.grid.shape.y)
        cols = inside(part.col, part.width, scale_x, offset_x, self.grid.shape.x)
        left, right = (min(max(0.0, c * scale_x + offset_x), self.grid.shape.x) for c in ends(cols))
        top, bottom = (min(max(0.0, r * scale_y + offset_y), self.grid.shape.y) for r in ends(rows))
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
                valid = opacity > 0 if native else opacity == opaque(self.dtype)
            elif self.validity == "nodata":
                valid = ~_equals(pixels, self.nodata).all(axis=0)
            else:
                valid = np.ones(shape, np.bool_)
        return pixels, _finite(pixels, valid)

    def _read_warped(self, window: Window, grid: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with self._reading():
            vrt = self._handles.warped(self, grid)
            bands = list(self.bands)
            pixels = vrt.read(bands, window=_rio(window))
            if self.validity == "nodata":
                valid = ~_equals(pixels, self.nodata).all(axis=0)
            else:
                full = opaque(self.dtype) if self.validity == "alpha" else 255
                valid = vrt.read(self.alpha_band or vrt.count, window=_rio(window)) == full
        return pixels, _finite(pixels, valid)

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

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Travel to another process with none open."""
        return _Handles, ()

    def get(self, path: str) -> Any:
        if path not in self.datasets:
            # Side files (.msk, .tfw, .aux.xml) count; over a network looking for them is slow.
            listing = "EMPTY_DIR" if is_remote(path) else "FALSE"
            # 25 MB a file, which pays over a network only.
            with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN=listing, VSI_CACHE=is_remote(path)):
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
                dataset = self.datasets[key, "unlabelled"] = without_alpha_label(dataset)
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


def avoid_nodata(
    changed: NDArray[Any],
    before: NDArray[Any],
    valid: NDArray[np.bool_],
    nodata: float | None,
) -> NDArray[Any]:
    """Move valid pixels that were mapped onto the nodata value to the next value beside it."""
    if nodata is None or np.isnan(nodata):
        return changed
    hit = (changed == nodata) & valid & (before != nodata)
    if hit.any():
        dtype = changed.dtype
        if dtype.kind == "f":
            beside = np.nextafter(dtype.type(nodata), dtype.type(np.inf))
        else:
            beside = dtype.type(nodata + 1 if nodata < np.iinfo(dtype).max else nodata - 1)
        changed = np.where(hit, beside, changed)
    return changed


def is_remote(path: str) -> bool:
    """Tell URLs and GDAL's ``/vsi`` paths from local ones."""
    return "://" in path or path.startswith("/vsi")


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
    alpha = alpha_band(dataset)
    chosen = tuple(bands) if bands else tuple(b for b in dataset.indexes if b != alpha)
    if wrong := [band for band in chosen if band not in dataset.indexes]:
        raise BandError(f"band {wrong[0]} was asked for, {path} has bands 1 to {dataset.count}")
    if not chosen:
        raise BandError(f"{path} has an alpha band only")
    declared = dataset.nodata if nodata is None else nodata
    if declared is not None and not _can_hold(dtype, declared):
        if nodata is not None:
            raise RasterError(f"nodata {nodata:g} was given, {path} is {dtype} and cannot hold it")
        declared = None  # what no pixel can be tells nothing
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


def _rio(window: Window) -> Any:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)


def _can_hold(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max) and float(value).is_integer()


def _equals(pixels: NDArray[Any], value: float | None) -> NDArray[np.bool_]:
    if value is not None and np.isnan(value):
        return np.asarray(np.isnan(pixels))
    return np.asarray(pixels == value)


def _finite(pixels: NDArray[Any], valid: NDArray[np.bool_] | np.bool_) -> NDArray[np.bool_]:
    """Give those of the valid pixels that are numbers in all bands."""
    if pixels.dtype.kind != "f":
        return np.asarray(valid)
    return np.asarray(valid & np.isfinite(pixels).all(axis=0))

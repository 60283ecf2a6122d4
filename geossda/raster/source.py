"""One raster file: which of its pixels are valid, and how to read it on any grid."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject

from geossda.errors import RasterError
from geossda.raster.alignment import axis_scale, covering, ends, inside, outline_in, pixels_across
from geossda.raster.area import Area
from geossda.raster.grid import Grid
from geossda.raster.handles import Handles
from geossda.raster.validity import Validity, ValidityTests, avoid_nodata, finite
from geossda.raster.windows import Window
from geossda.urls import public_name

# GDAL keeps 5 % of the machine's memory by default; a fixed cache keeps our promise on memory.
GDAL_SETTINGS: dict[str, Any] = {
    "GDAL_CACHEMAX": 192 * 2**20,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
}
# What rasterio raises, or lets through from GDAL as it is.
GDAL_ERRORS = (RasterioError, CPLE_BaseError)


def gdal_reason(error: BaseException) -> str:
    """Return the first line of what GDAL gave as its reason."""
    return (str(error.__cause__ or error).splitlines() or ["GDAL gave no reason"])[0]


@contextlib.contextmanager
def gdal_environment() -> Iterator[None]:
    """Set GDAL's cache and network options for the calling thread."""
    if rasterio.env.hasenv() and GDAL_SETTINGS.items() <= rasterio.env.getenv().items():
        yield  # they are set, and setting them again takes as long as reading a small window
        return
    with rasterio.Env(**GDAL_SETTINGS):
        yield


class Correction(Protocol):
    """What is done to pixels as they are read."""

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, grid: Grid
    ) -> NDArray[Any]:
        """Change the (bands, height, width) pixels of a window of `grid`; the type stays."""


@dataclass(frozen=True)
class Source:
    """One raster file, and how its valid pixels are recognized.

    Attributes
    ----------
    path : str
        A path or URL GDAL opens.
    grid : Grid
        Its own CRS, transform and shape.
    bands : tuple of int
        The bands in the order they are read, 1-based, alpha not among them.
    dtype : numpy dtype
        Of every band.
    validity : {"all", "nodata", "alpha", "mask"}
        What tells valid pixels from others in an output that is to be like this source.
    nodata : float or None
        With ``validity="nodata"``, the value that all bands have where a pixel is invalid.
    tests : ValidityTests
        What tells valid pixels from others as they are read.
    colors : tuple of str or None
        What each band read shows as the file declares it: ``"red"``, ``"nir"``, ...
    paletted : bool
        Whether pixels are numbers of a colour table.
    reordered : bool
        Whether bands are read red, green and blue first, in another order than the file's.
    correction : Correction or None
        What is done to the pixels as they are read.
    common_range : (float, float) or None
        The working range of all sources that are processed together, if there are several.
    placed_by : {"crs", "gcps", "rpcs", "nothing"}
        What places the pixels on the ground: CRS and transform, ground control points, rational
        polynomial coefficients, or nothing that the file declares.
    area : Area or None
        Outside it all pixels are nodata.
    """

    path: str
    grid: Grid
    bands: tuple[int, ...]
    dtype: np.dtype[Any]
    validity: Validity
    nodata: float | None
    tests: ValidityTests
    colors: tuple[str | None, ...]
    paletted: bool
    _handles: Handles = field(repr=False, compare=False)
    reordered: bool = False
    correction: Correction | None = None
    common_range: tuple[float, float] | None = None
    placed_by: Literal["crs", "gcps", "rpcs", "nothing"] = "crs"
    area: Area | None = None

    @property
    def name(self) -> str:
        """The path as it may be shown and kept, without what gives access to it."""
        return public_name(self.path)

    @property
    def lacks_crs(self) -> str:
        """Message for a source without CRS: why it has none, and how to assign one."""
        if self.placed_by == "gcps":
            return (
                f"{self.name} has no CRS but ground control points (GCPs): warp it by them first, "
                "with gdalwarp"
            )
        if self.placed_by == "rpcs":
            return (
                f"{self.name} has no CRS but rational polynomial coefficients (RPCs): orthorectify "
                "it first, with gdalwarp -rpc"
            )
        return f"{self.name} has no CRS: assign one with gdal_edit.py -a_srs"

    @property
    def file_order(self) -> tuple[int, ...]:
        """Indices into the bands read that put them into the order an output has them in."""
        places = range(len(self.bands))
        return tuple(sorted(places, key=self.bands.__getitem__) if self.reordered else places)

    def with_bands(self, places: Sequence[int]) -> "Source":
        """Return the same source with some of its bands, by their places among those read."""
        nodata = self.tests.nodata and tuple(self.tests.nodata[place] for place in places)
        tests = replace(self.tests, nodata=nodata if any(v is not None for v in nodata) else ())
        return replace(
            self,
            bands=tuple(self.bands[place] for place in places),
            colors=tuple(self.colors[place] for place in places),
            tests=tests,
            reordered=False,
        )

    def without_nodata(self) -> "Source":
        """Return the same source with its nodata values taken as data."""
        tests = replace(self.tests, nodata=())
        kind = "all" if self.validity == "nodata" else self.validity
        return replace(self, tests=tests, validity=kind, nodata=None)

    def within(self, area: Area | None) -> "Source":
        """Return the same source of which only an area counts; an output of it has a mask."""
        if area is None:
            return self
        return replace(
            self, area=area, validity="mask" if self.validity == "all" else self.validity
        )

    def read(
        self, window: Window, grid: Grid | None = None, *, beyond_area: bool = False
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window of `grid`, resampled (bilinear) where that is not the source's own.

        Parameters
        ----------
        window : Window
            Pixels of `grid`.
        grid : Grid, optional
            Any grid; without one the source's own.
        beyond_area : bool
            Whether to read the whole window if its area reaches into it.

        Returns
        -------
        pixels : (bands, height, width) array of the source's dtype
        valid : (height, width) bool array
            False also outside the source; a resampled pixel with a mask is valid if all it was
            made from is.
        """
        grid = self.grid if grid is None else grid
        if self.area is not None and not self.area.touches(window, grid):
            shape = (window.height, window.width)
            return np.zeros((len(self.bands), *shape), self.dtype), np.zeros(shape, bool)
        if self.area is not None and not beyond_area:
            pixels, valid = self.read(window, grid, beyond_area=True)
            inside = self.area.mask(window, grid)
            nothing = 0 if self.nodata is None else self.nodata
            return np.where(inside, pixels, np.asarray(nothing, self.dtype)), valid & inside
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
            return np.asarray(dataset.read(self.tests.alpha, window=_rio(window)))

    def covered(self, grid: Grid) -> Window | None:
        """Return the window of `grid` whose pixel centres can lie in this source."""
        if grid == self.grid:
            return Window(0, 0, *grid.shape)
        corners = outline_in(self.grid, grid)
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
        tests, bands = self.tests, list(self.bands)
        with self._reading():
            dataset = self._handles.get(self.path)
            pixels = dataset.read(bands, out_shape=(len(bands), *shape), **how)
            valid = tests.by_nodata(pixels)
            if tests.masks == "dataset":
                valid &= dataset.read_masks(bands[0], out_shape=shape, **how) == tests.mask_set
            elif tests.masks == "bands":
                masks = dataset.read_masks(bands, out_shape=(len(bands), *shape), **how)
                valid &= (masks == tests.mask_set).all(axis=0)
            if tests.alpha is not None:
                opacity = dataset.read(tests.alpha, out_shape=shape, **how)
                native = shape == (window.height, window.width)
                valid &= opacity > 0 if native else opacity == tests.opaque
        return pixels, finite(pixels, valid)

    def _read_warped(self, window: Window, grid: Grid) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if self.tests.combined:
            return self._reproject(window, grid)
        with self._reading():
            vrt = self._handles.warped(self, grid)
            bands = list(self.bands)
            pixels = vrt.read(bands, window=_rio(window))
            if self.tests.nodata:
                valid = self.tests.by_nodata(pixels)
            else:
                full = self.tests.opaque if self.tests.alpha is not None else 255
                valid = vrt.read(self.tests.alpha or vrt.count, window=_rio(window)) == full
        return pixels, finite(pixels, valid)

    def _reproject(self, window: Window, grid: Grid) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Warp pixels whose validity is marked in several ways, which a WarpedVRT cannot combine.

        Transforms are exact, not approximated, so no pixel depends on the window.
        """
        target = grid[window.rows, window.cols]
        # Finer pixels than the target's are first read at about its resolution, in whole blocks
        # of `factor` that are the same whatever the window.
        factor = pixels_across(self.grid, grid)
        around = covering(self.grid, target, factor)
        warped = np.zeros((len(self.bands), window.height, window.width), self.dtype)
        whole = np.zeros((window.height, window.width), np.float32)
        if around is None:
            return warped, whole > 0
        pixels, valid = self._read(_rio(around), (around.height // factor, around.width // factor))
        own = self.grid[around.rows, around.cols]
        how: dict[str, Any] = {
            "src_transform": own.transform * own.transform.scale(factor, factor),
            "dst_transform": target.transform,
            "src_crs": self.grid.crs.to_wkt() if self.grid.crs else None,
            "dst_crs": target.crs.to_wkt() if target.crs else None,
            "resampling": Resampling.bilinear,
            "tolerance": 0,
            # GDAL derives these from the size of the window otherwise.
            "XSCALE": 1,
            "YSCALE": 1,
            "num_threads": 1,
        }
        with self._reading():
            reproject(pixels, warped, **how)
            reproject(valid.astype(np.float32), whole, **how)
        return warped, finite(warped, whole > 1 - 1e-6)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except GDAL_ERRORS as error:
            raise RasterError(
                f"{self.name} cannot be read to its end ({gdal_reason(error)}): the file is "
                "truncated or damaged, copy it again"
            ) from error


def _rio(window: Window) -> Any:
    return rasterio.windows.Window(window.col, window.row, window.width, window.height)

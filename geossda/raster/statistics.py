"""Masked statistics of a raster, from windows spread over it; never the raster at once."""

import contextlib
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geossda.errors import EmptyRasterError
from geossda.parallel.ordered_map import ordered_map
from geossda.progress import SILENT, Progress
from geossda.raster.area import tiles_in
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, spread, tiles
from geossda.urls import is_remote

# Statistics of more pixels than this do not get better, only later.
SAMPLE_PX = 2**25
_TILE = 512
# Pixels up to which windows are read in one thread: each other one opens the file and its CRS for
# itself, which takes as long as reading some 2 million pixels.
_FEW_PX = 2**21
# Tiles of a raster that are listed to choose among, one million million pixels.
_LISTED_TILES = 2**22
T = TypeVar("T")


def over_windows(
    mosaic: Mosaic, function: Callable[[Window], T], windows: Sequence[Window]
) -> Generator[T, None, None]:
    """Yield what a function that reads windows returns, in order; in threads if they are many.

    Parameters
    ----------
    mosaic : Mosaic
    function : callable
    windows : sequence of Window
        Closing the generator cancels those that have not begun.
    """
    few = sum(window.height * window.width for window in windows) <= _FEW_PX
    if few and not any(is_remote(source.path) for source in mosaic.sources):
        yield from map(function, windows)
    else:
        with contextlib.closing(ordered_map(function, windows)) as results:
            yield from results


def sample_tiles(
    shape: tuple[int, int], budget_px: int = SAMPLE_PX, tile: int = _TILE
) -> list[Window]:
    """Return tiles of side `tile` spread evenly, all of them if `budget_px` allows.

    Every n-th tile along a path that shifts from row to row, so that no column is missed. The
    choice depends on the raster's shape alone.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the raster in pixels.
    budget_px : int
        Pixels of all tiles together, about.
    tile : int
        Side of a tile in pixels.
    """
    keep = max(1, budget_px // tile**2)
    across = -(-shape[1] // tile)
    count = -(-shape[0] // tile) * across
    if count > _LISTED_TILES:
        # A raster can declare more tiles than memory can list.
        golden = (math.sqrt(5) - 1) / 2
        places = {int((index + index * golden % 1.0) * count / keep) for index in range(keep)}
        corners = [(place // across * tile, place % across * tile) for place in sorted(places)]
        whole = Window(0, 0, *shape)
        cut = (Window(row, col, tile, tile).intersection(whole) for row, col in corners)
        return [window for window in cut if window is not None]
    listed = list(tiles(shape, tile))
    if len(listed) <= keep:
        return listed
    # The golden ratio spreads tiles evenly whatever their number in a row.
    order = (np.arange(len(listed)) * ((math.sqrt(5) - 1) / 2)) % 1.0
    chosen = np.sort(np.argsort(order, kind="stable")[:keep])
    return [listed[index] for index in chosen]


def sample_windows(mosaic: Mosaic, budget_px: int = SAMPLE_PX, tile: int = _TILE) -> list[Window]:
    """Return the tiles to take statistics from: :func:`sample_tiles`, or those in the area.

    Parameters
    ----------
    mosaic : Mosaic
    budget_px : int
        At most so many pixels are read.
    tile : int
        Side of a tile in pixels.
    """
    if mosaic.area is None:
        return sample_tiles(mosaic.shape, budget_px, tile)
    around = mosaic.area.window(mosaic.grid)
    inner = sample_tiles((around.height, around.width), _LISTED_TILES * tile**2, tile)
    placed = [
        window._replace(row=window.row + around.row, col=window.col + around.col)
        for window in inner
    ]
    inside = tiles_in(mosaic.area, mosaic.grid, placed)
    return list(spread(inside, max(1, budget_px // tile**2)))


def over_tiles(
    mosaic: Mosaic,
    windows: Sequence[Window],
    measure: Callable[[NDArray[Any], NDArray[np.bool_]], T],
    merge: Callable[[T, T], T],
    *,
    progress: Progress = SILENT,
) -> T:
    """Measure windows in threads and merge the results, in window order.

    Parameters
    ----------
    mosaic : Mosaic
    windows : sequence of Window
    measure : callable
        Gets the pixels (bands, n) float or integer array of the valid pixels' window, with
        the mask; its results are merged two by two.
    merge : callable
    progress : Progress
        Advanced by one a window.

    Raises
    ------
    EmptyRasterError
        There is no window.
    """

    def one(window: Window) -> T:
        with gdal_environment():
            pixels, valid = mosaic.read(window)
        return measure(pixels, valid)

    result: T | None = None
    with contextlib.closing(over_windows(mosaic, one, windows)) as measured:
        for part in measured:
            result = part if result is None else merge(result, part)
            progress.advance()
    if result is None:
        raise EmptyRasterError(f"{mosaic.name} has no pixels")
    return result


def covariance(
    mosaic: Mosaic, limits: tuple[float, float], *, progress: Progress = SILENT
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure how the bands of the valid pixels vary together.

    Parameters
    ----------
    mosaic : Mosaic
    limits : (float, float)
        Digital numbers taken as 0 and 1; values far outside, which only lost pixels have, are cut.
    progress : Progress

    Returns
    -------
    mean : (bands,) array
    covariance : (bands, bands) array
        Both in units of `limits`.
    """
    windows = sample_windows(mosaic)
    progress.stage("reading statistics", len(windows))
    low, high = limits

    def sums(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        # Row by row, so that float32 has only short sums to do.
        values = np.empty((valid.shape[0], len(pixels) + 1, valid.shape[1]), np.float32)
        for index, band in enumerate(pixels):
            color = values[:, index]
            color[:] = band if valid.all() else np.where(valid, band, low)
            color -= np.float32(low)
            color *= np.float32(1 / (high - low))
            np.clip(color, -1, 2, out=color)
        values[:, -1] = valid
        return np.asarray((values @ values.swapaxes(1, 2)).sum(0, dtype=np.float64))

    total = over_tiles(mosaic, windows, sums, np.add, progress=progress)
    mean = total[:-1, -1] / total[-1, -1]
    return mean, _positive(total[:-1, :-1] / total[-1, -1] - np.outer(mean, mean))


def _positive(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a symmetric matrix without the negative eigenvalues that rounding gave it."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] >= 0:
        return matrix
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)

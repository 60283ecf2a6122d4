"""Apply one colour transform a source to a mosaic, tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import dask
import numpy as np
from numpy.typing import NDArray

from geossda.color.methods import Transform, as_dtype
from geossda.progress import SILENT, Progress
from geossda.raster.reading import Mosaic
from geossda.raster.source import avoid_nodata, gdal_environment
from geossda.raster.windows import Window, strips, tiles
from geossda.raster.writing import RasterWriter

# So many tiles are in one Dask graph: enough for every core, few enough to be small.
TILES_A_STRIP = 32


class WindowTransform(Protocol):
    """What is applied to every window.

    Attributes
    ----------
    halo : int
        Pixels around a window that its own pixels depend on.
    align : int
        Windows start and end at multiples of so many pixels from the raster's origin.
    """

    @property
    def halo(self) -> int: ...  # noqa: D102

    @property
    def align(self) -> int: ...  # noqa: D102

    def __call__(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Map (bands, height, width) pixels; the result has the same dtype and shape."""


@dataclass(frozen=True)
class PixelTransform:
    """A transform that needs to know nothing but the pixel."""

    transform: Transform
    halo: int = 0
    align: int = 1

    def __call__(self, pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Map (bands, height, width) pixels."""
        return self.transform(pixels)


def recolor(
    mosaic: Mosaic,
    transforms: Sequence[WindowTransform],
    writer: RasterWriter,
    *,
    tile_px: int,
    feather_px: int,
    area: Window | None = None,
    progress: Progress = SILENT,
) -> None:
    """Read, transform, blend and write every tile of a mosaic, strip by strip, in threads.

    Parameters
    ----------
    mosaic : Mosaic
    transforms : sequence of WindowTransform
        One a source.
    writer : RasterWriter
    tile_px : int
        Side of a tile; changes no pixel.
    feather_px : int
        Width over which overlapping sources fade into each other.
    area : Window, optional
        Only this part is written, and is the writer's grid. Its pixels are those of the whole.
    progress : Progress
        Advanced by one a tile.
    """
    footprints = [source.covered(mosaic.grid) for source in mosaic.sources]
    area = area or Window(0, 0, *mosaic.shape)
    shape = (area.height, area.width)
    progress.stage("harmonizing", sum(1 for _ in tiles(shape, tile_px)))

    @dask.delayed(pure=False, traverse=False)  # type: ignore[untyped-decorator]
    def one(place: Window) -> None:
        window = place._replace(row=area.row + place.row, col=area.col + place.col)
        with gdal_environment():
            here = [
                index
                for index, footprint in enumerate(footprints)
                if footprint is not None and window.intersection(footprint)
            ]
            if len(here) == 1:
                before, pixels, valid = _single(mosaic, transforms, here[0], window)
            else:
                before, pixels, valid = _blended(mosaic, transforms, here, window, feather_px)
            pixels = avoid_nodata(pixels, before, valid, writer.nodata)
            alpha = None
            if len(mosaic.sources) == 1 and mosaic.sources[0].validity == "alpha":
                alpha = mosaic.sources[0].read_alpha(window)
            writer.write(place, pixels, valid, alpha)

    for strip in strips(shape, tile_px, TILES_A_STRIP):
        dask.compute(*(one(place) for place in strip), scheduler="threads")
        progress.advance(len(strip))


def _single(
    mosaic: Mosaic, transforms: Sequence[WindowTransform], index: int, window: Window
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Give (pixels as read, as changed, valid); what is not valid is kept, or 0 in a mosaic."""
    pixels, valid, changed, _ = _changed(mosaic, transforms[index], index, window)
    hidden = pixels if len(mosaic.sources) == 1 else np.zeros_like(pixels)
    if not valid.all():
        changed = np.where(valid, changed, hidden)
    return pixels, changed, valid


def _changed(
    mosaic: Mosaic, transform: WindowTransform, index: int, window: Window, margin: int = 0
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any], NDArray[np.bool_]]:
    """Give (pixels as read, valid, as changed, validity with `margin`) of one source.

    It is read once, with the transform's halo. What lies outside the raster is as if it were
    nodata, whatever window it is looked at from.
    """
    wanted = window.surrounded(transform.halo, transform.align)
    wide = window.grown(margin, mosaic.shape)
    read = wanted.joined(wide, mosaic.shape)
    pixels, valid = mosaic.read_source(index, read)
    around, inner = valid[wide.within(read)], window.within(read)
    if not valid[inner].any():
        return pixels[:, *inner], valid[inner], pixels[:, *inner], around
    there = wanted.grown(0, mosaic.shape)
    rows, cols = there.within(read)
    pixels, valid, inner = pixels[:, rows, cols], valid[rows, cols], window.within(there)
    if there != wanted:
        rows, cols = there.within(wanted)
        whole = np.zeros((len(pixels), wanted.height, wanted.width), pixels.dtype)
        known = np.zeros((wanted.height, wanted.width), np.bool_)
        whole[:, rows, cols], known[rows, cols] = pixels, valid
        pixels, valid, inner = whole, known, window.within(wanted)
    changed = transform(pixels, valid)
    return pixels[:, *inner], valid[inner], changed[:, *inner], around


def _blended(
    mosaic: Mosaic,
    transforms: Sequence[WindowTransform],
    here: list[int],
    window: Window,
    feather_px: int,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Average sources by their distance to their own edge, at most `feather_px`.

    The distance is looked for in a margin of that width, so it is the same in every tile. Gives
    (pixels of the first valid source as read, the average as changed, valid).
    """
    total = np.zeros((mosaic.count, window.height, window.width), np.float64)
    weights = np.zeros((window.height, window.width), np.float64)
    first = np.zeros((mosaic.count, window.height, window.width), mosaic.dtype)
    before = np.zeros_like(first)
    sources_at = np.zeros((window.height, window.width), np.uint16)
    wide = window.grown(feather_px, mosaic.shape)
    inner = window.within(wide)
    for index in here:
        pixels, valid, changed, around = _changed(
            mosaic, transforms[index], index, window, feather_px
        )
        if not valid.any():
            continue
        weight = _edge_weight(around, feather_px)[inner]
        fresh = valid & (sources_at == 0)
        before[:, fresh], first[:, fresh] = pixels[:, fresh], changed[:, fresh]
        total[:, valid] += changed[:, valid] * weight[valid]
        weights += np.where(valid, weight, 0)
        sources_at += valid
    several = sources_at > 1
    result = first
    result[:, several] = as_dtype(total[:, several] / weights[several], mosaic.dtype)
    return before, result, sources_at > 0


def _edge_weight(valid: NDArray[np.bool_], feather_px: int) -> NDArray[np.float32]:
    if feather_px == 0 or valid.all():
        return np.ones(valid.shape, np.float32)
    distance = cv2.distanceTransform(valid.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.minimum(distance / np.float32(feather_px), 1), np.float32)

"""Application of one color transform per source to a mosaic, tile by tile."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.balance.seamlines import Seamlines
from geossda.color.value_curves import Transform
from geossda.parallel.cores import cores, cores_each
from geossda.parallel.ordered_map import ordered_map
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype
from geossda.raster.source import gdal_environment
from geossda.raster.validity import avoid_nodata
from geossda.raster.windows import Window, tiles
from geossda.runs.shards import Shards

T = TypeVar("T")
R = TypeVar("R")


class WindowTransform(Protocol):
    """A color transform of windows.

    Attributes
    ----------
    halo : int
        Pixels around a window that its own pixels depend on.
    align : int
        Windows start and end at multiples of so many pixels from the raster's origin.
    small : bool
        Whether windows are best computed side by side, each on one core.
    """

    @property
    def halo(self) -> int: ...  # noqa: D102

    @property
    def align(self) -> int: ...  # noqa: D102

    @property
    def small(self) -> bool: ...  # noqa: D102

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], inner: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Map the inner part (rows and columns) of (bands, height, width) pixels; dtype stays."""


@dataclass(frozen=True)
class PixelTransform:
    """A transform that depends on the pixel alone."""

    transform: Transform
    halo: int = 0
    align: int = 1
    small: bool = True

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], inner: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Map the inner part of (bands, height, width) pixels."""
        return self.transform(pixels[:, *inner])


Reader = Callable[[int, Window], tuple[NDArray[Any], NDArray[np.bool_]]]


class _Tile(NamedTuple):
    """A tile of a shard.

    Attributes
    ----------
    shard : int
    place : Window
        In the raster that is written.
    inner : Window
        In the shard.
    """

    shard: int
    place: Window
    inner: Window


class _Changed(NamedTuple):
    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    alpha: NDArray[Any] | None


def recolor(
    mosaic: Mosaic,
    transforms: Sequence[WindowTransform],
    shards: Shards,
    indexes: Sequence[int],
    *,
    tile_px: int,
    feather_px: int,
    area: Window,
    seamlines: Seamlines | None = None,
    progress: Progress = SILENT,
) -> None:
    """Read, transform, blend and write the tiles of shards.

    Threads read and transform tiles a few ahead of this one, which writes them in order.

    Parameters
    ----------
    mosaic : Mosaic
    transforms : sequence of WindowTransform
        One per source.
    shards : Shards
    indexes : sequence of int
        Shards to write.
    tile_px : int
        Side of a tile, in pixels; does not affect the result.
    feather_px : int
        Width over which overlapping sources fade into each other, in pixels.
    area : Window
        The part of the mosaic to write. Its pixels are those of the whole.
    seamlines : Seamlines, optional
        Where sources are cut, and then fade into each other over that width.
    progress : Progress
        Advanced by one per tile.
    """
    footprints = [source.covered(mosaic.grid) for source in mosaic.sources]
    layout = shards.layout
    nodata = layout.nodata if layout.validity == "nodata" else None
    with_alpha = len(mosaic.sources) == 1 and mosaic.sources[0].validity == "alpha"
    order = list(mosaic.sources[0].file_order)
    as_read = order == sorted(order)

    def one(tile: _Tile) -> _Changed:
        place = tile.place
        window = place._replace(row=area.row + place.row, col=area.col + place.col)
        wide = window.grown(feather_px + 1, mosaic.shape) if seamlines else window
        with gdal_environment():
            touching = [
                index
                for index, footprint in enumerate(footprints)
                if footprint is not None and wide.intersection(footprint)
            ]
            if len(touching) == 1:
                before, pixels, valid = _single(mosaic, read, transforms, touching[0], window)
            elif seamlines is not None:
                before, pixels, valid = _cut(
                    mosaic, read, transforms, touching, window, wide, seamlines, feather_px
                )
            else:
                before, pixels, valid = _blended(
                    mosaic, read, transforms, touching, window, feather_px
                )
            pixels = avoid_nodata(pixels, before, valid, nodata)
            alpha = mosaic.sources[0].read_alpha(window) if with_alpha else None
        return _Changed(pixels if as_read else pixels[order], valid, alpha)

    todo = (tile for index in indexes for tile in _tiles_of(layout.strips[index], index, tile_px))
    # Windows with a halo overlap: one thread reads them, whose dataset then has most blocks in its
    # cache, since the sum of what several read from datasets of their own is twice as much.
    shared = max(transform.halo for transform in transforms) > 0
    small = all(transform.small for transform in transforms)
    with contextlib.ExitStack() as stack:
        read: Reader = mosaic.read_source
        if shared:
            read = stack.enter_context(_by_one_thread(read))
        begin = stack.enter_context(cores_each(1)) if small else None
        # One more than cores where they wait for their turn to read.
        workers = cores() + (shared and small)
        results = stack.enter_context(
            contextlib.closing(ordered_map(one, todo, workers, initializer=begin))
        )
        for index in indexes:
            with shards.writing(index) as writer:
                for tile in _tiles_of(layout.strips[index], index, tile_px):
                    pixels, valid, alpha = next(results)
                    writer.write(tile.inner, pixels, valid, alpha)
                    del pixels, valid, alpha
                    progress.advance()


def _tiles_of(strip: Window, shard: int, tile_px: int) -> Iterator[_Tile]:
    for tile in tiles((strip.height, strip.width), tile_px):
        place = tile._replace(row=tile.row + strip.row, col=tile.col + strip.col)
        yield _Tile(shard, place, tile)


@contextlib.contextmanager
def _by_one_thread(read: Reader) -> Iterator[Reader]:
    """Yield a reader whose windows one thread reads for all others, in the order they ask."""

    def in_thread(index: int, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with gdal_environment():
            return read(index, window)

    with ThreadPoolExecutor(1) as reader:
        yield lambda index, window: reader.submit(in_thread, index, window).result()


def _single(
    mosaic: Mosaic,
    read: Reader,
    transforms: Sequence[WindowTransform],
    index: int,
    window: Window,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return (pixels as read, as changed, valid) of one source.

    Pixels that are not valid are kept, or 0 in a mosaic of several sources.
    """
    pixels, valid, changed, _ = _changed(mosaic, read, transforms[index], index, window)
    if not valid.all():
        hidden = pixels if len(mosaic.sources) == 1 else np.zeros_like(pixels)
        changed = np.where(valid, changed, hidden)
    return pixels, changed, valid


def _changed(
    mosaic: Mosaic,
    read: Reader,
    transform: WindowTransform,
    index: int,
    window: Window,
    margin: int = 0,
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any], NDArray[np.bool_]]:
    """Return (pixels as read, valid, as changed, validity with `margin`) of one source.

    It is read once, with the transform's halo. Pixels outside the raster count as nodata, whatever
    the window.
    """
    wanted = window.surrounded(transform.halo, transform.align)
    wide = window.grown(margin, mosaic.shape)
    whole_window = wanted.joined(wide, mosaic.shape)
    pixels, valid = read(index, whole_window)
    around, inner = valid[wide.within(whole_window)], window.within(whole_window)
    if not valid[inner].any():
        return pixels[:, *inner], valid[inner], pixels[:, *inner], around
    there = wanted.grown(0, mosaic.shape)
    rows, cols = there.within(whole_window)
    pixels, valid, inner = pixels[:, rows, cols], valid[rows, cols], window.within(there)
    if there != wanted:
        rows, cols = there.within(wanted)
        whole = np.zeros((len(pixels), wanted.height, wanted.width), pixels.dtype)
        known = np.zeros((wanted.height, wanted.width), np.bool_)
        whole[:, rows, cols], known[rows, cols] = pixels, valid
        pixels, valid, inner = whole, known, window.within(wanted)
    return pixels[:, *inner], valid[inner], transform(pixels, valid, inner), around


def _blended(
    mosaic: Mosaic,
    read: Reader,
    transforms: Sequence[WindowTransform],
    touching: list[int],
    window: Window,
    feather_px: int,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Average sources by their distance to their own edge, at most `feather_px`.

    The distance is measured in a margin of that width, so it is the same in every tile. Return
    (pixels of the first valid source as read, the average as changed, valid).
    """
    total = np.zeros((mosaic.count, window.height, window.width), np.float64)
    weights = np.zeros((window.height, window.width), np.float64)
    first = np.zeros((mosaic.count, window.height, window.width), mosaic.dtype)
    before = np.zeros_like(first)
    sources_at = np.zeros((window.height, window.width), np.uint16)
    wide = window.grown(feather_px, mosaic.shape)
    inner = window.within(wide)
    for index in touching:
        pixels, valid, changed, around = _changed(
            mosaic, read, transforms[index], index, window, feather_px
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


def _cut(
    mosaic: Mosaic,
    read: Reader,
    transforms: Sequence[WindowTransform],
    touching: list[int],
    window: Window,
    wide: Window,
    seamlines: Seamlines,
    feather_px: int,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Take each pixel from the source that seamlines name, and blend along where these meet.

    Where that source is not valid, the first valid one is taken. The blend follows from the
    distance to the other sources' pixels in a margin of its width (`wide`), so it is the same in
    every tile. Return (pixels of the source on top as read, as changed and blended, valid).
    """
    wanted = seamlines.sources_at(wide)
    owner = np.full(wanted.shape, -1, np.int32)
    inner = window.within(wide)
    first = {}
    if len(touching) > 1 and (wanted == wanted[0, 0]).all() and wanted[0, 0] in touching:
        # Nothing else is to be seen where the one wanted is valid.
        index = int(wanted[0, 0])
        first[index] = _changed(mosaic, read, transforms[index], index, window, feather_px + 1)
        pixels, valid, changed, around = first[index]
        if around.all():
            return pixels, changed, valid
    known = {}
    for index in touching:
        parts = first.get(index) or _changed(
            mosaic, read, transforms[index], index, window, feather_px + 1
        )
        known[index] = parts
        around = parts[3]
        owner[around & (owner < 0)] = index
    for index, (*_, around) in known.items():
        owner[around & (wanted == index)] = index
    before = np.zeros((mosaic.count, window.height, window.width), mosaic.dtype)
    result = np.zeros_like(before)
    total = np.zeros(before.shape, np.float64)
    weights = np.zeros((window.height, window.width), np.float64)
    seen = np.zeros(weights.shape, np.uint16)
    for index, (pixels, valid, changed, _) in known.items():
        if not valid.any():
            continue
        top = owner[inner] == index
        before[:, top], result[:, top] = pixels[:, top], changed[:, top]
        weight = np.where(valid, _seam_weight(owner == index, feather_px)[inner], 0)
        total += changed * weight
        weights += weight
        seen += weight > 0
    several = seen > 1
    result[:, several] = as_dtype(total[:, several] / weights[several], mosaic.dtype)
    return before, result, owner[inner] >= 0


def _seam_weight(own: NDArray[np.bool_], feather_px: int) -> NDArray[np.float64]:
    """Return the weight of a source: 1/2 at the borders of its pixels, 1 and 0 half a width off."""
    if feather_px == 0 or own.all() or not own.any():
        return own.astype(np.float64)
    inside, outside = (
        cv2.distanceTransform(each.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for each in (own, ~own)
    )
    # The border lies half a pixel away, between two pixel centres.
    away = np.where(own, inside - 0.5, 0.5 - outside)
    return np.asarray(np.clip(0.5 + away / feather_px, 0, 1), np.float64)


def _edge_weight(valid: NDArray[np.bool_], feather_px: int) -> NDArray[np.float32]:
    if feather_px == 0 or valid.all():
        return np.ones(valid.shape, np.float32)
    distance = cv2.distanceTransform(valid.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.minimum(distance / np.float32(feather_px), 1), np.float32)

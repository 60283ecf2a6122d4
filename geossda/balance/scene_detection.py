"""Detection of a mosaic's scenes from its pixels alone, with straight borders or of any shape."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine

from geossda.balance.border_refinement import refine_borders
from geossda.balance.region_outlines import outline_regions
from geossda.balance.region_search import explained_share, find_regions
from geossda.balance.scenes import Scenes
from geossda.balance.seam_detection import CELL_PX, find_straight_scenes
from geossda.balance.seam_search import MIN_SEAM_CELLS
from geossda.balance.tone_field import ToneField, as_8bit, measure_field
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.statistics import over_windows
from geossda.raster.windows import Window, tiles

# Pixels of the overview along its longer side, and side in pixels, at full resolution, of what is
# read of it at once.
_OVERVIEW_PX, _READ_PX = 2048, 2048
# Most cells that regions are detected in, and their bands: the colours.
_REGION_CELLS, _REGION_BANDS = 6400, 3
# Scenes with straight borders are kept if they explain this share of what regions of any shape do,
# and the second share where theirs are soft and those of regions hard.
_STRAIGHT_SHARE, _SOFT_STRAIGHT_SHARE = 0.9, 0.97
# Pixels of the overview that hard borders found in it may be off by.
_OFF_PX = 6


def find_scenes(mosaic: Mosaic, *, progress: Progress = SILENT) -> Scenes:
    """Detect scenes of different radiometry: with straight borders, else of any shape.

    Parameters
    ----------
    mosaic : Mosaic
        A mosaic of one source.
    progress : Progress

    Returns
    -------
    Scenes
        Without polygons if there is a single scene.
    """
    height, width = mosaic.shape
    step = max(1, -(-max(height, width) // _OVERVIEW_PX))
    if min(height, width) // step < CELL_PX * MIN_SEAM_CELLS:
        return Scenes(())
    pixels, valid = _read_overview(mosaic, step, progress)
    progress.stage("detecting seams")
    # Both searches spend much of their time in NumPy and OpenCV, beside which others can run.
    with ThreadPoolExecutor(1) as beside:
        of_any_shape = beside.submit(_find_regions, pixels, valid, step)
        straight, hard = find_straight_scenes(mosaic, pixels, valid, step)
        progress.stage("detecting regions")
        regions = of_any_shape.result()
    return straight if regions is None else _better(mosaic, straight, hard, regions)


class _Regions(NamedTuple):
    """Scenes of any shape, and what they were found in.

    Attributes
    ----------
    scenes : Scenes
    hard : bool
        Whether their borders are hard.
    labels : (rows, cols) int array
        Region of each cell.
    field : ToneField
    side : int
        Side of a cell, in pixels of the raster.
    limits : (float, float)
        Digital numbers taken as 0 and 255.
    """

    scenes: Scenes
    hard: bool
    labels: NDArray[Any]
    field: ToneField
    side: int
    limits: tuple[float, float]


def _find_regions(pixels: NDArray[Any], valid: NDArray[np.bool_], step: int) -> _Regions | None:
    """Detect scenes of any shape in an overview; None if there is one.

    Parameters
    ----------
    pixels, valid : arrays
        An overview.
    step : int
        Side of its pixels in pixels of the raster.
    """
    if len(pixels) < _REGION_BANDS or not valid.any():
        return None
    factor = int(np.ceil(np.sqrt(valid.size / (_REGION_CELLS * CELL_PX**2))))
    limits = _limits(pixels[:_REGION_BANDS], valid)
    pixels, valid = _reduced(as_8bit(pixels[:_REGION_BANDS], limits), valid, factor)
    field = measure_field(pixels, valid, CELL_PX)
    labels, _ = find_regions(field)
    if labels.max() < 1:
        return None
    scenes, hard = outline_regions(labels, pixels, valid, CELL_PX, step * factor)
    if not scenes.polygons:
        return None
    return _Regions(scenes, hard, labels, field, CELL_PX * step * factor, limits)


def _better(mosaic: Mosaic, straight: Scenes, hard: bool, regions: _Regions) -> Scenes:
    """Return those scenes that explain the tones better, hard borders at full resolution.

    Parameters
    ----------
    mosaic : Mosaic
    straight : Scenes
        With straight borders; without polygons if there is one scene.
    hard : bool
        Whether all of these are hard.
    regions : _Regions
    """
    field, side = regions.field, regions.side
    scenes = _to_edges(regions.scenes, mosaic.shape)
    if straight.polygons:
        cell = Grid(field.known.shape, Affine.scale(side), None)
        unit = Grid(field.known.shape, Affine.identity(), None)
        rows, cols = field.known.shape
        own = straight.on(unit, cell).labels(Window(0, 0, rows, cols))
        explained = explained_share(own, field) / explained_share(regions.labels, field)
        alike = hard or not regions.hard
        if explained >= (_STRAIGHT_SHARE if alike else _SOFT_STRAIGHT_SHARE):
            return straight
    if regions.hard:
        off = _OFF_PX * side // CELL_PX
        return refine_borders(mosaic, scenes, off, regions.limits, _REGION_BANDS)
    return scenes


def _to_edges(scenes: Scenes, shape: tuple[int, int]) -> Scenes:
    """Return scenes that end at the raster's edges: an overview leaves out what is left over."""
    far = np.max([polygon.bounds[2:] for polygon in scenes.polygons], axis=0)
    edges = np.array(shape[::-1], float)
    return Scenes(
        tuple(
            shapely.transform(polygon, lambda points: np.where(points >= far, edges, points))
            for polygon in scenes.polygons
        )
    )


def _read_overview(
    mosaic: Mosaic, step: int, progress: Progress
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read the mosaic at reduced resolution: one pixel for `step` x `step`."""
    height, width = (length // step for length in mosaic.shape)
    overview = mosaic.resampled(mosaic.grid[: height * step, : width * step].zoom_out(step))
    # What a window reads at full resolution must not grow with the mosaic.
    windows = list(tiles((height, width), max(CELL_PX, _READ_PX // step)))
    progress.stage("computing tone statistics", len(windows))
    pixels = np.zeros((mosaic.count, height, width), mosaic.dtype)
    valid = np.zeros((height, width), bool)

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with gdal_environment():
            return overview.read(window)

    for window, (values, known) in zip(windows, over_windows(mosaic, read, windows), strict=True):
        pixels[:, window.rows, window.cols], valid[window.rows, window.cols] = values, known
        progress.advance()
    return pixels, valid


def _limits(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the values that are 0 and 255 where pixels of any type are scaled to 8 bits."""
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    known = pixels[:, valid][:, :: 1 + int(valid.sum()) // 2**18].astype(np.float64)
    low = min(0.0, float(np.quantile(known, 0.002)))
    return low, max(float(np.quantile(known, 0.998)), low + 1e-9)


def _reduced(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Average the valid ones of `factor` x `factor` pixels."""
    if factor == 1:
        return np.where(valid, pixels, 0), valid
    height, width = (length // factor for length in valid.shape)

    def summed(values: NDArray[Any]) -> NDArray[np.float32]:
        inner = values[..., : height * factor, : width * factor]
        split = inner.reshape(*values.shape[:-2], height, factor, width, factor)
        return np.asarray(split.sum((-3, -1), dtype=np.float32))

    count = summed(valid)
    mean = np.asarray(summed(np.where(valid, pixels, 0)) / np.maximum(count, 1), np.float32)
    return mean, 2 * count >= factor**2

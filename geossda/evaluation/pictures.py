"""Small pictures of large rasters, as data URIs for a page without external files."""

import base64
import warnings

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from geossda.evaluation.pair import Pair, Views
from geossda.evaluation.structure_map import UNCHANGED, StructureMap
from geossda.image_files import encode_image
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.handles import open_dataset
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import Stretch
from geossda.raster.windows import Window, tiles

_TILE_PX = 512
# Colours of the structure map, readable in grey and by the colour-blind; the correlation at which
# they end.
COLOR_RAMP = np.array(  # YlOrBr of ColorBrewer (Brewer 2002), with nine classes
    [
        [255, 255, 229], [255, 247, 188], [254, 227, 145], [254, 196, 79], [254, 153, 41],
        [236, 112, 20], [204, 76, 2], [153, 52, 4], [102, 37, 6],
    ]
)  # fmt: skip
RAMP_LOW = 0.5


def overview_grid(grid: Grid, width_px: int) -> Grid:
    """Return a grid over the same rectangle, at most `width_px` wide and twice as high.

    Parameters
    ----------
    grid : Grid
    width_px : int
        In pixels.
    """
    height, width = int(grid.shape.y), int(grid.shape.x)
    factor = max(1.0, width / width_px, height / (2 * width_px))
    small = max(1, round(height / factor)), max(1, round(width / factor))
    scale = grid.transform.scale(width / small[1], height / small[0])
    return Grid(small, grid.transform * scale, grid.crs)


def shown_bands(mosaic: Mosaic) -> tuple[int, ...]:
    """Return the indices of the bands to show as red, green and blue, or of one as grey.

    By colour interpretation if it names all three, else the first three; of two, the first.
    """
    if mosaic.count < 3:
        return (0,)
    source = mosaic.sources[0]
    with open_dataset(source.path) as dataset:
        colors = [dataset.colorinterp[band - 1] for band in source.bands]
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(color in colors for color in wanted):
        return tuple(colors.index(color) for color in wanted)
    return (0, 1, 2)


def before_and_after(
    pair: Pair, width_px: int, *, progress: Progress = SILENT
) -> tuple[str, str, tuple[int, int]]:
    """Draw both rasters at overview scale, in one stretch: 2 to 98 % of their valid pixels.

    Parameters
    ----------
    pair : Pair
    width_px : int
        Maximum width in pixels.
    progress : Progress

    Returns
    -------
    before, after : str
        Data URIs; invalid pixels are transparent.
    size : (int, int)
        Width and height, in pixels.
    """
    bands = shown_bands(pair.after)
    small = pair.resampled(overview_grid(pair.after.grid, width_px))
    windows = list(tiles(small.shape, _TILE_PX))
    progress.stage("drawing overviews", len(windows))
    pixels = np.zeros((2, len(bands), *small.shape), np.float32)
    valid = np.zeros((2, *small.shape), np.bool_)

    def chosen(window: Window, views: Views) -> tuple[Window, Views]:
        before, after = views.before[list(bands)], views.after[list(bands)]
        return window, Views(before, after, views.known, views.written)

    for window, views in small.over(windows, chosen, progress=progress):
        pixels[:, :, window.rows, window.cols] = views.before, views.after
        valid[:, window.rows, window.cols] = views.known, views.written
    stretch = _common_stretch(pixels, valid)
    before, after = (
        _picture(stretch.to_bytes(image), mask) for image, mask in zip(pixels, valid, strict=True)
    )
    return before, after, (small.shape[1], small.shape[0])


def _common_stretch(pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> Stretch:
    ends = np.array([[0.0, 1.0]] * pixels.shape[1])
    if valid.any():
        for band in range(len(ends)):
            ends[band] = np.percentile(pixels[:, band][valid], (2, 98))
    flat = ends[:, 1] <= ends[:, 0]
    ends[flat, 1] = ends[flat, 0] + 1
    return Stretch(ends[:, 0], ends[:, 1])


def _picture(image: NDArray[np.uint8], valid: NDArray[np.bool_]) -> str:
    bands = [*image] if len(image) == 3 else [image[0]] * 3
    opacity = valid.astype(np.uint8) * 255
    rgba = np.stack([np.where(valid, band, 0) for band in bands] + [opacity], axis=-1)
    return _uri("image/webp", encode_image(rgba, ".webp"))


def draw_structure_map(structure: StructureMap, side_px: int) -> str:
    """Draw the correlations by cells, from 0.5 and below to 1; unknown cells are transparent.

    If there are more cells than pixels, a pixel is the mean of its cells.

    Parameters
    ----------
    structure : StructureMap
    side_px : int
        Maximum side in pixels.

    Returns
    -------
    str
        Data URI.
    """
    cells = structure.cells
    step = -(-max(cells.shape) // side_px)
    rows, cols = (-(-side // step) for side in cells.shape)
    padded = np.full((rows * step, cols * step), np.nan, np.float32)
    padded[: cells.shape[0], : cells.shape[1]] = cells
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # blocks without a known cell
        mean = np.nanmean(padded.reshape(rows, step, cols, step), axis=(1, 3))
    rgba = _ramp(np.clip((np.nan_to_num(mean) - RAMP_LOW) / (1 - RAMP_LOW), 0, 1))
    rgba[..., 3] = np.isfinite(mean) * 255
    return _uri("image/png", encode_image(rgba, ".png"))


def legend() -> list[tuple[float, str]]:
    """Return values from low to high with their colours on the map, as ``#rrggbb``."""
    values = np.array([RAMP_LOW, 0.6, 0.7, 0.8, UNCHANGED, 1.0])
    colors = _ramp((values - RAMP_LOW) / (1 - RAMP_LOW))
    return [
        (float(value), "#{:02x}{:02x}{:02x}".format(*color[:3]))
        for value, color in zip(values, colors.tolist(), strict=True)
    ]


def _ramp(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    # Pale where the structure is unchanged, so that changes stand out.
    place = np.clip(1 - values, 0, 1) * (len(COLOR_RAMP) - 1)
    bands = [np.interp(place, np.arange(len(COLOR_RAMP)), band) for band in COLOR_RAMP.T]
    return np.asarray(np.rint(np.stack([*bands, np.full_like(place, 255)], axis=-1)), np.uint8)


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""Checks of imagery whose metadata lack something: fill that counts as data, unsure colours."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.progress import SILENT, Progress
from geossda.raster.bands import interpreted_colors, named_colors
from geossda.raster.handles import open_dataset
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import Source, gdal_environment
from geossda.raster.validity import exact
from geossda.raster.windows import Window

# Values that programs fill with, besides the ends of integer types.
USUAL_FILLS = (0.0, -1.0, -999.0, -9999.0, -32767.0, -32768.0, -99999.0)
# Share of the sampled pixels from which one value counts as fill.
_LEAST_SHARE = 0.01
# Share of the raster's border that the highest value must take up: bright roofs do not.
_LEAST_BORDER_SHARE = 0.05
# Pixels from which a single colour all over is no chance.
_LEAST_FLAT_PX = 64
# Of the range of all other values: how far off an unusual value must lie to be fill.
_LEAST_GAP = 0.1
# Pixels from which a mosaic can be called almost empty, and the share covered below which it is.
_LEAST_SPREAD_PX, _LEAST_COVERED = 2**26, 0.01
# The sample: windows of this side, so many along each side of a source; fewer of many sources.
_SIDE_PX, _SAMPLED_WINDOWS = 64, 400


class Fill(NamedTuple):
    """What probably stands for nodata, though the file does not declare it.

    Attributes
    ----------
    value : float or tuple of float
        The value of all bands, or one each where they differ.
    share : float
        Of the sampled valid pixels, those that have the value in every band.
    """

    value: float | tuple[float, ...]
    share: float

    def __str__(self) -> str:
        """Return what a warning says of it, and how to declare it."""
        share = f"up to {self.share:.0%} of the pixels are"
        if isinstance(self.value, tuple):
            values = ", ".join(map(exact, self.value))
            return (
                f"{share} {values} in their bands and count as data; if they are not, declare the "
                "nodata value of each band, in a VRT"
            )
        return (
            f"{share} {exact(self.value)} in every band and count as data; if they are not, give "
            f"--nodata {exact(self.value)}"
        )


def check_imagery(mosaic: Mosaic, progress: Progress = SILENT) -> None:
    """Check that pixels are colours, and warn of what the files leave undeclared.

    Reads a few small windows of each source, spread over it, its corners among them.

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress
        Warned of undeclared fill, and of band names that contradict the colour interpretation;
        noted where bands are not in the order red, green, blue.

    Raises
    ------
    RasterError
        Pixels are numbers of a colour table.
    """
    mosaic.require_colors()
    if progress is SILENT:
        return
    warn_of_fill(mosaic, progress)
    for source in mosaic.sources:
        if source.reordered:
            progress.note(f"{source.name}: bands {list(source.bands)} are read as they are named")
        _check_names(source, progress)


def warn_of_fill(mosaic: Mosaic, progress: Progress) -> None:
    """Warn of values that probably stand for nodata and are not declared.

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress
    """
    for source in mosaic.sources:
        if fill := undeclared_fill(source, len(mosaic.sources)):
            progress.warn(f"{source.name}: {fill}")


def warn_of_distance(mosaic: Mosaic, progress: Progress) -> None:
    """Warn if there is next to nothing in a mosaic, since its sources lie far apart.

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress
    """
    height, width = mosaic.shape
    if height * width < _LEAST_SPREAD_PX:
        return
    windows = [source.covered(mosaic.grid) for source in mosaic.sources]
    covered = sum(window.height * window.width for window in windows if window)
    if covered < _LEAST_COVERED * height * width:
        progress.warn(
            f"{mosaic.name}: the rasters cover less than {_LEAST_COVERED:.0%} of the {width:,} x "
            f"{height:,} px that they span: check where they lie, or process them one by one"
        )


def undeclared_fill(source: Source, sources: int = 1) -> Fill | None:
    """Return the values that a source is probably filled with where it has no data.

    Parameters
    ----------
    source : Source
    sources : int
        How many are checked together: the more, the smaller each one's sample.

    Returns
    -------
    Fill or None
        None if valid pixels look like data all over; a single colour all over does not.
    """
    steps = int(np.clip(np.sqrt(_SAMPLED_WINDOWS / sources), 2, 5))
    raw = replace(source, correction=None)
    pixels, border = _sample(raw, steps)
    if not pixels.shape[1]:
        return None
    lowest, highest = pixels.min(axis=1), pixels.max(axis=1)
    at_end = ((pixels.T == lowest) | (pixels.T == highest)).all(axis=1)
    colors, counts = np.unique(pixels[:, at_end], axis=1, return_counts=True)
    for place in np.argsort(-counts):
        color, share = colors[:, place], float(counts[place] / pixels.shape[1])
        if share < _LEAST_SHARE:
            return None
        filled = (pixels.T == color).all(axis=1)
        values = color.astype(float).tolist()
        flat = filled.all() and len(filled) >= _LEAST_FLAT_PX
        if not flat and not all(
            value in USUAL_FILLS or _is_end(value, source.dtype) or _stands_apart(value, others)
            for value, others in zip(values, pixels[:, ~filled], strict=True)
        ):
            continue
        if ((color == highest) & (color != 0)).any():
            if not border.any() or float(filled[border].mean()) < _LEAST_BORDER_SHARE:
                continue
        return Fill(values[0] if len(set(values)) == 1 else tuple(values), share)
    return None


def _sample(source: Source, steps: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read small windows; return their valid pixels, (bands, n), and which lie on the border."""
    height, width = int(source.grid.shape.y), int(source.grid.shape.x)
    high, wide = min(_SIDE_PX, height), min(_SIDE_PX, width)
    rows = np.unique(np.linspace(0, height - high, steps).astype(int)).tolist()
    cols = np.unique(np.linspace(0, width - wide, steps).astype(int)).tolist()
    pixels, borders = [], []
    with gdal_environment():
        for row in rows:
            for col in cols:
                read, valid = source.read(Window(row, col, high, wide))
                y, x = np.arange(row, row + high), np.arange(col, col + wide)
                on_rows, on_cols = (y == 0) | (y == height - 1), (x == 0) | (x == width - 1)
                border = on_rows[:, None] | on_cols
                pixels.append(read[:, valid])
                borders.append(border[valid])
    return np.concatenate(pixels, axis=1), np.concatenate(borders)


def _is_end(value: float, dtype: np.dtype[Any]) -> bool:
    """Return whether a value is the lowest or highest of a type, or of a shorter integer type."""
    ends: set[float] = {255.0, 65535.0}
    if dtype.kind != "f":
        ends |= {float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)}
    return value in ends


def _stands_apart(value: float, others: NDArray[Any]) -> bool:
    """Return whether a value lies far outside the range of all others of its band."""
    if not others.size:
        return False
    low, high = float(others.min()), float(others.max())
    return max(low - value, value - high) > _LEAST_GAP * max(high - low, np.finfo(float).tiny)


def _check_names(source: Source, progress: Progress) -> None:
    with gdal_environment(), open_dataset(source.path) as dataset:
        named = named_colors(dataset, source.bands)
        shown = interpreted_colors(dataset, source.bands)
    differ = [
        (band, name, color)
        for band, name, color in zip(source.bands, named, shown, strict=True)
        if name and color and name != color
    ]
    if differ:
        band, name, color = differ[0]
        progress.warn(
            f"{source.name}: band {band} is named {name} and its colour interpretation is {color}, "
            "which is used; if the names are right, give the bands in order with --bidx"
        )

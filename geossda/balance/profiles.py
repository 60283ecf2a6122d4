"""Look across a border: what a mosaic shows on both sides of a line, at its own resolution."""

from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.parallel.ordered_map import ordered_map
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

# Pixels along a border that are looked at together, and how many such pieces at most.
LENGTH, MOST = 256, 48
# The shortest piece, and how many are wanted.
SHORT, FEW = 32, 24


class Piece(NamedTuple):
    """What lies across a piece of a border.

    Attributes
    ----------
    pixels : (bands, length, 2 * reach) array
        Columns go across the border, which lies between the two middle ones.
    valid : (length, 2 * reach) bool array
    rows, cols : (length, 2 * reach) int arrays
        Where the pixels lie in the raster.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]


def pieces(
    mosaic: Mosaic, line: Any, reach: int, length: int = LENGTH, *, shorten: bool = True
) -> list[Piece]:
    """Look across a border at pieces spread evenly along it.

    Parameters
    ----------
    mosaic : Mosaic
    line : shapely (Multi)LineString
        In pixels of the mosaic.
    reach : int
        How many pixels to look at on either side.
    length : int
        Of a piece, in pixels.
    shorten : bool
        Whether short borders are looked at in shorter pieces, so that there are some to compare.
    """
    parts = [part for part in shapely.get_parts(line) if part.length >= 1]
    total = sum(part.length for part in parts)
    if shorten:
        length = min(length, max(SHORT, int(total / FEW)))
    apart = max(float(length), total / MOST)
    centres = []
    for part in parts:
        count = max(1, int(part.length // apart))
        for number in range(count):
            at = (number + 0.5) * part.length / count
            half = min(length, part.length / count) / 2
            ends = [part.interpolate(at - half), part.interpolate(at + half)]
            centres.append((_xy(part.interpolate(at)), _xy(ends[1]) - _xy(ends[0]), 2 * half))
    found = ordered_map(lambda centre: _piece(mosaic, *centre, reach), centres)
    return [piece for piece in found if piece is not None and piece.valid.any()]


def _piece(
    mosaic: Mosaic,
    centre: NDArray[np.float64],
    along: NDArray[np.float64],
    length: float,
    reach: int,
) -> Piece | None:
    span = float(np.hypot(*along))
    if span == 0:
        return None
    along = along / span
    across = np.array([-along[1], along[0]])
    u = np.arange(max(1, round(min(length, span)))) + 0.5
    v = np.arange(-reach, reach) + 0.5
    places = centre + (u - u.mean())[:, None, None] * along + v[None, :, None] * across
    cols, rows = np.floor(places[..., 0]).astype(int), np.floor(places[..., 1]).astype(int)
    height, width = mosaic.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    if not inside.any():
        return None
    top, left = int(rows[inside].min()), int(cols[inside].min())
    window = Window(
        top, left, int(rows[inside].max()) - top + 1, int(cols[inside].max()) - left + 1
    )
    with gdal_environment():
        pixels, valid = mosaic.read(window)
    row, col = np.where(inside, rows - top, 0), np.where(inside, cols - left, 0)
    return Piece(pixels[:, row, col], valid[row, col] & inside, rows, cols)


def _xy(point: Any) -> NDArray[np.float64]:
    return np.array([point.x, point.y])

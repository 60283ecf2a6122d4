"""Profiles across a border: the pixels on both sides of a line, at full resolution."""

from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.parallel.ordered_map import ordered_map
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

# Length of a profile along the border in pixels, and the most profiles of one border.
_LENGTH_PX, _MAX_PROFILES = 256, 48
# Pieces of a border from which only the longest are looked at: a tangle has thousands.
_MAX_PIECES = 96
# Length that profiles are shortened to, in pixels, for a border to have this many.
_MIN_LENGTH_PX, _WANTED_PROFILES = 32, 24
# Distance in pixels that the course of a border is simplified by, and half the length that it is
# averaged over where it bends.
_TOLERANCE_PX, _SMOOTHED_PX = 0.75, 12.0


class Profile(NamedTuple):
    """Pixels on both sides of one section of a border.

    Attributes
    ----------
    pixels : (bands, length, 2 * reach) array
        Columns go across the border, which lies between the two middle ones.
    valid : (length, 2 * reach) bool array
    rows, cols : (length, 2 * reach) int arrays
        Positions of the pixels in the raster.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]


def read_profiles(
    mosaic: Mosaic,
    line: shapely.Geometry,
    reach: int,
    length: int = _LENGTH_PX,
    *,
    shorten: bool = True,
) -> list[Profile]:
    """Read profiles across a border, spread evenly along it.

    Parameters
    ----------
    mosaic : Mosaic
    line : LineString or MultiLineString
        In pixels of the mosaic.
    reach : int
        Width on either side, in pixels.
    length : int
        Length of a profile along the border, in pixels.
    shorten : bool
        Whether the profiles of a short border are shortened, so that there are some to compare.

    Returns
    -------
    list of Profile
        Those with valid pixels.
    """
    # Outlines drawn along the edges of pixels have a corner at each of them.
    simple = shapely.get_parts(shapely.simplify(line, _TOLERANCE_PX))
    parts = [part for part in simple if part.length >= 1]
    if len(parts) > _MAX_PIECES:
        parts = sorted(parts, key=shapely.length)[-_MAX_PIECES:]
    total = sum(part.length for part in parts)
    if shorten:
        length = min(length, max(_MIN_LENGTH_PX, int(total / _WANTED_PROFILES)))
    spacing = max(float(length), total / _MAX_PROFILES)
    sections = []
    for part in parts:
        count = max(1, int(part.length // spacing))
        for number in range(count):
            at = (number + 0.5) * part.length / count
            half = min(length, part.length / count) / 2
            sections.append((part, at - half, at + half))
    profiles = ordered_map(lambda section: _read_profile(mosaic, *section, reach), sections)
    return [profile for profile in profiles if profile is not None and profile.valid.any()]


def _read_profile(
    mosaic: Mosaic, line: shapely.LineString, start: float, end: float, reach: int
) -> Profile | None:
    """Read the pixels beside a section of a line, from `start` to `end` pixels along it."""
    count = max(1, round(end - start))
    u = (start + end) / 2 + np.arange(count) + 0.5 - count / 2
    shifts = np.linspace(-_SMOOTHED_PX, _SMOOTHED_PX, 9)
    course = np.stack([along_line(line, u + shift) for shift in shifts])
    along = course[-1] - course[0]
    span = np.hypot(*along.T)
    if (span == 0).any():
        return None
    along /= span[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    straight = len(line.coords) == 2
    centre = along_line(line, u) if straight else course.mean(0)
    v = np.arange(-reach, reach) + 0.5
    points = centre[:, None] + v[None, :, None] * across[:, None]
    cols, rows = np.floor(points[..., 0]).astype(int), np.floor(points[..., 1]).astype(int)
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
    return Profile(pixels[:, row, col], valid[row, col] & inside, rows, cols)


def along_line(line: shapely.LineString, at: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return points of a line.

    Parameters
    ----------
    line : LineString
    at : (points,) array
        Distances along it; beyond its ends they give its ends.

    Returns
    -------
    (points, 2) array
    """
    corners = shapely.get_coordinates(line)
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    known = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.stack([np.interp(at, known, each) for each in corners.T], axis=1)

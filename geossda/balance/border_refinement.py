"""Hard borders of scenes placed at full resolution, where they were found at a reduced one."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import shapely
import shapely.ops
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geossda.balance.border_paths import find_border, strip_along
from geossda.balance.scenes import Scenes
from geossda.balance.tone_field import as_8bit
from geossda.parallel.ordered_map import ordered_map
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

# Length in pixels of the pieces that a border is placed in, of the shortest, and of what is read at
# once.
_PIECE_PX, _MIN_PIECE_PX, _READ_PX = 2048.0, 32.0, 256
# Least and most distance that is searched, and distance that simplified borders may be off by, in
# pixels.
_MIN_REACH_PX, _MAX_REACH_PX, _TOLERANCE_PX = 8, 128, 0.35

Line = NDArray[np.float64]


def refine_borders(
    mosaic: Mosaic, scenes: Scenes, off: float, limits: tuple[float, float], bands: int
) -> Scenes:
    """Move the borders of scenes to where the mosaic has hard ones.

    Parameters
    ----------
    mosaic : Mosaic
        A mosaic of one source.
    scenes : Scenes
        That cover it and do not overlap.
    off : float
        Distance in pixels that borders may be off by; at most 128 are searched, for memory's sake.
    limits : (float, float)
        Values taken as 0 and 255 of 8 bits.
    bands : int
        Bands that are looked at.

    Returns
    -------
    Scenes
        Borders that the mosaic does not show as hard stay, but for their ends.
    """
    reach = min(max(_MIN_REACH_PX, round(off)), _MAX_REACH_PX)
    lines = _borders(scenes, mosaic.shape)
    pieces = [_pieces(line) for line in lines]
    place = functools.partial(_placed, mosaic, scenes, reach, limits, bands)
    placed = iter(ordered_map(place, [piece for line in pieces for piece in line]))
    moved = [np.concatenate([next(placed) for _ in line]) for line in pieces]
    return _redrawn(scenes, _joined(lines, moved, mosaic.shape), mosaic.shape)


def _borders(scenes: Scenes, shape: tuple[int, int]) -> list[shapely.LineString]:
    """Return the lines between the points at which three scenes, or two and the edge, meet."""
    edge = shapely.box(0, 0, shape[1], shape[0]).boundary
    borders = shapely.union_all([polygon.boundary for polygon in scenes.polygons])
    merged = shapely.line_merge(shapely.difference(borders, edge))
    return [line for line in shapely.get_parts(merged).tolist() if line.length > 0]


def _pieces(line: shapely.LineString) -> list[shapely.LineString]:
    """Cut a line into pieces of at most :data:`_PIECE_PX`."""
    ends = np.linspace(0, line.length, 1 + int(np.ceil(line.length / _PIECE_PX))).tolist()
    pieces = (shapely.ops.substring(line, *both) for both in itertools.pairwise(ends))
    return [piece for piece in pieces if isinstance(piece, shapely.LineString)]


def _placed(
    mosaic: Mosaic,
    scenes: Scenes,
    reach: int,
    limits: tuple[float, float],
    bands: int,
    line: shapely.LineString,
) -> Line:
    """Return the points of a piece of a border, moved to where the mosaic shows it."""
    corners = shapely.get_coordinates(line)
    if line.length < _MIN_PIECE_PX:
        return corners
    points, across = strip_along(line, reach)
    cols, rows = np.moveaxis(np.floor(points).astype(int), -1, 0)
    starts = range(0, len(rows), 2 * _READ_PX)
    sections = (np.s_[start : start + 2 * _READ_PX] for start in starts)
    parts = [_read(mosaic, scenes, rows[part], cols[part]) for part in sections]
    pixels, valid, labels = (np.concatenate(part, -2) for part in zip(*parts, strict=True))
    kind, _, path = find_border(as_8bit(pixels[:bands], limits), valid, labels)
    if kind != "hard" or path is None:
        return corners
    middle = points.mean(1)
    moved = middle + ((path + 1) / 2 - reach)[:, None] * across
    return shapely.get_coordinates(shapely.simplify(shapely.LineString(moved), _TOLERANCE_PX))


def _read(
    mosaic: Mosaic, scenes: Scenes, rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> tuple[NDArray[np.generic], NDArray[np.bool_], NDArray[np.int32]]:
    """Read pixels at positions, whether they are valid, and their scenes; -1 outside."""
    height, width = mosaic.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    rows, cols = rows.clip(0, height - 1), cols.clip(0, width - 1)
    top, left = int(rows.min()), int(cols.min())
    window = Window(top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1)
    with gdal_environment():
        pixels, valid = mosaic.read(window)
    place = rows - top, cols - left
    labels = scenes.labels(window)[place]
    return pixels[:, *place], valid[place] & inside, np.where(inside, labels, -1)


def _joined(
    lines: Sequence[shapely.LineString], moved: Sequence[Line], shape: tuple[int, int]
) -> list[shapely.LineString]:
    """Join moved lines where they met: in the middle of their ends, on the edge of the mosaic."""
    ends = [shapely.get_coordinates(line)[[0, -1]] for line in lines]
    nodes, place = np.unique(np.concatenate(ends).round(6), axis=0, return_inverse=True)
    place = place.reshape(-1, 2)
    count = np.bincount(place.ravel(), minlength=len(nodes))
    given = np.concatenate([line[[0, -1]] for line in moved])
    totals = [np.bincount(place.ravel(), each, len(nodes)) for each in given.T]
    at = np.stack(totals, 1) / count[:, None]
    far = np.array(shape[::-1], float)
    fixed = (nodes <= 0) | (nodes >= far)
    at = np.where(fixed, nodes, at.clip(0, far))
    return [
        shapely.LineString(np.concatenate([at[start : start + 1], points, at[end : end + 1]]))
        for points, (start, end) in zip(moved, place.tolist(), strict=True)
    ]


def _redrawn(scenes: Scenes, lines: Sequence[shapely.LineString], shape: tuple[int, int]) -> Scenes:
    """Return the scenes between moved borders: those that most of what lies there belonged to."""
    box = shapely.box(0, 0, shape[1], shape[0])
    inside = shapely.intersection(shapely.MultiLineString(list(lines)), box)
    noded = shapely.union_all([inside, box.boundary])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    polygons = np.array(scenes.polygons, object)
    shared = shapely.area(shapely.intersection(faces[:, None], polygons))
    owner = np.where(shared.any(1), shared.argmax(1), -1)
    parts: list[BaseGeometry] = [
        shapely.union_all(faces[owner == scene]) for scene in range(len(polygons))
    ]
    return Scenes(tuple(part for part in parts if part.area > 0))

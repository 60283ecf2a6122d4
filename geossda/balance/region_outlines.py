"""Outlines of regions of cells, placed to the pixel where the image shows their borders."""

import cv2
import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geossda.balance.border_paths import Kind, find_border, strip_along
from geossda.balance.scenes import Scenes

_KINDS: tuple[Kind, ...] = ("hard", "soft", "land")

# Deviation in cells that the borders of cells are smoothed with.
_SMOOTHING_CELLS = 1.2
# Distance on either side of a border that it is searched within, in cells, and the shortest border
# that is searched, in pixels.
_REACH_CELLS, _MIN_LENGTH_PX = 5.0, 32
# Distance in pixels that simplified outlines may be off by.
_TOLERANCE_PX = 0.75


def outline_regions(
    labels: NDArray[np.int32],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    side: int,
    step: float,
) -> tuple[Scenes, bool]:
    """Return the outlines of regions of cells.

    Parameters
    ----------
    labels : (rows, cols) int32 array
        Region of every cell, from 0; -1 where unknown.
    pixels : (bands, height, width) float32 array
        As of 8 bits.
    valid : (height, width) bool array
    side : int
        Side of a cell, in pixels.
    step : float
        Side of these pixels in pixels of the raster.

    Returns
    -------
    scenes : Scenes
        That cover all pixels and do not overlap, in pixels of the raster; without polygons where
        all borders turn out to be borders of land cover.
    hard : bool
        Whether most of their borders are hard.
    """
    count = int(labels.max()) + 1
    smooth = _smoothed(labels, count, valid.shape, side)
    lengths = dict.fromkeys(_KINDS, 0.0)
    for border in _polygons(smooth).borders(valid.shape):
        of_pair = dict.fromkeys(_KINDS, 0.0)
        for line in shapely.get_parts(border.line):
            if line.length >= _MIN_LENGTH_PX:
                kind = _sharpen(smooth, pixels, valid, line, round(_REACH_CELLS * side))
                of_pair[kind] += line.length
        if of_pair["land"] > of_pair["hard"] + of_pair["soft"]:
            merged = np.where(labels == border.second, border.first, labels)
            merged -= (merged > border.second).astype(np.int32)
            return outline_regions(merged, pixels, valid, side, step)
        lengths = {kind: lengths[kind] + of_pair[kind] for kind in _KINDS}
    if count == 1:
        return Scenes(()), False
    outlines = _polygons(smooth, _TOLERANCE_PX).polygons
    scaled = (shapely.transform(shape, lambda points: points * step) for shape in outlines)
    return Scenes(tuple(scaled)), lengths["hard"] > lengths["soft"]


def _smoothed(
    labels: NDArray[np.int32], count: int, shape: tuple[int, int], side: int
) -> NDArray[np.int32]:
    """Draw regions of cells in pixels, with smooth borders."""
    labels = labels.copy()
    known = np.argwhere(labels >= 0)
    unknown = np.argwhere(labels < 0)
    cells = shapely.STRtree([shapely.Point(place) for place in known.tolist()])
    nearest = cells.nearest([shapely.Point(place) for place in unknown.tolist()])
    labels[tuple(unknown.T)] = labels[tuple(known[nearest].T)]
    best, smooth = np.full(shape, -1, np.float32), np.zeros(shape, np.int32)
    rows, cols = (length * side for length in labels.shape)
    pad = [(0, max(0, full - part)) for full, part in zip(shape, (rows, cols), strict=True)]
    for label in range(count):
        own = cv2.resize(
            (labels == label).astype(np.float32), (cols, rows), interpolation=cv2.INTER_NEAREST
        )
        own = cv2.GaussianBlur(
            own, (0, 0), _SMOOTHING_CELLS * side, borderType=cv2.BORDER_REPLICATE
        )
        own = np.pad(own, pad, mode="edge")
        smooth[own > best], best = label, np.maximum(own, best)
    return smooth


def _polygons(labels: NDArray[np.int32], tolerance: float = 0.0) -> Scenes:
    """Return the outlines of labelled pixels, (height, width), simplified without gaps."""
    parts: dict[int, list[BaseGeometry]] = {}
    for shape, label in rasterio.features.shapes(labels):
        parts.setdefault(int(label), []).append(shapely.geometry.shape(shape))
    whole = [shapely.union_all(parts[label]) for label in sorted(parts)]
    if not tolerance:
        return Scenes(tuple(whole))
    # Where three regions meet every outline needs a corner, for borders to be simplified as one.
    noded = shapely.union_all([shape.boundary for shape in whole])
    faces = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    inner = shapely.get_coordinates(shapely.point_on_surface(faces)).astype(int)
    owner = labels[inner[:, 1], inner[:, 0]]
    whole = [shapely.coverage_union_all(faces[owner == label]) for label in sorted(parts)]
    return Scenes(tuple(shapely.coverage_simplify(whole, tolerance)))


def _sharpen(
    labels: NDArray[np.int32],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    line: shapely.LineString,
    reach: int,
) -> Kind:
    """Move a line between two regions to where the image has a hard border, if it has one.

    Returns
    -------
    str
        ``"land"`` for a hard border across which the ground does not continue.
    """
    points, _ = strip_along(line, reach)
    cols, rows = np.moveaxis(np.floor(points).astype(int), -1, 0)
    inside = (rows >= 0) & (rows < labels.shape[0]) & (cols >= 0) & (cols < labels.shape[1])
    rows, cols = np.where(inside, rows, 0), np.where(inside, cols, 0)
    drawn = np.where(inside, labels[rows, cols], -1)
    usable = inside & valid[rows, cols]
    kind, sides, path = find_border(pixels[:, rows, cols], usable, drawn)
    if path is None:
        return kind
    columns = np.arange(4 * reach)
    wanted = np.where(columns <= path[:, None], sides[0], sides[1])
    inner = (
        np.isin(drawn, sides)
        & inside
        & valid[rows, cols]
        & (np.abs(columns - 2 * reach) < 1.9 * reach)
    )
    labels[rows[inner], cols[inner]] = wanted[inner]
    return kind

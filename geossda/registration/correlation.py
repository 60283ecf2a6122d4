"""Correlation of groups of footprints with building probabilities, for every shift of a search."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import Affine

from geossda.errors import InputError
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.rasterize import burn
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

_TILE_PX = 1024


@dataclass(frozen=True)
class ShiftScores:
    """How well each group of footprints fits the probabilities at every shift.

    Attributes
    ----------
    contrast : (groups, 2 radius + 1, 2 radius + 1) float16 array
        Mean probability inside the shifted footprints minus the mean around them, -1..1; rows are
        shifts down and columns shifts to the right, from -radius to radius pixels.
    area_px : (groups,) float64 array
        Pixels of the footprints at which a probability is known; 0 for groups out of sight.
    """

    contrast: NDArray[np.float16]
    area_px: NDArray[np.float64]

    @property
    def radius(self) -> int:
        """Largest shift, in pixels."""
        return int(self.contrast.shape[1]) // 2

    def at(self, shifts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the contrast of each group at its shift, given in pixels to the right and down."""
        col, row = np.rint(shifts).astype(int).T + self.radius
        return np.asarray(self.contrast[np.arange(len(shifts)), row, col], np.float64)


class _Sums:
    """Sums of one group over the tiles seen so far: inside its footprints, and around them."""

    def __init__(self, side: int) -> None:
        self.inside, self.around = np.zeros((2, side, side))
        self.inside_px = self.around_px = self.known_px = 0

    def contrast(self) -> NDArray[np.float64]:
        """Return the mean inside minus the mean around, for every shift."""
        # What is not known counts as neither building nor ground, so 0 stands for one half.
        result: NDArray[np.float64] = self.inside / max(self.inside_px, 1)
        return result - self.around / max(self.around_px, 1)


def score_shifts(
    polygons: NDArray[np.object_],
    groups: NDArray[np.int64],
    probabilities: Mosaic,
    radius: int,
    margin: int,
    progress: Progress = SILENT,
) -> ShiftScores:
    """Compute how well each group fits the probabilities at every shift.

    The template of a group is positive inside its footprints and negative within the margin around
    them, where no other footprint is, and sums up to 0: a shift is good if buildings lie inside
    and none beside (the unary term of Vargas-Munoz et al. 2019, which has the inside alone). Sums
    over tiles add up, so neither tiles nor the size of a group matter to memory or result.

    Parameters
    ----------
    polygons : (n,) array of shapely Polygon
        In pixels of the mosaic's grid.
    groups : (n,) int64 array
        The group of each polygon, from 0.
    probabilities : Mosaic
        One band, 0..1.
    radius : int
        Largest shift along either axis, in pixels.
    margin : int
        How far around the footprints counts, in pixels.
    progress : Progress
        Advanced by one per tile.

    Raises
    ------
    InputError
        Values outside 0..1.
    """
    count, side = int(groups.max(initial=-1)) + 1, 2 * radius + 1
    scores = ShiftScores(np.zeros((count, side, side), np.float16), np.zeros(count))
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    boxes = np.column_stack([_least(bounds[:, :2], groups), -_least(-bounds[:, 2:], groups)])
    boxes += np.array([-1, -1, 1, 1]) * (margin + 1)
    tree = shapely.STRtree(polygons)
    sums: dict[int, _Sums] = {}
    plan = list(_tiles_of(boxes, probabilities.shape))
    last = {group: place for place, (_, members) in enumerate(plan) for group in members}
    progress.stage("aligning", len(plan))
    for place, (tile, members) in enumerate(plan):
        centred, known = _read(probabilities, tile, radius)
        near = np.sort(tree.query(shapely.box(*_corners(tile, margin))))
        corner = Affine.translation(tile.col - margin, tile.row - margin)
        shape = tile.height + 2 * margin, tile.width + 2 * margin
        pairs = zip(polygons[near], (groups[near] + 1).tolist(), strict=True)
        labels = burn(pairs, shape, corner, dtype=np.int32)
        for group in members:
            own = sums.setdefault(group, _Sums(side))
            _add(own, group + 1, _part(boxes[group], tile), labels, centred, known, margin)
            if last[group] == place:
                scores.contrast[group] = own.contrast()
                scores.area_px[group] = own.known_px
                del sums[group]
        progress.advance()
    return scores


def _least(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the least of each column over every group."""
    least = np.full((int(groups.max(initial=-1)) + 1, values.shape[1]), np.inf)
    np.minimum.at(least, groups, values)
    return least


def _tiles_of(
    boxes: NDArray[np.float64], shape: tuple[int, int]
) -> Iterator[tuple[Window, list[int]]]:
    """Yield the tiles that groups reach into, row by row, each with these groups."""
    height, width = shape
    limit = np.array([width, height, width, height])
    inside = (boxes[:, :2] < limit[:2]).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    spans = np.clip(boxes, 0, limit - 1).astype(np.int64) // _TILE_PX
    members: dict[tuple[int, int], list[int]] = {}
    for group in np.flatnonzero(inside).tolist():
        left, top, right, bottom = spans[group].tolist()
        for row in range(top, bottom + 1):
            for col in range(left, right + 1):
                members.setdefault((row, col), []).append(group)
    whole = Window(0, 0, height, width)
    for row, col in sorted(members):
        tile = Window(row * _TILE_PX, col * _TILE_PX, _TILE_PX, _TILE_PX).intersection(whole)
        if tile is not None:
            yield tile, members[row, col]


def _corners(tile: Window, margin: int) -> tuple[int, int, int, int]:
    bottom, right = tile.row + tile.height, tile.col + tile.width
    return tile.col - margin, tile.row - margin, right + margin, bottom + margin


def _part(box: NDArray[np.float64], tile: Window) -> Window:
    """Return the part of a tile that a group's box covers, counted from the tile's corner."""
    left, top = np.floor(box[:2]).astype(int) - (tile.col, tile.row)
    right, bottom = np.ceil(box[2:]).astype(int) - (tile.col, tile.row)
    left, right = np.clip((left, right), 0, tile.width).tolist()
    top, bottom = np.clip((top, bottom), 0, tile.height).tolist()
    return Window(top, left, bottom - top, right - left)


def _read(
    probabilities: Mosaic, tile: Window, radius: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return probabilities less one half, 0 where unknown, of a tile grown by the radius."""
    window = tile.grown(radius, probabilities.shape)
    with gdal_environment():
        pixels, valid = probabilities.read(window)
    values = pixels[0].astype(np.float32)
    seen = values[valid]
    if len(seen) and not (seen.min() >= 0 and seen.max() <= 1):
        raise InputError(
            f"{probabilities.name} holds values from {seen.min():g} to {seen.max():g}, "
            "probabilities in 0..1 were expected: give imagery of several bands, or rescale it"
        )
    shape = tile.height + 2 * radius, tile.width + 2 * radius
    centred, known = np.zeros(shape, np.float32), np.zeros(shape, bool)
    inner = window.within(Window(tile.row - radius, tile.col - radius, *shape))
    centred[inner] = np.where(valid, values - np.float32(0.5), np.float32(0))
    known[inner] = valid
    return centred, known


def _add(
    sums: _Sums,
    label: int,
    part: Window,
    labels: NDArray[np.int32],
    centred: NDArray[np.float32],
    known: NDArray[np.bool_],
    margin: int,
) -> None:
    """Add what one tile holds of a group; labels reach beyond it by the margin."""
    radius = (centred.shape[0] - labels.shape[0]) // 2 + margin
    rows = slice(part.row, part.row + part.height + 2 * margin)
    cols = slice(part.col, part.col + part.width + 2 * margin)
    near = labels[rows, cols]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    wide = cv2.dilate((near == label).view(np.uint8), disc).astype(bool)
    core = (slice(margin, margin + part.height), slice(margin, margin + part.width))
    inside = near[core] == label
    around = wide[core] & (near[core] == 0)
    rows = slice(part.row, part.row + part.height + 2 * radius)
    cols = slice(part.col, part.col + part.width + 2 * radius)
    shown = centred[rows, cols]
    unmoved = known[rows, cols][radius : radius + part.height, radius : radius + part.width]
    sums.known_px += int((inside & unmoved).sum())
    sums.inside_px += int(inside.sum())
    sums.around_px += int(around.sum())
    if inside.any():
        sums.inside += cv2.matchTemplate(shown, inside.astype(np.float32), cv2.TM_CCORR)
    if around.any():
        sums.around += cv2.matchTemplate(shown, around.astype(np.float32), cv2.TM_CCORR)

"""Separation of touching buildings by watershed."""

import contextlib
import functools
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.flooding import flood
from geossda.footprints.records import BuildingWindow, Footprints
from geossda.footprints.tracing import Corners, build_polygons, find_corners
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window

# Chosen by measurement on places that the models had not seen (decision 0008), for probabilities
# and for masks: standard deviation of the smoothing in metres; least depth of a valley between two
# buildings, in log odds and in metres.
_SMOOTHING_M, _SMOOTHING_MASK_M = 0.45, 0.9
_VALLEY_MASK_M = 0.3
# In patches larger than one building, valleys are shallower: by this much with each doubling of the
# area, down to a least depth. A patch as large as a block is many buildings, a small one is not,
# and one that fills its smallest rectangle to this fraction is a hall, unless it is as narrow as a
# terrace.
_VALLEY_LOG_ODDS, _ONE_BUILDING_M2, _FALL, _LEAST_LOG_ODDS = 2.0, 400.0, 0.5, 0.3
_HALL_FILL, _HALL_WIDTH_M = 0.85, 15.0
# Log odds are clipped here: differences among certain pixels say nothing about walls.
_CERTAIN_LOG_ODDS = 6.9
# Smallest building in square metres; and the widest patch that is separated, in pixels, for
# memory's sake.
_MIN_BUILDING_M2, _WIDEST_PX = 10.0, 4096
# A hill whose summit is lower than one within this many pixels is rejected before the rest of the
# hill is examined.
_NEAR_PX = 16
# Patches whose surroundings have no more pixels are read all at once.
_TOGETHER_PX = 1 << 22
# The watershed takes some hundred bytes per pixel: patches with more pixels run one at a time.
_ALONE_PX = 1 << 20
# The four neighbours of a pixel.
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Splitter:
    """Separates touching buildings along the valleys between them (watershed, Meyer 1994).

    For probabilities the surface is their log odds: a model that merges two roofs is still less
    certain where they meet. For masks it is the distance to the background: buildings are wide and
    what joins them is narrow. Each patch is processed as a whole, so blocks do not affect the
    result. Threads may share one, and it can be sent to another process.

    Parameters
    ----------
    read : callable
        Returns the building pixels of a window.
    shape : (int, int)
        Height and width of the raster in pixels.
    gsd_m : float
        Pixel size in metres.
    temperature : float
        Temperature that the model's log odds were divided by to calibrate the probabilities.
    progress : Progress
        Receives a warning about patches that are too wide.
    pixel_m : (float, float), optional
        Width and height of a pixel in metres, where they differ from `gsd_m`.
    """

    def __init__(
        self,
        read: Callable[[Window], BuildingWindow],
        shape: tuple[int, int],
        gsd_m: float,
        temperature: float = 1.0,
        progress: Progress = SILENT,
        pixel_m: tuple[float, float] | None = None,
    ) -> None:
        self._read, self._shape, self._gsd_m, self._progress = read, shape, gsd_m, progress
        self._pixel_m = pixel_m or (gsd_m, gsd_m)
        self._temperature = temperature
        self._warned = False
        self._alone = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling; the copy in another process reports no progress."""
        settings = (self._shape, self._gsd_m, self._temperature, SILENT, self._pixel_m)
        return Splitter, (self._read, *settings)

    def warn_of_wide(self, patches: Footprints) -> None:
        """Warn once of a patch that is too wide to be separated."""
        boxes = shapely.bounds(patches.polygons).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        wide = sides[sides.max(axis=1) > _WIDEST_PX]
        if len(wide) and not self._warned:
            self._warned = True
            self._progress.warn(
                f"a patch of buildings {wide[0, 0]:.0f} px wide and {wide[0, 1]:.0f} px high is "
                f"not separated: --split takes up to {_WIDEST_PX} px"
            )

    def split(self, patches: Footprints) -> tuple[Footprints, NDArray[np.int64]]:
        """Separate the buildings of patches.

        Parameters
        ----------
        patches : Footprints
            n connected components, in pixels.

        Returns
        -------
        pieces : Footprints
            m >= n buildings in the order of their patches; most patches are one building.
        owner : (m,) int64 array
            Patch of each piece.
        """
        read = self._reader_of(patches)
        each = [self._pieces(patches.take(np.array([i])), read) for i in range(len(patches.pixels))]
        whole = np.array([pieces is None for pieces in each], bool)
        separated = [pieces for pieces in each if pieces is not None]
        if not separated:
            return patches, np.arange(len(whole))
        counts = [len(pieces.stats) for pieces in separated]
        owner = np.append(np.flatnonzero(whole), np.repeat(np.flatnonzero(~whole), counts))
        order = np.argsort(owner, kind="stable")
        footprints = Footprints.concatenate([patches.take(whole), _traced(separated)])
        return footprints.take(order), owner[order]

    def _reader_of(self, patches: Footprints) -> Callable[[Window], BuildingWindow]:
        """Return what reads windows of patches; if they lie close together, all at once."""
        if not len(patches.pixels):
            return self._read
        left, top, right, bottom = (int(edge) for edge in shapely.total_bounds(patches.polygons))
        window = Window(top, left, bottom - top, right - left)
        window = window.grown(self._margin_px, self._shape)
        if window.height * window.width > _TOGETHER_PX:
            return self._read
        together = functools.cache(lambda: self._read(window))
        return lambda part: together().part(part.within(window))

    @property
    def _margin_px(self) -> int:
        """Width of what is read around a patch to smooth its surface."""
        return math.ceil(4 * _SMOOTHING_M / self._gsd_m)

    def _pieces(
        self, patch: Footprints, read: Callable[[Window], BuildingWindow]
    ) -> "_Pieces | None":
        """Separate the buildings of one patch; return None if it is one building."""
        min_px = max(1.0, _MIN_BUILDING_M2 / self._gsd_m**2)
        polygon = patch.polygons[0]
        left, top, right, bottom = (int(edge) for edge in polygon.bounds)
        if patch.pixels[0] < 2 * min_px:
            return None
        if max(bottom - top, right - left) > _WIDEST_PX:
            return None
        window = Window(top, left, bottom - top, right - left)
        padded = window.grown(self._margin_px, self._shape)
        buildings = read(padded)
        inner = window.within(padded)
        x, y = (int(value) for value in polygon.exterior.coords[0])
        # The outline begins at the upper left corner of its first pixel.
        filled = buildings.inside.astype(np.uint8)
        cv2.floodFill(filled, None, (x - padded.col, y - padded.row), 2)
        inside = filled[inner] == 2
        if buildings.probability is None:
            # Neighbouring patches count as background, so nothing around the window matters.
            height = cv2.distanceTransform(np.pad(inside, 1).view(np.uint8), cv2.DIST_L2, 5)
            height *= np.float32(self._gsd_m)
            height = cv2.GaussianBlur(height, (0, 0), _SMOOTHING_MASK_M / self._gsd_m)[1:-1, 1:-1]
            valley = _VALLEY_MASK_M
        else:
            odds = _log_odds(buildings.probability, self._temperature)
            height = cv2.GaussianBlur(odds, (0, 0), _SMOOTHING_M / self._gsd_m)[inner]
            valley = _least_valley(shapely.transform(polygon, lambda xy: xy * self._pixel_m))
        with self._alone if inside.size > _ALONE_PX else contextlib.nullcontext():
            pieces = _separate(height, inside, valley, min_px)
        if pieces.max() < 2:
            return None
        probability = None if buildings.probability is None else buildings.probability[inner]
        return _Pieces.of(pieces, probability, top, left)


def _least_valley(patch: shapely.Polygon) -> float:
    """Return the least depth in log odds of a valley in a patch, whose corners are in metres."""
    doublings = math.log2(patch.area / _ONE_BUILDING_M2)
    if doublings <= 0:
        return _VALLEY_LOG_ODDS
    corners = shapely.get_coordinates(shapely.oriented_envelope(patch))
    width, length = sorted(np.hypot(*np.diff(corners[:3], axis=0).T).tolist())
    if width >= _HALL_WIDTH_M and patch.area >= _HALL_FILL * width * length:
        return _VALLEY_LOG_ODDS
    return max(_LEAST_LOG_ODDS, _VALLEY_LOG_ODDS - _FALL * doublings)


def _log_odds(probability: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return a model's log odds before they were divided by the temperature.

    This makes the depth of a valley independent of the calibration.
    """
    odds = probability.astype(np.float64)
    odds[~np.isfinite(probability)] = 0
    np.clip(odds, 1e-6, 1 - 1e-6, out=odds)  # 0 and 1 have no log odds
    odds /= 1 - odds
    np.log(odds, out=odds)
    odds *= temperature
    np.clip(odds, -_CERTAIN_LOG_ODDS, _CERTAIN_LOG_ODDS, out=odds)
    return odds.astype(np.float32)


def _separate(
    height: NDArray[np.float32], inside: NDArray[np.bool_], valley: float, min_px: float
) -> NDArray[np.int32]:
    """Label the pieces of a patch.

    Parameters
    ----------
    height : (rows, cols) float32 array
        Surface whose hills are buildings.
    inside : (rows, cols) bool array
        Pixels of the patch.
    valley : float
        Least depth of the valley between two buildings, in the unit of `height`.
    min_px : float
        Pieces of fewer pixels are merged into their neighbours.

    Returns
    -------
    (rows, cols) int32 array
        Pieces numbered from 1; 0 outside the patch.
    """
    hilltops = extended_maxima(height, inside, valley)
    count, labels = cv2.connectedComponents(hilltops.view(np.uint8), connectivity=4)
    if count < 3:  # with the background
        return inside.astype(np.int32)
    peaks = np.asarray(labels, np.int32)
    while True:
        # Marker pixels with nothing to flood beside them would only fill the queue.
        flooded = inside & (peaks == 0)
        shores = cv2.dilate(flooded.view(np.uint8), _CROSS) > 0
        pieces = flood(-height, np.where(shores, peaks, 0), inside & shores)
        pieces = np.where(peaks > 0, peaks, pieces)
        small = np.flatnonzero(np.bincount(pieces.ravel()) < min_px)
        small = small[small > 0]
        if not len(small) or peaks.max() == 0:
            break
        kept = np.setdiff1d(np.arange(1, peaks.max() + 1), small)
        table = np.zeros(peaks.max() + 1, np.int32)
        table[kept] = np.arange(1, len(kept) + 1)
        peaks = table[peaks]
    return np.asarray(pieces, np.int32)


def extended_maxima(
    height: NDArray[np.float32], inside: NDArray[np.bool_], depth: float
) -> NDArray[np.bool_]:
    """Return the extended maxima of a surface: hilltops with a valley around (Soille 2003).

    They are the regional maxima of the surface's h-maxima transform. Instead of reconstructing that
    transform, each summit is examined: the part of the surface down to `depth` below it that is
    connected with it is a hilltop unless it has a higher point. Summits of one height that no
    valley separates share a hilltop, which skimage.morphology.h_maxima keeps apart.

    Parameters
    ----------
    height : (rows, cols) float32 array
    inside : (rows, cols) bool array
        Where the surface is defined; it ends at a cliff.
    depth : float
        Least depth of the valley around a hilltop, in the unit of `height`.

    Returns
    -------
    (rows, cols) bool array
    """
    surface = np.where(inside, height, height.min() - 1).astype(np.float32)
    base = surface - np.float32(depth)
    # Geodesic dilation by a few pixels rejects most summits.
    grown = cv2.dilate(surface, _CROSS)
    summits = (grown == surface) & inside
    grown = base.copy()
    for _ in range(_NEAR_PX):
        cv2.dilate(grown, _CROSS, dst=grown)
        cv2.min(grown, surface, dst=grown)
    rows, cols = np.nonzero(summits & (grown <= base))
    order = np.argsort(-surface[rows, cols], kind="stable")
    hilltops = np.zeros(inside.shape, bool)
    for row, col in zip(rows[order].tolist(), cols[order].tolist(), strict=True):
        if hilltops[row, col]:
            continue
        above = (surface >= base[row, col]).view(np.uint8)
        _, _, _, (left, top, width, rise) = cv2.floodFill(above, None, (col, row), 2)
        box = slice(top, top + rise), slice(left, left + width)
        hill = above[box] == 2
        if surface[box][hill].max() == surface[row, col]:
            hilltops[box] |= hill
    return hilltops & inside


def _boxes(pieces: NDArray[np.int32]) -> list[tuple[slice, slice]]:
    """Return the bounding box of each piece, in their order; none is missing."""
    low = np.full((2, pieces.max() + 1), max(pieces.shape))
    high = np.zeros_like(low)
    walled = np.pad(pieces, ((0, 0), (1, 1)))
    rows, cols = np.nonzero(walled[:, 1:] != walled[:, :-1])
    # A run of one piece along a row begins at such a place and ends before the next.
    ended, begun = walled[rows, cols], walled[rows, cols + 1]
    for axis, (first, last) in enumerate(((rows, rows + 1), (cols, cols))):
        np.minimum.at(low[axis], begun, first)
        np.maximum.at(high[axis], ended, last)
    return [
        (slice(top, bottom), slice(left, right))
        for (top, left), (bottom, right) in zip(
            low[:, 1:].T.tolist(), high[:, 1:].T.tolist(), strict=True
        )
    ]


class _Pieces(NamedTuple):
    """The pieces of a patch, which touch each other.

    Attributes
    ----------
    corners : Corners
        Of their outlines, in pixels of the raster; labels count from 0.
    stats : (n, 3) float array
        Mean, lowest and highest probability of each; NaN without probabilities.
    """

    corners: Corners
    stats: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        pieces: NDArray[np.int32],
        probability: NDArray[np.float32] | None,
        top: int,
        left: int,
    ) -> "_Pieces":
        """Return the pieces that are labelled in an array.

        Parameters
        ----------
        pieces : (height, width) int32 array
            Connected pieces, numbered from 1.
        probability : (height, width) float32 array or None
        top, left : int
            Position of the arrays in the raster, in pixels.
        """
        boxes = _boxes(pieces)
        # Side by side on a canvas, a pixel apart, all are traced at once.
        heights = np.array([rows.stop - rows.start for rows, _ in boxes])
        widths = np.array([cols.stop - cols.start for _, cols in boxes])
        begins = np.cumsum(widths + 1) - widths
        canvas = np.zeros((heights.max() + 2, begins[-1] + widths[-1] + 1), np.int32)
        stats = np.full((len(boxes), 3), np.nan)
        for number, (box, height, begin, width) in enumerate(
            zip(boxes, heights, begins, widths, strict=True), start=1
        ):
            mask = pieces[box] == number
            canvas[1 : height + 1, begin : begin + width][mask] = number
            if probability is not None:
                values = probability[box][mask]
                stats[number - 1] = values.mean(dtype=np.float64), values.min(), values.max()
        corners = find_corners(canvas, 1, 1)
        row_shift = np.array([0, *(top + rows.start - 1 for rows, _ in boxes)])
        col_shift = np.array([0, *(left + cols.start for _, cols in boxes)])
        col_shift[1:] -= begins
        return cls(
            Corners(
                corners.row + row_shift[corners.label],
                corners.col + col_shift[corners.label],
                corners.flags,
                corners.label - 1,
            ),
            stats,
        )


def _traced(patches: list[_Pieces]) -> Footprints:
    """Trace the outlines of the pieces of patches, in pixels of the raster."""
    before = np.cumsum([0, *(len(pieces.stats) for pieces in patches)]).tolist()
    corners = [
        each.corners._replace(label=each.corners.label + count)
        for each, count in zip(patches, before, strict=False)
    ]
    outlines, _, pixels = build_polygons(Corners.concatenate(corners))
    mean, low, high = np.concatenate([pieces.stats for pieces in patches]).T
    return Footprints(
        outlines.to_shapely(), pixels, mean, low.astype(np.float32), high.astype(np.float32)
    )

"""Part buildings that the raster shows as one."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.records import BuildingWindow, Footprints
from geossda.footprints.tracing import build_polygons, find_corners
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window

# Chosen by measurement on a town of row houses, with a model that had not seen it (decision 0008):
# smoothing in metres, and how deep a valley must be, in log odds or, of masks, in metres.
_SMOOTH_M = 0.9
_VALLEY_LOG_ODDS, _VALLEY_M = 1.2, 0.3
_SURE_LOG_ODDS = 6.9
# No house is smaller; and what is larger than that across is no house, and too much for memory.
_LEAST_M2, _WIDEST_PX = 10.0, 4096
# What grows by a pixel a step is looked at every so many pairs of steps, so many times.
_STEPS, _ROUNDS = 8, 200
# Flooding takes some hundred bytes a pixel: of windows larger than this one at a time.
_ALONE_PX = 1 << 20


class Splitter:
    """Parts connected pixels along the valleys between houses (watershed, Meyer 1994).

    Of probabilities it follows their log odds: a model that runs two roofs together is still less
    sure where they meet. Of masks it follows the distance to the outside: houses are wide, and what
    joins them is narrow. Each part is looked at whole, so blocks change nothing.
    Threads may share one, and it can be sent to a process.

    Parameters
    ----------
    read : callable
        Gives the marks of a window.
    shape : (int, int)
        Height and width of the raster.
    gsd_m : float
        Pixel side in metres.
    temperature : float
        What the model's log odds were divided by to make these probabilities.
    progress : Progress
        Is warned of parts that are too wide to be looked at.
    """

    def __init__(
        self,
        read: Callable[[Window], BuildingWindow],
        shape: tuple[int, int],
        gsd_m: float,
        temperature: float = 1.0,
        progress: Progress = SILENT,
    ) -> None:
        self._read, self._shape, self._gsd_m, self._progress = read, shape, gsd_m, progress
        self._temperature = temperature
        self._warned = False
        self._alone = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process, where nobody is told of anything."""
        return Splitter, (self._read, self._shape, self._gsd_m, self._temperature)

    def warn_of_wide(self, parts: Footprints) -> None:
        """Tell of a part that is too wide to be looked at, once."""
        boxes = shapely.bounds(parts.polygons).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2]
        wide = sides[sides.max(axis=1) > _WIDEST_PX]
        if len(wide) and not self._warned:
            self._warned = True
            self._progress.warn(
                f"a patch of buildings {wide[0, 0]:.0f} px wide and {wide[0, 1]:.0f} high is left "
                f"whole: --split takes up to {_WIDEST_PX} px"
            )

    def split(self, parts: Footprints) -> tuple[Footprints, NDArray[np.int64]]:
        """Give the pieces, in order, and which part each is of; most parts are one piece."""
        pieces, owners = [], []
        for place in range(len(parts.polygons)):
            part = parts.take(np.array([place]))
            found = self._pieces(part)
            pieces.append(part if found is None else found)
            owners.append(np.full(len(pieces[-1].polygons), place))
        if not pieces:
            return parts, np.zeros(0, np.int64)
        return Footprints.concatenate(pieces), np.concatenate(owners)

    def _pieces(self, part: Footprints) -> Footprints | None:
        """Part one; None if it is one house."""
        least = max(1.0, _LEAST_M2 / self._gsd_m**2)
        left, top, right, bottom = (int(edge) for edge in part.polygons[0].bounds)
        if part.pixels[0] < 2 * least:
            return None
        if max(bottom - top, right - left) > _WIDEST_PX:
            return None
        smooth_px = _SMOOTH_M / self._gsd_m
        window = Window(top, left, bottom - top, right - left)
        wide = window.grown(int(np.ceil(4 * smooth_px)), self._shape)
        marks = self._read(wide)
        inner = window.within(wide)
        _, labels = cv2.connectedComponents(marks.inside.view(np.uint8), connectivity=4)
        x, y = (int(value) for value in part.polygons[0].exterior.coords[0])
        # The outline begins at the upper left corner of its first pixel.
        mine = np.asarray(labels)[inner] == labels[y - wide.row, x - wide.col]
        if marks.probability is None:
            # Of the part alone: what lies beside it is outside.
            height = cv2.distanceTransform(np.pad(mine, 1).view(np.uint8), cv2.DIST_L2, 5)
            height = cv2.GaussianBlur(height * np.float32(self._gsd_m), (0, 0), smooth_px)[
                1:-1, 1:-1
            ]
            valley = _VALLEY_M
        else:
            odds = _log_odds(marks.probability, self._temperature)
            height = cv2.GaussianBlur(odds, (0, 0), smooth_px)[inner]
            valley = _VALLEY_LOG_ODDS
        with self._alone if mine.size > _ALONE_PX else contextlib.nullcontext():
            found = _flood(height, mine, valley, least)
        if found.max() < 2:
            return None
        probability = None if marks.probability is None else marks.probability[inner]
        return _traced(found, probability, top, left)


def _log_odds(probability: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Give the log odds a model had before they were divided by a temperature.

    What is deep for one model is so whatever its probabilities were calibrated to.
    """
    known = np.where(np.isfinite(probability), probability, 0).astype(np.float64)
    # 0 and 1 have none; and how sure of being sure a model is tells nothing about walls.
    sure = np.clip(known, 1e-6, 1 - 1e-6)
    odds = temperature * np.log(sure / (1 - sure))
    return np.clip(odds, -_SURE_LOG_ODDS, _SURE_LOG_ODDS).astype(np.float32)


def _flood(
    height: NDArray[np.float32], mine: NDArray[np.bool_], valley: float, least: float
) -> NDArray[np.int32]:
    """Give each piece a number from 1; those under `least` pixels go to their neighbours."""
    # Half a second to load, for those who want it.
    from scipy import ndimage
    from skimage.morphology import local_maxima
    from skimage.segmentation import watershed

    low = np.where(mine, height, height.min() - 1).astype(np.float32)
    # Hills between which no valley is deeper are one, equal ones too (extended maxima, Soille
    # 2003), which scikit-image's h_maxima keeps apart.
    filled = _rebuilt(low - np.float32(valley), low)
    peaks, count = ndimage.label(local_maxima(filled, connectivity=1) & mine)
    if count < 2:
        return mine.astype(np.int32)
    while True:
        pieces = watershed(-height, peaks, mask=mine)
        small = np.flatnonzero(np.bincount(pieces.ravel()) < least)
        small = small[small > 0]
        if not len(small) or peaks.max() == 0:
            break
        kept = np.setdiff1d(np.arange(1, peaks.max() + 1), small)
        table = np.zeros(peaks.max() + 1, np.int32)
        table[kept] = np.arange(1, len(kept) + 1)
        peaks = table[peaks]
    return np.asarray(pieces, np.int32)


def _rebuilt(seed: NDArray[np.float32], under: NDArray[np.float32]) -> NDArray[np.float32]:
    """Let `seed` grow sideways as far as `under` lets it (morphological reconstruction).

    A pixel a step, which takes a fifth of the time that sorting all pixels does, scikit-image's
    way; that is left for what has a very long way to grow.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    seed, grown = seed.copy(), np.empty_like(seed)
    for _ in range(_ROUNDS):
        before = seed.copy()
        for _ in range(_STEPS):
            for now, then in ((seed, grown), (grown, seed)):
                cv2.dilate(now, cross, dst=then)
                cv2.min(then, under, dst=then)
        if np.array_equal(before, seed):
            return seed
    from skimage.morphology import reconstruction

    return np.asarray(reconstruction(seed, under, footprint=cross), np.float32)


def _traced(
    pieces: NDArray[np.int32], probability: NDArray[np.float32] | None, top: int, left: int
) -> Footprints:
    """Trace pieces one by one, since they touch."""
    from scipy import ndimage

    rows = []
    for number, where in enumerate(ndimage.find_objects(pieces), start=1):
        mask = pieces[where] == number
        corners = find_corners(
            np.pad(mask, 1).astype(np.int32), top + where[0].start, left + where[1].start
        )
        values = np.full(1, np.nan) if probability is None else probability[where][mask]
        rows.append(
            (
                build_polygons(corners).outlines.to_shapely()[0],
                np.count_nonzero(mask),
                values.mean(dtype=np.float64),
                values.min(),
                values.max(),
            )
        )
    shapes, pixels, mean, low, high = zip(*rows, strict=True)
    return Footprints(
        np.array(shapes, object),
        np.array(pixels, np.int64),
        np.array(mean),
        np.array(low, np.float32),
        np.array(high, np.float32),
    )

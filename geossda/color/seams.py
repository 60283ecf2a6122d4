"""Straight seams between scenes of unlike radiometry, found in a mosaic without any hint.

Ground changes from place to place, but seldom in the same way along a line thousands of pixels
long: where the tones on one side of a long straight line differ from those on the other by more
than they do across other lines, two scenes may meet. Tones are compared by Hotelling's T squared
(Hotelling 1931) along all lines, as in a Radon transform.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

# Tones of a cell: shadows, which every scene has and which tell its haze, up to highlights.
SHARES = (0.03, 0.1, 0.5, 0.9, 0.97)


class Reach(NamedTuple):
    """Which cells on either side of a line are compared: `width` of them, `gap` away from it."""

    gap: int
    width: int


# Cells on either side of a line that are compared: near ones see hard seams, far ones feathered.
REACHES = (Reach(0, 1), Reach(0, 3), Reach(2, 4), Reach(4, 12))
FAR = REACHES[-1]
# The narrowest scene in cells, and how many candidates are given in each direction.
NARROWEST, CANDIDATES = 8, 8
# The shortest seam, in cells.
SHORTEST = 24


class Line(NamedTuple):
    """A straight line in cells: ``x = offset + slope * y``, or with x and y exchanged.

    Attributes
    ----------
    slope, offset : float
        Slope within -1 and 1.
    steep : bool
        Whether it runs down the columns (x is a function of y) rather than across.
    strength, far : float
        By how many deviations it stands out, at any reach and at the farthest.
    """

    slope: float
    offset: float
    steep: bool
    strength: float
    far: float


def tones(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], side: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Measure the tones of square cells.

    Parameters
    ----------
    pixels : (bands, height, width) float32 array
        Sides multiples of `side`.
    valid : (height, width) bool array
    side : int
        Of a cell, in pixels.

    Returns
    -------
    tones : (features, height / side, width / side) float32 array
        Of every band the values at :data:`SHARES`, and the spread of its values.
    valid : bool array
        Cells without a pixel of nodata.
    """
    bands, height, width = pixels.shape
    rows, cols = height // side, width // side
    cells = pixels.reshape(bands, rows, side, cols, side).transpose(0, 1, 3, 2, 4)
    ordered = np.sort(cells.reshape(bands, rows, cols, side**2), axis=-1)
    places = [round(share * (side**2 - 1)) for share in SHARES]
    found = [ordered[..., place] for place in places]
    whole = np.asarray(valid.reshape(rows, side, cols, side).all(axis=(1, 3)))
    return np.concatenate([*found, ordered.std(axis=-1)]).astype(np.float32), whole


class Search:
    """Search a mosaic for its strongest seam, and its parts for theirs.

    Parameters
    ----------
    tones : (features, rows, cols) float32 array
    valid : (rows, cols) bool array
    """

    def __init__(self, tones: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        self.tones = np.where(valid, tones, 0).astype(np.float32)
        self.valid = valid
        self._scales: dict[tuple[bool, Reach], NDArray[np.float64]] = {}
        self._usual: dict[tuple[bool, Reach], tuple[float, float]] = {}

    def strongest(self, part: NDArray[np.bool_]) -> list[Line]:
        """Give the lines that stand out most in a part of the mosaic, the strongest first."""
        found: list[Line] = []
        for steep in (True, False):
            found += self._lines(part & self.valid, steep)
        return sorted(found, key=lambda line: -line.strength)

    def _lines(self, part: NDArray[np.bool_], steep: bool) -> list[Line]:
        turned, tones = (part, self.tones) if steep else (part.T, self.tones.transpose(0, 2, 1))
        inside = np.argwhere(turned)
        if len(inside) == 0:
            return []
        (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
        if bottom - top < SHORTEST or right - left < 2 * NARROWEST:
            return []
        cut = (slice(top, bottom), slice(left, right))
        whiten = [self._whitening(steep, reach) for reach in REACHES]
        slope, offset, scores = _scan(tones[:, *cut], turned[cut], whiten)
        strength = far = np.zeros(len(slope))
        for reach, one in zip(REACHES, scores, strict=True):
            if (steep, reach) not in self._usual:
                known = one[one > 0]
                usual = float(np.median(known)) if len(known) else 0.0
                spread = 1.4826 * float(np.median(np.abs(known - usual))) if len(known) else 0.0
                self._usual[steep, reach] = usual, max(spread, 1e-6)
            usual, spread = self._usual[steep, reach]
            far = np.where(one > 0, (one - usual) / spread, 0)
            strength = np.maximum(strength, far)
        lines = []
        middle = offset + slope * (bottom - top) / 2
        for _ in range(CANDIDATES):
            best = int(np.argmax(strength))
            if strength[best] <= 0:
                break
            # From the part's corner to the mosaic's, whichever way it is turned.
            start = float(offset[best] + left - slope[best] * top)
            at = np.abs(middle - middle[best])
            line = Line(
                float(slope[best]),
                start,
                steep,
                float(strength[best]),
                float(far[at < 2].max()),
            )
            lines.append(line)
            strength[at < NARROWEST] = 0
        return lines

    def _whitening(self, steep: bool, reach: Reach) -> NDArray[np.float64]:
        """Give what turns steps across ordinary ground into noise of equal strength."""
        if (steep, reach) not in self._scales:
            tones, valid = self.tones, self.valid
            if not steep:
                tones, valid = tones.transpose(0, 2, 1), valid.T
            lag = min(reach.gap * 2 + reach.width, valid.shape[1] - 1)
            both = valid[:, lag:] & valid[:, :-lag]
            steps = (tones[:, :, lag:] - tones[:, :, :-lag])[:, both].astype(np.float64)
            covariance = steps @ steps.T / max(1, steps.shape[1])
            # Bands may be copies of each other.
            ridge = 1e-3 * np.trace(covariance) / len(covariance) + 1e-9
            covariance += ridge * np.eye(len(covariance))
            self._scales[steep, reach] = np.linalg.inv(np.linalg.cholesky(covariance))
        return self._scales[steep, reach]


def _scan(
    tones: NDArray[np.float32], part: NDArray[np.bool_], whiten: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compare both sides of all lines down the columns.

    Returns
    -------
    slopes, offsets : (lines,) arrays
    scores : (reaches, lines) array
        Cube roots of T squared, which make it nearly normal; 0 where a line is too short.
    """
    rows, cols = part.shape
    weighted = np.concatenate([tones * part, part[None].astype(np.float32)])
    most = FAR.gap + FAR.width
    long = max(SHORTEST, 0.3 * rows)

    def along(slope: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # Sheared so that the line is a column.
        first = -int(np.ceil(max(0.0, slope) * rows))
        width = cols + int(np.ceil(abs(slope) * rows))
        shear = np.array([[1, slope, first], [0, 1, 0]], np.float64)
        how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        sums = [cv2.warpAffine(b, shear, (width, rows), flags=how).sum(0) for b in weighted]
        totals = np.pad(np.cumsum(sums, 1, dtype=np.float64), ((0, 0), (1, 0)))
        totals = np.pad(totals, ((0, 0), (most, most)), mode="edge")
        x = np.arange(width) + most

        def over(start: int, stop: int) -> NDArray[np.float64]:
            return np.asarray(totals[:, x + stop] - totals[:, x + start])

        both = np.minimum(over(-NARROWEST, 0)[-1], over(0, NARROWEST)[-1])
        roomy = both >= 0.6 * long * NARROWEST
        scores = np.zeros((len(REACHES), width))
        for score, reach, matrix in zip(scores, REACHES, whiten, strict=True):
            left = over(-reach.gap - reach.width, -reach.gap)
            right = over(reach.gap, reach.gap + reach.width)
            pairs = np.minimum(left[-1], right[-1]) / reach.width
            known = roomy & (pairs >= long)
            step = right[:-1, known] / right[-1, known] - left[:-1, known] / left[-1, known]
            score[known] = np.cbrt(((matrix @ step) ** 2).sum(0) * pairs[known])
        return x - most + float(first), scores

    count = max(1, round(rows / 2))
    slopes = np.linspace(-1, 1, 2 * count + 1)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(along, slopes))
    offsets = [offset for offset, _ in found]
    return (
        np.repeat(slopes, [len(offset) for offset in offsets]),
        np.concatenate(offsets),
        np.concatenate([scores for _, scores in found], axis=1),
    )

"""Histograms of a raster's valid pixels, and what follows from them."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from geossda.errors import EmptyRasterError
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.statistics import SAMPLE_PX, over_tiles, sample_windows
from geossda.raster.windows import Window

FLOAT_BINS = 2**14


@dataclass(frozen=True)
class Histograms:
    """Histograms of the valid pixels, one a band, on common bins.

    Attributes
    ----------
    first : float
        Value at the centre of the first bin.
    step : float
        Width of a bin; 1 for integers, whose histograms are exact.
    counts : (bands, bins) int64 array
    """

    first: float
    step: float
    counts: NDArray[np.int64]

    def __add__(self, other: "Histograms") -> "Histograms":
        """Count two rasters together; of integers, whose bins are the same."""
        if (self.first, self.step) != (other.first, other.step):
            raise ValueError("histograms on unlike bins")
        return Histograms(self.first, self.step, self.counts + other.counts)

    def rebinned(self, first: float, step: float, bins: int) -> "Histograms":
        """Return the same counts on other bins, each value in the nearest bin.

        Parameters
        ----------
        first, step : float
            Value at the centre of the first bin, and width of a bin.
        bins : int
        """
        nearest = np.rint((self.values - first) / step).astype(np.int64).clip(0, bins - 1)
        rows = [np.bincount(nearest, counts, bins) for counts in self.counts]
        return Histograms(first, step, np.stack(rows).astype(np.int64))

    @property
    def pixels(self) -> int:
        """Number of valid pixels counted."""
        return int(self.counts[0].sum())

    @property
    def values(self) -> NDArray[np.float64]:
        """Value at the centre of every bin."""
        return self.first + self.step * np.arange(self.counts.shape[1], dtype=np.float64)

    def mean(self) -> NDArray[np.float64]:
        """Return the mean of each band."""
        return np.asarray(self.counts @ self.values / self.counts.sum(axis=1))

    def std(self) -> NDArray[np.float64]:
        """Return the population standard deviation of each band."""
        deviation = (self.values - self.mean()[:, None]) ** 2
        return np.asarray(np.sqrt((self.counts * deviation).sum(axis=1) / self.counts.sum(axis=1)))

    def ranks(self) -> NDArray[np.float64]:
        """Return the share of pixels below the middle of each bin, (bands, bins) in 0..1."""
        below = np.cumsum(self.counts, axis=1) - self.counts / 2
        return np.asarray(below / self.counts.sum(axis=1, keepdims=True))

    def quantiles(self, shares: ArrayLike) -> NDArray[np.float64]:
        """Return the values below which lie `shares` (0..1) of each band's pixels.

        Returns
        -------
        (bands, len(shares)) array
        """
        shares = np.asarray(shares, np.float64)
        result = np.empty((len(self.counts), len(shares)))
        for band, (ranks, counts) in enumerate(zip(self.ranks(), self.counts, strict=True)):
            used = counts > 0
            result[band] = np.interp(shares, ranks[used], self.values[used])
        return result

    def extent(self) -> tuple[float, float]:
        """Return the lowest and highest value that occur in any band."""
        used = np.flatnonzero(self.counts.any(axis=0))
        return float(self.values[used[0]]), float(self.values[used[-1]])


def histograms(
    mosaic: Mosaic,
    *,
    source: int | None = None,
    budget_px: int = SAMPLE_PX,
    progress: Progress = SILENT,
) -> Histograms:
    """Count the valid pixels' values: exactly for 8 and 16 bit, in two passes for the rest.

    Parameters
    ----------
    mosaic : Mosaic
    source : int, optional
        One source alone, over its own pixels.
    budget_px : int
        At most so many pixels are read, spread evenly.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    if source is not None:
        mosaic = mosaic.alone(source)
    windows = sample_windows(mosaic, budget_px)
    if mosaic.dtype.kind in "ui" and mosaic.dtype.itemsize <= 2:
        first, step = float(np.iinfo(mosaic.dtype).min), 1.0
        bins = 2 ** (8 * mosaic.dtype.itemsize)
        passes = 1
    else:
        passes = 2
    progress.stage("reading statistics", passes * len(windows))
    if passes == 2:
        first, step, bins = _float_bins(mosaic, windows, progress)

    def count(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.stack([_count(band, valid, first, step, bins) for band in pixels])

    counts = over_tiles(mosaic, windows, count, np.add, progress=progress)
    if not counts.any():
        raise EmptyRasterError(
            f"{mosaic.name} has no valid pixel: check its nodata value, mask or alpha band"
        )
    return Histograms(first, step, counts)


def pooled(parts: Sequence[Histograms]) -> Histograms:
    """Return the histograms of several rasters together.

    Parameters
    ----------
    parts : sequence of Histograms
        If their bins differ, as those of floats do, the result has bins over all their values.
    """
    if len({(part.first, part.step, part.counts.shape) for part in parts}) > 1:
        low, high = np.array([part.extent() for part in parts]).T
        first, last = float(low.min()), float(high.max())
        step = (last - first) / (FLOAT_BINS - 1) or parts[0].step
        parts = [part.rebinned(first, step, FLOAT_BINS) for part in parts]
    return functools.reduce(Histograms.__add__, parts)


def _count(
    band: NDArray[Any], valid: NDArray[np.bool_], first: float, step: float, bins: int
) -> NDArray[np.int64]:
    if band.dtype in (np.uint8, np.uint16):
        mask = valid.view(np.uint8)
        counts = cv2.calcHist([band], [0], mask, [bins], [0, bins])
        return np.asarray(counts).ravel().astype(np.int64)
    values = band[valid].astype(np.float64)
    with np.errstate(over="ignore"):  # of single wild values, which are in the last bin then
        places = np.rint((values - first) / step)
    indices = np.clip(places, 0, bins - 1).astype(np.int64)
    return np.bincount(indices, minlength=bins)


def _float_bins(
    mosaic: Mosaic, windows: list[Window], progress: Progress
) -> tuple[float, float, int]:
    """Find the bins for floats and long integers: a first pass for the range that matters.

    Single wild values (1e38 for a lost pixel) would leave every other pixel in one bin, so the
    range ends at 1 pixel in 10,000 on either side, widened by a half.
    """

    def count(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(_order(pixels[:, valid].ravel()), minlength=2**16)

    counts = over_tiles(mosaic, windows, count, np.add, progress=progress)
    total = counts.sum()
    if total == 0:
        raise EmptyRasterError(
            f"{mosaic.name} has no valid pixel: check its nodata value, mask or alpha band"
        )
    share = np.cumsum(counts) / total
    lowest = _value(int(np.searchsorted(share, 1e-4)))
    highest = _value(int(np.searchsorted(share, 1 - 1e-4)) + 1)
    margin = (highest - lowest) / 2 or max(abs(lowest), 1.0) * 1e-3
    low, high = lowest - margin, highest + margin
    if mosaic.dtype.kind in "ui" and high - low < FLOAT_BINS:
        return math.floor(low), 1.0, math.ceil(high - low) + 1
    return low, (high - low) / (FLOAT_BINS - 1), FLOAT_BINS


def _order(values: NDArray[Any]) -> NDArray[np.int64]:
    """Map numbers to 0..65535, keeping their order: the leading bits of a float32."""
    with np.errstate(over="ignore"):
        bits = values.astype(np.float32).view(np.uint32)
    negative = bits >> 31 == 1
    ordered = np.where(negative, ~bits, bits | np.uint32(2**31))
    return (ordered >> 16).astype(np.int64)


def _value(order: int) -> float:
    """Invert :func:`_order`, to the lower end of the bin."""
    bits = np.uint32(min(order, 2**16 - 1) << 16)
    bits = bits ^ np.uint32(2**31) if bits >> 31 else ~bits
    value = float(np.array([bits], np.uint32).view(np.float32)[0])
    return value if math.isfinite(value) else math.copysign(float(np.finfo(np.float32).max), value)

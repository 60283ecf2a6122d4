"""Pixelwise transforms given as one curve per band over the values of a histogram."""

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.raster.scaling import as_dtype
from geossda.raster.statistics import Histograms


class Transform(Protocol):
    """A color transform applied to every tile."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return (bands, height, width) pixels transformed; dtype and shape stay."""


@dataclass(frozen=True)
class SourceStatistics:
    """Statistics of one image that a pixelwise method changes.

    Attributes
    ----------
    histograms : Histograms
    dtype : numpy dtype
    working_range : (float, float)
        Digital numbers that the sensor fills.
    lab_mean, lab_std : (3,) arrays or None
        Mean and standard deviation in CIE L*a*b*, where the method needs them.
    """

    histograms: Histograms
    dtype: np.dtype[Any]
    working_range: tuple[float, float]
    lab_mean: NDArray[np.float64] | None = None
    lab_std: NDArray[np.float64] | None = None

    def to_state(self) -> dict[str, Any]:
        """Return the statistics as arrays, texts and floats, to be saved."""
        return {
            "first": float(self.histograms.first),
            "step": float(self.histograms.step),
            "counts": self.histograms.counts,
            "dtype": str(self.dtype),
            "limits": [float(end) for end in self.working_range],
            "lab_mean": self.lab_mean,
            "lab_std": self.lab_std,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "SourceStatistics":
        """Return the statistics that :meth:`to_state` has written."""
        low, high = state["limits"]
        return cls(
            Histograms(state["first"], state["step"], state["counts"]),
            np.dtype(state["dtype"]),
            (low, high),
            state["lab_mean"],
            state["lab_std"],
        )


def curve_transform(
    source: SourceStatistics, curves: NDArray[np.float64], strength: float
) -> Transform:
    """Return the transform that maps each value of a histogram to a curve's.

    Parameters
    ----------
    source : SourceStatistics
        Its histograms' bins are the curves' knots.
    curves : (bands, bins) array
        New value of each bin.
    strength : float
        0 keeps every value, 1 takes the curve's; linear in between.
    """
    histograms = source.histograms
    mixed = histograms.values + strength * (curves - histograms.values)
    if source.dtype.kind in "ui" and source.dtype.itemsize <= 2:
        return _Lookup(as_dtype(mixed, source.dtype), int(histograms.first))
    return _Interpolate(histograms.values, mixed, source.dtype)


@dataclass(frozen=True)
class _Lookup:
    """A table per band: exact and fast, for 8 and 16 bit.

    Attributes
    ----------
    tables : (bands, values) array
    first : int
        Value that a table's first entry stands for.
    """

    tables: NDArray[Any]
    first: int

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if pixels.dtype == np.uint8:
            return np.stack([cv2.LUT(b, t) for b, t in zip(pixels, self.tables, strict=True)])
        if pixels.dtype == np.uint16:
            return np.stack([t[b] for b, t in zip(pixels, self.tables, strict=True)])
        index = pixels.astype(np.int32) - self.first
        return np.stack([t[i] for i, t in zip(index, self.tables, strict=True)])


@dataclass(frozen=True)
class _Interpolate:
    """A curve per band, interpolated between bins; beyond its ends the last shift is kept.

    Attributes
    ----------
    values : (bins,) array
    curves : (bands, bins) array
    dtype : numpy dtype
        Of the result.
    """

    values: NDArray[np.float64]
    curves: NDArray[np.float64]
    dtype: np.dtype[Any]

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        shift = self.curves - self.values
        result = np.empty_like(pixels)
        for band in range(len(pixels)):
            numbers = pixels[band].astype(np.float64)
            moved = numbers + np.interp(numbers, self.values, shift[band])
            # Where nothing changes, rounding must not either.
            result[band] = np.where(moved == numbers, pixels[band], as_dtype(moved, self.dtype))
        return result

"""Pixelwise transforms given as one curve per band over the values of a histogram."""

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.raster.histograms import Histograms
from geossda.raster.scaling import as_dtype


class Transform(Protocol):
    """A color transform applied to every tile."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return (bands, height, width) pixels transformed; dtype and shape stay."""


def curve_transform(
    histograms: Histograms, dtype: np.dtype[Any], curves: NDArray[np.float64], strength: float
) -> Transform:
    """Return the transform that maps each value of a histogram to a curve's.

    Parameters
    ----------
    histograms : Histograms
        Of the image; their bins are the curves' knots.
    dtype : numpy dtype
        Of the image and the result.
    curves : (bands, bins) array
        New value of each bin.
    strength : float
        0 keeps every value, 1 takes the curve's; linear in between.
    """
    mixed = histograms.values + strength * (curves - histograms.values)
    if dtype.kind in "ui" and dtype.itemsize <= 2:
        return _Lookup(as_dtype(mixed, dtype), int(histograms.first))
    return _Interpolate(histograms.values, mixed, dtype)


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

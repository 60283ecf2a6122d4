"""From digital numbers to display and model range, and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.raster.statistics import Histograms


@dataclass(frozen=True)
class Stretch:
    """A linear map of digital numbers to 0..1, one a band.

    Attributes
    ----------
    low, high : (bands,) float arrays
        Digital numbers that become 0 and 1.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Scale (bands, height, width) pixels to 0..1; what lies outside is cut."""
        shape = (-1,) + (1,) * (pixels.ndim - 1)
        low = self.low.astype(np.float32).reshape(shape)
        factor = (1 / (self.high - self.low)).astype(np.float32).reshape(shape)
        with np.errstate(invalid="ignore", over="ignore"):
            scaled = (pixels.astype(np.float32) - low) * factor
        return np.asarray(np.clip(np.nan_to_num(scaled), 0, 1), np.float32)


def percentile_stretch(found: Histograms, low: float = 2, high: float = 98) -> Stretch:
    """Make the stretch between two percentiles of each band.

    A band of one value only is mapped to 0 rather than divided by nothing.
    """
    ends = found.quantiles(np.array([low, high]) / 100)
    flat = ends[:, 1] - ends[:, 0] <= 0
    ends[flat, 1] = ends[flat, 0] + max(found.step, 1e-6)
    return Stretch(ends[:, 0], ends[:, 1])


def working_range(found: Histograms, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Give the range of digital numbers a sensor fills, for comparing unlike types.

    8 bit is 0 to 255. Longer unsigned integers rarely use all bits: 11-bit imagery in uint16 is
    0 to 2047. Floats within 0 and 1 are taken as reflectance; else the range is what occurs, but
    for one pixel in 1000 at either end.
    """
    if dtype == np.uint8:
        return 0.0, 255.0
    top = float(found.quantiles(np.array([0.9999])).max())
    if dtype.kind == "u":
        bits = max(8, int(np.ceil(np.log2(top + 1))))
        return 0.0, float(2**bits - 1)
    ends = found.quantiles(np.array([0.001, 0.999]))
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    # Bins know values to half a step.
    if dtype.kind == "f" and low >= -found.step and top <= 1 + found.step:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)

"""From digital numbers to display and model range, and back."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.config import ScalingKind
from geossda.progress import SILENT, Progress
from geossda.raster.histograms import Histograms, histograms, pooled
from geossda.raster.mosaic import Mosaic
from geossda.raster.statistics import SAMPLE_PX

# Pixels of each source from which the working range of many is taken.
RANGE_LEAST_PX = 2**18


class Scaling(ABC):
    """A map of digital numbers to 0..1, one a band: what models are fed with."""

    @abstractmethod
    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Scale (bands, height, width) pixels to 0..1; what lies outside is cut."""

    def to_bytes(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale (bands, height, width) pixels to 0..255.

        8 and 16 bit go through a table, which is many times as fast.
        """
        if pixels.dtype not in (np.uint8, np.uint16):
            return np.rint(self.apply(pixels) * 255).astype(np.uint8)
        table = self._tables(pixels.dtype, len(pixels))
        if pixels.dtype == np.uint8:
            return np.stack([cv2.LUT(band, row) for band, row in zip(pixels, table, strict=True)])
        return np.stack([row[band] for band, row in zip(pixels, table, strict=True)])

    @functools.cache  # noqa: B019  (a scaling lives as long as its run)
    def _tables(self, dtype: np.dtype[Any], bands: int) -> NDArray[np.uint8]:
        numbers = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
        scaled = self.apply(np.broadcast_to(numbers, (bands, 1, len(numbers))))
        return np.rint(scaled[:, 0] * 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Stretch(Scaling):
    """A linear scaling.

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


@dataclass(frozen=True, eq=False)
class Ranks(Scaling):
    """Histogram equalization: each value becomes the share of pixels below it.

    Attributes
    ----------
    histograms : Histograms
    """

    histograms: Histograms

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Scale (bands, height, width) pixels to 0..1."""
        values = self.histograms.values
        known = np.nan_to_num(pixels.astype(np.float64), nan=values[0])
        ranks = self.histograms.ranks()
        return np.stack(
            [np.interp(band, values, rank) for band, rank in zip(known, ranks, strict=True)]
        ).astype(np.float32)


def scaling(
    kind: ScalingKind,
    mosaic: Mosaic,
    percent: tuple[float, float] = (2, 98),
    *,
    source: int | None = None,
    floor: float = 0.0,
    budget_px: int = SAMPLE_PX,
    progress: Progress = SILENT,
) -> Scaling:
    """Return the scaling of a mosaic, or of one of its sources.

    Parameters
    ----------
    kind : {"percentile", "bits", "equalize"}
        Between two percentiles of each band; 8 bit as it is and all else between percentiles; or
        histogram equalization (Castleman 1996).
    mosaic : Mosaic
    percent : (float, float)
        Percentiles that become 0 and 1.
    source : int, optional
        All of them together by default.
    floor : float
        Least width of the stretch, passed to :func:`widened`; 0 leaves it as measured.
    budget_px : int
        At most so many pixels are looked at.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    if kind == "bits" and mosaic.dtype == np.uint8:
        return Stretch(np.zeros(mosaic.count), np.full(mosaic.count, 255.0))
    measured = histograms(mosaic, source=source, budget_px=budget_px, progress=progress)
    return scaling_of(measured, kind, mosaic.dtype, percent, floor)


def common_scaling(
    kind: ScalingKind,
    mosaic: Mosaic,
    percent: tuple[float, float] = (2, 98),
    *,
    floor: float = 0.0,
    progress: Progress = SILENT,
) -> Scaling:
    """Return one scaling for all sources of a mosaic, each measured over all of its own pixels.

    Unlike :func:`scaling` of the whole, it does not miss sources that lie far apart.

    Parameters
    ----------
    kind, mosaic, percent, floor, progress
        As for :func:`scaling`.

    Raises
    ------
    EmptyRasterError
        A source without a valid pixel.
    """
    if kind == "bits" and mosaic.dtype == np.uint8:
        return scaling(kind, mosaic)
    count = len(mosaic.sources)
    budget_px = max(RANGE_LEAST_PX, SAMPLE_PX // count)
    parts = [
        histograms(mosaic, source=index, budget_px=budget_px, progress=progress)
        for index in range(count)
    ]
    return scaling_of(pooled(parts), kind, mosaic.dtype, percent, floor)


def scaling_of(
    measured: Histograms,
    kind: ScalingKind,
    dtype: np.dtype[Any],
    percent: tuple[float, float],
    floor: float,
) -> Scaling:
    """Return the scaling that follows from histograms.

    Parameters
    ----------
    measured : Histograms
    kind : {"percentile", "bits", "equalize"}
    dtype : numpy dtype
        Of the raster.
    percent : (float, float)
        Percentiles that become 0 and 1.
    floor : float
        Least width of the stretch.
    """
    if kind == "equalize":
        return Ranks(measured)
    stretch = percentile_stretch(measured, *percent)
    return widened(stretch, measured, dtype, floor) if floor else stretch


def state_of(scaling: Scaling) -> dict[str, Any]:
    """Return a scaling as numbers that can be saved.

    Raises
    ------
    TypeError
        A scaling of another class than those of this module.
    """
    if isinstance(scaling, Ranks):
        measured = scaling.histograms
        return {
            "first": float(measured.first),
            "step": float(measured.step),
            "counts": measured.counts,
        }
    if isinstance(scaling, Stretch):
        return {"low": scaling.low, "high": scaling.high}
    raise TypeError(f"{type(scaling).__name__} cannot be saved")


def scaling_from(numbers: dict[str, Any]) -> Scaling:
    """Return the scaling that :func:`state_of` has saved."""
    return Ranks(Histograms(**numbers)) if "counts" in numbers else Stretch(**numbers)


def percentile_stretch(measured: Histograms, low: float = 2, high: float = 98) -> Stretch:
    """Return the stretch between two percentiles of each band.

    A band of one value only is mapped to 0 rather than divided by nothing.

    Parameters
    ----------
    measured : Histograms
    low, high : float
        Percentiles, 0..100, that become 0 and 1.
    """
    ends = measured.quantiles(np.array([low, high]) / 100)
    flat = ends[:, 1] - ends[:, 0] <= 0
    ends[flat, 1] = ends[flat, 0] + max(measured.step, 1e-6)
    return Stretch(ends[:, 0], ends[:, 1])


def widened(stretch: Stretch, measured: Histograms, dtype: np.dtype[Any], floor: float) -> Stretch:
    """Widen the bands of a stretch that are too narrow to be stretched to the full range.

    A raster of forest, water or snow alone holds a narrow range of values; stretched to the full
    range, its texture looks like the buildings of another raster.

    Parameters
    ----------
    stretch : Stretch
    measured : Histograms
        Of the raster.
    dtype : dtype
        Of the raster.
    floor : float
        Least width of a band's stretch: as a share of 255 for 8 bit, which was scaled for display,
        and of the band's median for other types, which are linear in radiance.

    Returns
    -------
    Stretch
        The middle of a widened band keeps its place in the working range, so that what is dark
        stays dark.
    """
    first, last = working_range(measured, dtype)
    median = np.abs(measured.quantiles(np.array([0.5]))[:, 0])
    least = floor * (np.full_like(median, 255.0) if dtype == np.uint8 else median)
    middle = (stretch.low + stretch.high) / 2
    place = np.clip((middle - first) / (last - first), 0, 1)
    narrow = stretch.high - stretch.low < least
    low = np.where(narrow, middle - least * place, stretch.low)
    return Stretch(low, np.where(narrow, low + least, stretch.high))


def working_range(measured: Histograms, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the range of digital numbers a sensor fills, for comparing unlike types.

    8 bit is 0 to 255. Longer unsigned integers rarely use all bits: 11-bit imagery in uint16 is
    0 to 2047. Floats within 0 and 1 are taken as reflectance; else the range is what occurs, but
    for one pixel in 1000 at either end.

    Parameters
    ----------
    measured : Histograms
        Histograms of the digital numbers.
    dtype : numpy dtype
        Type of the raster.
    """
    if dtype == np.uint8:
        return 0.0, 255.0
    top = float(measured.quantiles(np.array([0.9999])).max())
    if dtype.kind == "u":
        bits = max(8, int(np.ceil(np.log2(top + 1))))
        return 0.0, float(2**bits - 1)
    ends = measured.quantiles(np.array([0.001, 0.999]))
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    # Bins know values to half a step.
    if dtype.kind == "f" and low >= -measured.step and top <= 1 + measured.step:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)


def with_common_range(mosaics: Sequence[Mosaic], *, progress: Progress = SILENT) -> list[Mosaic]:
    """Return mosaics whose sources know the working range that covers all those of their type.

    Strips of one acquisition fill their sensor's range unlike; were each carried over to a style
    by a range of its own, the same digital number would become two colours.

    Parameters
    ----------
    mosaics : sequence of Mosaic
        Processed together, whether they end in one file or in one each.
    progress : Progress
        Advanced while a sample of each source is read; 8 bit needs none.

    Returns
    -------
    list of Mosaic
        The same where there is one source only, or where all are of 8 bit.
    """
    count = sum(len(mosaic.sources) for mosaic in mosaics)
    if count < 2 or all(mosaic.dtype == np.uint8 for mosaic in mosaics):
        return list(mosaics)
    budget_px = max(RANGE_LEAST_PX, SAMPLE_PX // count)
    ranges: dict[np.dtype[Any], tuple[float, float]] = {}
    for mosaic in mosaics:
        for index in range(len(mosaic.sources)):
            values = histograms(mosaic, source=index, budget_px=budget_px, progress=progress)
            low, high = working_range(values, mosaic.dtype)
            known = ranges.get(mosaic.dtype, (low, high))
            ranges[mosaic.dtype] = min(low, known[0]), max(high, known[1])
    return [
        replace(
            mosaic,
            sources=tuple(
                replace(source, common_range=ranges[source.dtype]) for source in mosaic.sources
            ),
        )
        for mosaic in mosaics
    ]


def as_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round and cut floats to what `dtype` holds.

    Parameters
    ----------
    values : array of float
    dtype : numpy dtype
        An integer type, or a float type, to which values are converted as they are.
    """
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max), dtype)

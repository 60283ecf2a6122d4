"""Four classical colour transforms, each fitted once and then applied pixel by pixel.

A transform depends on statistics of the whole image only, so how the image is cut into tiles
cannot show.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.color.lab import from_lab, to_lab
from geossda.color.style import SHARES, Style
from geossda.config import ColorMethod
from geossda.errors import StyleError
from geossda.raster.scaling import as_dtype
from geossda.raster.statistics import Histograms


class Transform(Protocol):
    """What is applied to every tile."""

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Map (bands, height, width) pixels; the result has the same dtype and shape."""


@dataclass(frozen=True)
class Source:
    """What a method knows of the image to change.

    Attributes
    ----------
    histograms : Histograms
    dtype : numpy dtype
    working_range : (float, float)
    lab_mean, lab_std : (3,) arrays or None
        Only for methods of :data:`NEED_LAB`.
    """

    histograms: Histograms
    dtype: np.dtype[Any]
    working_range: tuple[float, float]
    lab_mean: NDArray[np.float64] | None = None
    lab_std: NDArray[np.float64] | None = None


NEED_STYLE: frozenset[str] = frozenset({"histogram", "reinhard"})
NEED_LAB: frozenset[str] = frozenset({"reinhard"})


def fit(method: ColorMethod, source: Source, style: Style | None, strength: float) -> Transform:
    """Fit a method to an image and a style.

    Parameters
    ----------
    method : {"histogram", "reinhard", "grayworld", "equalize"}
    source : Source
    style : Style or None
        ``histogram`` and ``reinhard`` need one, ``grayworld`` takes its brightness from one if
        given, ``equalize`` has no use for one.
    strength : float
        0 leaves the image as it is, 1 goes all the way; linear in between.

    Raises
    ------
    StyleError
        The method needs a style and got none.
    BandError
        Band counts differ.
    """
    if style is not None:
        style.require_bands(len(source.histograms.counts), "the source")
        if style.dtype != source.dtype:
            style = style.carried_to(source.working_range)
    elif method in NEED_STYLE:
        raise StyleError(f"method {method} needs a style: give --style REF")
    return {
        "histogram": _histogram,
        "reinhard": _reinhard,
        "grayworld": _gray_world,
        "equalize": _equalize,
    }[method](source, style, strength)


def _histogram(source: Source, style: Style | None, strength: float) -> Transform:
    """Histogram matching (Castleman 1996): each value goes to the style's value of its rank."""
    if style is None:
        raise StyleError("histogram matching needs a style")
    found = source.histograms
    curves = [
        np.interp(ranks, SHARES, target)
        for ranks, target in zip(found.ranks(), style.quantiles, strict=True)
    ]
    return _by_curves(source, np.stack(curves), strength)


def _equalize(source: Source, style: Style | None, strength: float) -> Transform:
    """Histogram equalization (Castleman 1996): ranks spread evenly over the working range."""
    low, high = source.working_range
    return _by_curves(source, low + source.histograms.ranks() * (high - low), strength)


def _gray_world(source: Source, style: Style | None, strength: float) -> Transform:
    """Gray world (Buchsbaum 1980): one gain a band, so that all bands have the same mean.

    The common mean is the image's own, or the style's if there is one.
    """
    low = source.working_range[0]
    mean = source.histograms.mean() - low
    gray = (mean if style is None else style.mean - low).mean()
    gain = gray / np.where(mean > 0, mean, 1)
    values = source.histograms.values
    return _by_curves(source, low + (values - low) * gain[:, None], strength)


def _reinhard(source: Source, style: Style | None, strength: float) -> Transform:
    """Mean and standard deviation matched in CIE L*a*b* (after Reinhard et al. 2001).

    Bands 1 to 3 are taken as red, green and blue. Further bands, and images of one or two bands,
    have their own mean and standard deviation matched.
    """
    if style is None:
        raise StyleError("reinhard needs a style")
    found = source.histograms
    own_std = np.maximum(found.std(), 1e-9)
    scale = style.std / own_std
    values = found.values
    curves = style.mean[:, None] + (values - found.mean()[:, None]) * scale[:, None]
    by_band = _by_curves(source, curves, strength)
    if source.lab_mean is None or source.lab_std is None or style.lab_mean is None:
        return by_band
    lab_scale = (style.lab_std / np.maximum(source.lab_std, 1e-9)).astype(np.float32)
    own_mean, target = source.lab_mean.astype(np.float32), style.lab_mean.astype(np.float32)

    def apply(pixels: NDArray[Any]) -> NDArray[Any]:
        result = by_band(pixels) if len(pixels) > 3 else pixels.copy()
        lab = (to_lab(pixels, source.working_range) - own_mean) * lab_scale + target
        rgb = from_lab(lab, source.working_range)
        mixed = pixels[:3] + np.float32(strength) * (rgb - pixels[:3])
        result[:3] = as_dtype(mixed, source.dtype)
        return result

    return apply if strength > 0 else by_band


def _by_curves(source: Source, curves: NDArray[np.float64], strength: float) -> Transform:
    """Make a transform from the value each histogram bin becomes, (bands, bins)."""
    found = source.histograms
    mixed = found.values + strength * (curves - found.values)
    if source.dtype.kind in "ui" and source.dtype.itemsize <= 2:
        return _Lookup(as_dtype(mixed, source.dtype), int(found.first))
    return _Interpolate(found.values, mixed, source.dtype)


@dataclass(frozen=True)
class _Lookup:
    """A table a band: exact, and fast, for 8 and 16 bit."""

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
    """A curve a band, interpolated between bins; beyond its ends the last shift goes on."""

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

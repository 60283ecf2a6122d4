"""Tests of the validity of pixels: nodata values, mask bands, an alpha band, finite numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

Validity = Literal["all", "nodata", "alpha", "mask"]
# No sensor's unit gives larger numbers; the usual fills of floats are, as 3.4e38 is.
LARGEST_MEASUREMENT = 1e30
# Of a mask's values, windows of this side are looked at, so many along each side of the raster.
_SIDE_PX, _STEPS = 64, 5


@dataclass(frozen=True)
class ValidityTests:
    """Tests of validity; a pixel must pass each, and floats must be finite.

    Attributes
    ----------
    nodata : tuple of float or None
        One value a band read, None for a band without; empty if no band has one. A pixel is
        invalid if every band that has a value holds it: one band alone may hold it as data.
    masks : {"none", "dataset", "bands"}
        Mask bands: one for all bands, or one for each, of which all must be set.
    mask_set : int
        The value of valid pixels in mask bands.
    alpha : int or None
        The alpha band, 1-based. Pixels that are not transparent are valid.
    opaque : float
        The value of opaque pixels in it.
    """

    nodata: tuple[float | None, ...] = ()
    masks: Literal["none", "dataset", "bands"] = "none"
    mask_set: int = 255
    alpha: int | None = None
    opaque: float = 1.0

    @property
    def uniform(self) -> bool:
        """Whether all bands have the same nodata value."""
        return len(self.nodata) > 0 and all(_same(self.nodata[0], v) for v in self.nodata)

    @property
    def combined(self) -> bool:
        """Whether GDAL's warper cannot apply the tests, being several or one a band."""
        several = bool(self.nodata) + (self.masks != "none") + (self.alpha is not None) > 1
        odd = self.masks == "bands" or self.mask_set != 255
        return several or odd or (bool(self.nodata) and not self.uniform)

    def output(self) -> tuple[Validity, float | None]:
        """Return how an output marks invalid pixels, in one way, and its nodata value."""
        if self.alpha is not None:
            return "alpha", None
        if self.masks != "none" or (self.nodata and not self.uniform):
            return "mask", None
        return ("nodata", self.nodata[0]) if self.nodata else ("all", None)

    def by_nodata(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where (bands, height, width) pixels are not nodata in all bands that have it."""
        absent: NDArray[np.bool_] | None = None
        for band, value in zip(pixels, self.nodata, strict=False):
            if value is not None:
                hit = np.isnan(band) if math.isnan(value) else band == value
                absent = hit if absent is None else absent & hit
        return np.ones(pixels.shape[1:], np.bool_) if absent is None else ~absent


def masks_of(dataset: Any, bands: Sequence[int]) -> Literal["none", "dataset", "bands"]:
    """Return which mask bands a file has besides its nodata values and its alpha band.

    Parameters
    ----------
    dataset : open rasterio dataset
    bands : sequence of int
        1-based indices of the bands that are read.
    """
    flags = dataset.mask_flag_enums
    if any(not flags[band - 1] for band in bands):
        return "bands"
    first = flags[bands[0] - 1]
    if MaskFlags.per_dataset not in first or MaskFlags.alpha in first:
        # A mislabelled near infrared band is no mask, and alpha is read by itself.
        return "none"
    # The flag of metadata NODATA_VALUES, which GDAL evaluates, stands beside that of nodata.
    return "dataset"


def mask_value(dataset: Any, band: int) -> int:
    """Return the value of valid pixels in a band's mask: 255, or 1 in some external masks.

    GDAL expands masks inside files to 255, those beside them (.msk) it does not.

    Parameters
    ----------
    dataset : open rasterio dataset
    band : int
        1-based.
    """
    if not any(str(file).endswith(".msk") for file in dataset.files):
        return 255
    high, wide = min(_SIDE_PX, dataset.height), min(_SIDE_PX, dataset.width)
    highest = 0
    for row in np.linspace(0, dataset.height - high, _STEPS).astype(int).tolist():
        for col in np.linspace(0, dataset.width - wide, _STEPS).astype(int).tolist():
            highest = max(
                highest, int(dataset.read_masks(band, window=Window(col, row, wide, high)).max())
            )
    return 1 if highest == 1 else 255


def finite(pixels: NDArray[Any], valid: NDArray[np.bool_] | np.bool_) -> NDArray[np.bool_]:
    """Return which of the valid (bands, height, width) pixels are measurements in all bands.

    Of floats, neither NaN nor infinities are, nor fills such as the lowest float32, whether a file
    declares them or not.

    Parameters
    ----------
    pixels : (bands, height, width) array
    valid : (height, width) bool array, or one bool for all pixels
    """
    if pixels.dtype.kind != "f":
        return np.asarray(valid)
    return np.asarray(valid & (np.abs(pixels) < LARGEST_MEASUREMENT).all(axis=0))


def can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether pixels of a type can have a value.

    Parameters
    ----------
    dtype : numpy dtype
    value : float
        A digital number; floats hold any, integers whole numbers within their limits.
    """
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= value <= limits.max) and float(value).is_integer()


def exact(value: float) -> str:
    """Return a digital number as a message shows it, from which it is read again without loss.

    Parameters
    ----------
    value : float
    """
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def avoid_nodata(
    changed: NDArray[Any],
    before: NDArray[Any],
    valid: NDArray[np.bool_],
    nodata: float | None,
) -> NDArray[Any]:
    """Move valid pixels that were mapped onto the nodata value to the next value beside it.

    Parameters
    ----------
    changed : array
        Pixels after a change of values.
    before : array
        The same pixels before it, of the same shape.
    valid : bool array
        Which of them are valid, of a shape that broadcasts to theirs.
    nodata : float, optional
        In digital numbers of `changed`.
    """
    if nodata is None or np.isnan(nodata):
        return changed
    hit = (changed == nodata) & valid & (before != nodata)
    if hit.any():
        dtype = changed.dtype
        if dtype.kind == "f":
            beside = np.nextafter(dtype.type(nodata), dtype.type(np.inf))
        else:
            beside = dtype.type(nodata + 1 if nodata < np.iinfo(dtype).max else nodata - 1)
        changed = np.where(hit, beside, changed)
    return changed

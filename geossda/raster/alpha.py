"""Bands labelled alpha, and bands that are."""

from typing import Any, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile

# Share of an alpha band's visible pixels that have its most frequent value, and its highest, which
# is less where edges are feathered; near infrared has far fewer pixels of one value.
_LEAST_SHARE = 0.9
_LEAST_OPAQUE = 0.4
# The sample: windows of this side, so many along each side of the raster.
_SAMPLE_PX, _STEPS = 64, 5


class AlphaBand(NamedTuple):
    """A band of opacity.

    Attributes
    ----------
    band : int
        1-based.
    opaque : float
        Value of opaque pixels: the type's maximum in most files, 255 or 1 in others.
    """

    band: int
    opaque: float


def type_opaque(dtype: np.dtype[Any]) -> float:
    """Return the value that GDAL takes as opaque in an alpha band of a type."""
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0


def without_alpha_label(dataset: Any) -> Any:
    """Open a dataset again with no band labelled alpha: rasterio adds no alpha beside one."""
    with MemoryFile(ext=".vrt") as copy:
        rasterio.shutil.copy(dataset, copy.name, driver="VRT")
        text = copy.read().decode()
    return rasterio.open(text.replace("<ColorInterp>Alpha</ColorInterp>", ""))


def alpha_band(dataset: Any) -> AlphaBand | None:
    """Return the band that is alpha in fact, with the value of its opaque pixels.

    Many four-band files carry near infrared in a band that TIFF's defaults label alpha. Of an alpha
    band, all that is visible is nearly everywhere opaque alike, or much of it is wholly opaque;
    near infrared is neither.
    """
    labelled = [color == ColorInterp.alpha for color in dataset.colorinterp]
    if not any(labelled):
        labelled = [(name or "").strip().lower() == "alpha" for name in dataset.descriptions]
    if not any(labelled) or dataset.count == 1:
        return None
    band = labelled.index(True) + 1
    usual = type_opaque(np.dtype(dataset.dtypes[band - 1]))
    samples = []
    for row in np.linspace(0, max(0, dataset.height - _SAMPLE_PX), _STEPS).astype(int):
        for col in np.linspace(0, max(0, dataset.width - _SAMPLE_PX), _STEPS).astype(int):
            window = rasterio.windows.Window(
                col, row, min(_SAMPLE_PX, dataset.width), min(_SAMPLE_PX, dataset.height)
            )
            samples.append(dataset.read(band, window=window).ravel())
    values = np.concatenate(samples)
    visible, counts = np.unique(values[values != 0], return_counts=True)
    if not len(visible):
        return AlphaBand(band, usual)
    opaque = float(visible[counts.argmax()])
    share = counts.max() / counts.sum()
    highest = opaque == visible.max() and share > _LEAST_OPAQUE
    return AlphaBand(band, opaque) if highest or share > _LEAST_SHARE else None

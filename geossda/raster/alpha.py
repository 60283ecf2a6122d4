"""Bands labelled alpha, and bands that are."""

from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geossda.errors import RasterError


def opaque(dtype: np.dtype[Any]) -> float:
    """Give the number that means opaque in an alpha band of this type."""
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0


def without_alpha_label(dataset: Any) -> Any:
    """Open a dataset again with no band called alpha: rasterio adds no alpha beside one."""
    with MemoryFile(ext=".vrt") as copy:
        rasterio.shutil.copy(dataset, copy.name, driver="VRT")
        text = copy.read().decode()
    return rasterio.open(text.replace("<ColorInterp>Alpha</ColorInterp>", ""))


def alpha_band(dataset: Any) -> int | None:
    """Find the band that is alpha in fact.

    Many four-band files carry near infrared in a band that TIFF's defaults label alpha. An alpha
    band is opaque or transparent nearly everywhere; near infrared is neither.
    """
    if ColorInterp.alpha not in dataset.colorinterp:
        return None
    band = dataset.colorinterp.index(ColorInterp.alpha) + 1
    if dataset.count == 1:
        return None
    dtype = np.dtype(dataset.dtypes[band - 1])
    size = 64
    samples = []
    try:
        for row in np.linspace(0, max(0, dataset.height - size), 3).astype(int):
            for col in np.linspace(0, max(0, dataset.width - size), 3).astype(int):
                window = rasterio.windows.Window(
                    col, row, min(size, dataset.width), min(size, dataset.height)
                )
                samples.append(dataset.read(band, window=window).ravel())
    except RasterioError as error:
        raise RasterError(
            f"{dataset.name} cannot be read ({str(error).splitlines()[0]}): the file is truncated "
            "or damaged, copy it again"
        ) from error
    values = np.concatenate(samples)
    return band if np.isin(values, (0, opaque(dtype))).mean() > 0.9 else None

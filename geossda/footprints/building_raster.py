"""Rasters of building masks or probabilities."""

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.errors import BandError, InputError, counted
from geossda.footprints.records import BuildingWindow
from geossda.progress import SILENT, Progress
from geossda.raster.description import Description
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.source import Source, gdal_environment
from geossda.raster.validity import exact
from geossda.raster.windows import Window

# Tag of a raster of probabilities: the temperature that its model's log odds were divided by.
TEMPERATURE_TAG = "GEOSSDA_TEMPERATURE"


class BuildingRaster:
    """A building mask or a raster of building probabilities.

    Integers are masks: every value but 0 is a building. Floats are probabilities: values of at
    least the threshold are buildings.

    Parameters
    ----------
    mosaic : Mosaic
        A mosaic of one band.
    threshold : float
        Least probability of a building, 0..1.
    temperature : float
        Temperature that the model's log odds were divided by to calibrate the probabilities.
    progress : Progress
        Receives a warning about masks that hold more than two values.
    """

    def __init__(
        self,
        mosaic: Mosaic,
        threshold: float,
        temperature: float = 1.0,
        progress: Progress = SILENT,
    ) -> None:
        self.mosaic = mosaic
        self.threshold = threshold
        self.temperature = temperature
        self._progress = progress
        self._warned = threading.Lock()
        # Whether nodata holds a value other than 0, which could be that of buildings.
        self._nodata_set = False
        self._any_valid = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling; the copy in another process reports no progress."""
        return BuildingRaster, (self.mosaic, self.threshold, self.temperature)

    @property
    def has_probability(self) -> bool:
        """Whether values are probabilities."""
        return self.mosaic.dtype.kind == "f"

    def read(self, window: Window) -> BuildingWindow:
        """Read the building pixels of a window.

        Raises
        ------
        InputError
            Floats outside 0..1.
        """
        with gdal_environment():
            pixels, valid = self.mosaic.read(window)
        values = pixels[0]
        self._any_valid = self._any_valid or bool(valid.any())
        if not self.has_probability:
            inside = values != 0
            self._nodata_set = self._nodata_set or bool((inside & ~valid).any())
            inside &= valid
            self._check_mask(values, inside)
            return BuildingWindow(inside)
        self._check_probability(values if valid.all() else values[valid])
        # Nodata is no building, even at a threshold of 0.
        return BuildingWindow(
            (values >= self.threshold) & valid, values.astype(np.float32, copy=False)
        )

    @property
    def is_empty(self) -> bool:
        """Whether no pixel that has been read so far is valid."""
        return not self._any_valid

    def warn_of_none(self) -> None:
        """Warn, where no building was found, of nodata that is the reason for it."""
        if self._nodata_set:
            nodata = self.mosaic.sources[0].nodata
            value = "" if nodata is None else f" ({exact(nodata)})"
            self._progress.warn(
                f"{self.mosaic.name} holds no building, but nodata{value} that is not 0: if it "
                "marks the buildings, remove the declaration with gdal_edit.py -unsetnodata"
            )
        elif self.is_empty:
            self._progress.warn(
                f"{self.mosaic.name} holds no valid pixel, so there is nothing to convert: check "
                "what it declares as nodata"
            )

    def _check_mask(self, values: NDArray[np.generic], inside: NDArray[np.bool_]) -> None:
        if self._warned.locked():
            return
        first = values.flat[inside.argmax()]
        others = values != first
        others &= inside
        if others.any() and self._warned.acquire(blocking=False):
            self._progress.warn(
                f"{self.mosaic.name} holds other values than 0 and {first}: each but 0 is "
                "taken as building; for probabilities give floats in 0..1"
            )

    def _check_probability(self, values: NDArray[np.generic]) -> None:
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise InputError(
                f"{self.mosaic.name} holds values from {values.min():g} to {values.max():g}, "
                "probabilities in 0..1 were expected: rescale it, or convert a mask to integers"
            )


def open_buildings(
    path: str | os.PathLike[str],
    threshold: float,
    *,
    bands: tuple[int, ...] = (),
    nodata: float | None = None,
    temperature: float | None = None,
    progress: Progress = SILENT,
) -> BuildingRaster:
    """Open a building mask or a raster of probabilities.

    Masks often declare 0 or even 1 as nodata; both are classes of a mask, so such a declaration is
    ignored.

    Parameters
    ----------
    path : path
    threshold : float
        Least probability of a building, 0..1.
    bands : tuple of int
        The band to read, from 1; needed if there are several.
    nodata : float, optional
        Replaces the declared nodata value.
    temperature : float, optional
        By default that of the raster's tags, else 1.
    progress : Progress

    Returns
    -------
    BuildingRaster

    Raises
    ------
    BandError
        More than one band, and none chosen.
    """
    mosaic = open_mosaic(path, bands=bands or None, nodata=nodata)
    if mosaic.count > 1:
        raise BandError(
            f"{path} has {counted(mosaic.count, 'band')}, one of buildings was expected: "
            "choose it with --bidx"
        )
    source = mosaic.sources[0]
    declared = source.validity == "nodata" and nodata is None
    if declared and source.nodata in (0, 1) and source.dtype.kind != "f":
        mosaic = Mosaic((source.without_nodata(),), mosaic.grid)
    if temperature is None:
        temperature = _tagged_temperature(source)
    return BuildingRaster(mosaic, threshold, temperature, progress)


def _tagged_temperature(source: Source) -> float:
    try:
        temperature = float(Description.of(source).tags.get(TEMPERATURE_TAG, 1))
    except ValueError:  # the tag was edited
        return 1.0
    return temperature if 0 < temperature < np.inf else 1.0

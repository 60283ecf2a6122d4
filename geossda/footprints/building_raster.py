"""Which pixels of a raster are buildings."""

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.errors import BandError, InputError
from geossda.footprints.records import BuildingWindow
from geossda.progress import SILENT, Progress
from geossda.raster.cog import Description
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.source import Source, gdal_environment
from geossda.raster.windows import Window

# Of a raster of probabilities: what its model's log odds were divided by.
TEMPERATURE_TAG = "GEOSSDA_TEMPERATURE"


class BuildingRaster:
    """A mask or a raster of probabilities.

    Integers are masks: every value but 0 is a building. Floats are probabilities: those from the
    threshold on are.

    Parameters
    ----------
    mosaic : Mosaic
        Of one band.
    threshold : float
    temperature : float
        What a model's log odds were divided by to make the probabilities.
    progress : Progress
        Is warned of masks that do not look like one.
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process, where nobody is told of anything."""
        return BuildingRaster, (self.mosaic, self.threshold, self.temperature)

    @property
    def has_probability(self) -> bool:
        """Whether values are probabilities."""
        return self.mosaic.dtype.kind == "f"

    def read(self, window: Window) -> BuildingWindow:
        """Read the marks of a window.

        Raises
        ------
        InputError
            Floats outside 0..1.
        """
        with gdal_environment():
            pixels, valid = self.mosaic.read(window)
        values = pixels[0]
        if not self.has_probability:
            inside = values != 0
            inside &= valid
            self._check_mask(values, inside)
            return BuildingWindow(inside)
        self._check_probability(values[valid])
        # Not data is below any threshold, 0 included.
        return BuildingWindow(
            (values >= self.threshold) & valid, values.astype(np.float32, copy=False)
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
        if len(values) and not (values.min() >= 0 and values.max() <= 1):
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
    """Open a mask or probabilities.

    Masks often declare 0 or even 1 as nodata; both are classes there, so such a declaration is
    passed over. The temperature is, by default, what the raster's tags say it was made with.

    Raises
    ------
    BandError
        More than one band, and none chosen.
    """
    mosaic = open_mosaic(path, bands=bands or None, nodata=nodata)
    if mosaic.count > 1:
        raise BandError(
            f"{path} has {mosaic.count} bands, one of buildings was expected: choose it with --bidx"
        )
    source = mosaic.sources[0]
    declared = source.validity == "nodata" and nodata is None
    if declared and source.nodata in (0, 1) and source.dtype.kind != "f":
        mosaic = Mosaic((source.without_nodata(),), mosaic.grid)
    if temperature is None:
        temperature = _temperature_said(source)
    return BuildingRaster(mosaic, threshold, temperature, progress)


def _temperature_said(source: Source) -> float:
    try:
        said = float(Description.of(source).tags.get(TEMPERATURE_TAG, 1))
    except ValueError:  # edited by someone
        return 1.0
    return said if 0 < said < np.inf else 1.0

"""The pixels of one image, as style statistics are measured on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from geossda.config import Structure
from geossda.errors import EmptyRasterError
from geossda.progress import SILENT, Progress
from geossda.raster.histograms import Histograms, histograms
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import working_range
from geossda.raster.statistics import covariance, over_tiles, sample_windows

if TYPE_CHECKING:
    from geossda.runtime.style_network import StyleModel

# Colors of pixels: so many are kept, from tiles of this side, of at most so many pixels in all.
SAMPLE_COLORS = 4096
COLORS_PX, COLORS_TILE_PX = 2**22, 128
# Drawn at first for each that is kept, so that rasters of few valid pixels have enough.
DRAWN_PER_COLOR = 16
T = TypeVar("T")


class Reading(Protocol):
    """The pixels of one image, a raster's or samples, to measure statistics on."""

    @property
    def bands(self) -> int:
        """Number of bands."""

    @property
    def colors(self) -> tuple[str | None, ...]:
        """What each band shows as the image declares it; empty where nothing is known."""

    @property
    def histograms(self) -> Histograms:
        """Histograms of the valid pixels, one a band."""

    @property
    def working_range(self) -> tuple[float, float]:
        """Digital numbers that the sensor fills."""

    def reduce(
        self,
        measure: Callable[[NDArray[Any], NDArray[np.bool_]], T],
        merge: Callable[[T, T], T],
    ) -> T:
        """Measure windows spread over the image and merge the results, in window order.

        Parameters
        ----------
        measure : callable
            Takes (bands, height, width) pixels and a (height, width) bool array of the valid ones.
        merge : callable
            Takes two results and returns that of both.
        """


@dataclass(frozen=True)
class RasterReading:
    """A mosaic of one source, read as far as statistics need it.

    Attributes
    ----------
    mosaic : Mosaic
    given_range : (float, float) or None
        Working range to take instead of the raster's own.
    progress : Progress
    model : StyleModel or None
        Measures features, if it takes no more bands than there are.
    structures : sequence of {"lock", "full"}
        What features are measured for.
    """

    mosaic: Mosaic
    given_range: tuple[float, float] | None = None
    progress: Progress = SILENT
    model: "StyleModel | None" = None
    structures: Sequence[Structure] = ()

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.mosaic.count

    @property
    def colors(self) -> tuple[str | None, ...]:
        """What each band shows as the raster declares it."""
        return self.mosaic.sources[0].colors

    @cached_property
    def histograms(self) -> Histograms:
        """Histograms of the valid pixels, one a band."""
        return histograms(self.mosaic, progress=self.progress)

    @cached_property
    def working_range(self) -> tuple[float, float]:
        """Digital numbers that the sensor fills; counted only where they are not known before."""
        known = self.given_range or self.mosaic.sources[0].common_range
        return known or working_range(self.histograms, self.mosaic.dtype)

    @cached_property
    def covariance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean (bands,) and covariance (bands, bands) of all pixels, in units of the range."""
        mean, spread = covariance(self.mosaic, self.working_range, progress=self.progress)
        return mean, spread + 1e-6 * np.eye(len(mean))

    def reduce(
        self,
        measure: Callable[[NDArray[Any], NDArray[np.bool_]], T],
        merge: Callable[[T, T], T],
    ) -> T:
        """Measure windows spread over the raster and merge the results, in window order."""
        windows = sample_windows(self.mosaic)
        self.progress.stage("reading statistics", len(windows))
        return over_tiles(self.mosaic, windows, measure, merge, progress=self.progress)


def sample_colors(mosaic: Mosaic, *, progress: Progress = SILENT) -> NDArray[np.float64]:
    """Return the colors of valid pixels spread over a mosaic of one source.

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress

    Returns
    -------
    (bands, n) array
        At most `SAMPLE_COLORS` pixels' digital numbers.

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    windows = sample_windows(mosaic, COLORS_PX, COLORS_TILE_PX)
    progress.stage("sampling colours", len(windows))
    area = sum(window.height * window.width for window in windows)
    # Every valid pixel has the same chance, wherever it lies: tiles at the border hold fewer. An
    # odd stride does not return to the same columns of a tile.
    stride = max(1, area // (DRAWN_PER_COLOR * SAMPLE_COLORS)) | 1

    def colors(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        known = np.flatnonzero(valid)[::stride]
        return pixels.reshape(len(pixels), -1)[:, known].astype(np.float64)

    drawn = over_tiles(
        mosaic,
        windows,
        colors,
        lambda one, other: np.concatenate([one, other], axis=1),
        progress=progress,
    )
    count = drawn.shape[1]
    if not count:
        raise EmptyRasterError(f"{mosaic.name} has no valid pixel in {len(windows)} sampled tiles")
    return drawn[:, np.linspace(0, count - 1, min(SAMPLE_COLORS, count)).astype(int)]


def colors_of_both(
    reading: RasterReading, reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the colors of a source and of a reference, with the source's working range as 0..1.

    Parameters
    ----------
    reading : RasterReading
        Of the source.
    reference : (bands, n) array
        Digital numbers of the reference's pixels, in the source's range.

    Returns
    -------
    source, reference : (bands, n) arrays

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    low, high = reading.working_range
    source = sample_colors(reading.mosaic, progress=reading.progress)
    return (source - low) / (high - low), (reference - low) / (high - low)

"""A raster before and after harmonization, read together."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from geossda.errors import BandError, counted
from geossda.parallel.ordered_map import ordered_map
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

T = TypeVar("T")


class Views(NamedTuple):
    """One window of both rasters.

    Attributes
    ----------
    before, after : (bands, height, width) arrays
    known, written : (height, width) bool arrays
        Validity before and after.
    """

    before: NDArray[Any]
    after: NDArray[Any]
    known: NDArray[np.bool_]
    written: NDArray[np.bool_]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Validity of both."""
        return self.known & self.written


@dataclass(frozen=True)
class Pair:
    """Two mosaics of the same grid and number of bands.

    Attributes
    ----------
    before, after : Mosaic
    """

    before: Mosaic
    after: Mosaic

    def __post_init__(self) -> None:
        if self.before.count != self.after.count:
            raise BandError(
                f"{self.before.name} has {counted(self.before.count, 'band')}, "
                f"{self.after.name} has "
                f"{self.after.count}: name the sources it was made from with --source"
            )
        if self.before.grid != self.after.grid:
            raise ValueError("the grids of a pair differ")

    def resampled(self, grid: Grid) -> "Pair":
        """Return both on another grid."""
        return Pair(self.before.resampled(grid), self.after.resampled(grid))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.after.shape

    @property
    def count(self) -> int:
        """Number of bands without alpha."""
        return self.after.count

    def read(self, window: Window) -> Views:
        """Read a window of both rasters."""
        after, written = self.after.read(window)
        before, known = self.before.read(window)
        return Views(before, after, known, written)

    def over(
        self,
        windows: Iterable[Window],
        measure: Callable[[Window, Views], T],
        *,
        progress: Progress = SILENT,
    ) -> Iterator[T]:
        """Yield the results of `measure` in the windows' order, computed in threads.

        Parameters
        ----------
        windows : iterable of Window
        measure : callable
            ``measure(window, views)`` is called in a thread.
        progress : Progress
            Advanced by one per window.
        """

        def one(window: Window) -> T:
            with gdal_environment():
                views = self.read(window)
            return measure(window, views)

        for result in ordered_map(one, windows):
            yield result
            progress.advance()

"""Whether the same things are drawn before and after, place by place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geossda.color.similarity import gradient_correlations
from geossda.evaluation.pair import Pair, Views
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, tiles

# Under this a cell counts as changed.
ALIKE = 0.9
_WINDOW_PX = 1024


@dataclass(frozen=True)
class Drawing:
    """Likeness of what is drawn, by cells.

    Attributes
    ----------
    cells : (rows, cols) float32 array
        Correlation of the steps between neighbouring pixels, 1 where the same is drawn; NaN where
        there is nothing to compare.
    cell_px : int
        Side of a cell, in pixels.
    pixels : int
        Valid pixels of the raster after.
    """

    cells: NDArray[np.float32]
    cell_px: int
    pixels: int

    @property
    def known(self) -> NDArray[np.float32]:
        """The cells that could be compared, (n,)."""
        return np.asarray(self.cells[np.isfinite(self.cells)])

    @property
    def changed(self) -> float:
        """Share of the known cells under 0.9; NaN without any."""
        return float((self.known < ALIKE).mean()) if len(self.known) else float("nan")

    def grid(self, grid: GeoBox) -> GeoBox:
        """Give the cells' grid, of the raster's: those at the right and bottom may reach out."""
        transform = grid.transform * grid.transform.scale(self.cell_px)
        return GeoBox(self.cells.shape, transform, grid.crs)


def compare_drawing(pair: Pair, cell_px: int, *, progress: Progress = SILENT) -> Drawing:
    """Compare what is drawn before and after, by windows, every pixel of both.

    Parameters
    ----------
    pair : Pair
    cell_px : int
        Side of a cell, in pixels.
    progress : Progress
    """
    height, width = pair.shape
    cells = np.full((-(-height // cell_px), -(-width // cell_px)), np.nan, np.float32)
    windows = list(tiles(pair.shape, cell_px * max(1, _WINDOW_PX // cell_px)))
    progress.stage("comparing what is drawn", len(windows))

    def compare(window: Window, views: Views) -> tuple[Window, NDArray[np.float32], int]:
        found = gradient_correlations(views.before, views.after, views.valid, cell_px)
        place = Window(window.row // cell_px, window.col // cell_px, *found.shape)
        return place, found, int(views.written.sum())

    pixels = 0
    for place, found, written in pair.over(windows, compare, progress=progress):
        cells[place.rows, place.cols] = found
        pixels += written
    return Drawing(cells, cell_px, pixels)

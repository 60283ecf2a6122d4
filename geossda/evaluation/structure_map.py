"""Whether a raster has the same structure before and after, by cells."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geossda.color.similarity import gradient_correlations
from geossda.evaluation.pair import Pair, Views
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.windows import Window, tiles

# Correlation below which the structure of a cell counts as changed.
UNCHANGED = 0.9
_WINDOW_PX = 1024


@dataclass(frozen=True)
class StructureMap:
    """Correlation of the structure before and after, by cells.

    Attributes
    ----------
    cells : (rows, cols) float32 array
        Correlation of the differences between neighbouring pixels, 1 where the structure is the
        same; NaN where there is nothing to compare.
    cell_px : int
        Side of a cell, in pixels.
    pixels : int
        Valid pixels of the raster afterwards.
    """

    cells: NDArray[np.float32]
    cell_px: int
    pixels: int

    @property
    def known(self) -> NDArray[np.float32]:
        """Values of the (n,) cells that could be compared."""
        return np.asarray(self.cells[np.isfinite(self.cells)])

    @property
    def changed(self) -> float:
        """Fraction of the known cells below 0.9; NaN if there are none."""
        return float((self.known < UNCHANGED).mean()) if len(self.known) else float("nan")

    def grid(self, grid: Grid) -> Grid:
        """Return the grid of the cells on that of the raster; the last ones may exceed it."""
        transform = grid.transform * grid.transform.scale(self.cell_px)
        return Grid(self.cells.shape, transform, grid.crs)


def compare_structure(pair: Pair, cell_px: int, *, progress: Progress = SILENT) -> StructureMap:
    """Compare the structure before and after, window by window, on all pixels.

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
    progress.stage("comparing structure", len(windows))

    def compare(window: Window, views: Views) -> tuple[Window, NDArray[np.float32], int]:
        values = gradient_correlations(views.before, views.after, views.valid, cell_px)
        block = Window(window.row // cell_px, window.col // cell_px, *values.shape)
        return block, values, int(views.written.sum())

    pixels = 0
    for block, values, written in pair.over(windows, compare, progress=progress):
        cells[block.rows, block.cols] = values
        pixels += written
    return StructureMap(cells, cell_px, pixels)

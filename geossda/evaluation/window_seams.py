"""How visible the lines are where two acquisitions, or two windows of a run, meet."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.evaluation.pair import Pair, Views
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, spread

BLOCK_ROWS = 64
# Lines are measured in pieces of so many pixels, at most so many on borders and in middles each.
PIECE_PX = 512
MAX_PIECES = 800


def steps_across(
    image: NDArray[Any], valid: NDArray[np.bool_], columns: NDArray[np.int64], reach_px: int
) -> NDArray[np.float64]:
    """Measure the colour steps across a line, block by block.

    A step is the mean of `reach_px` pixels right of the line minus the mean of as many left of it,
    over a block of 64 rows. It contains the step of the acquisitions and that of the ground; where
    the ground is known from one acquisition, its steps can be subtracted.

    Parameters
    ----------
    image : (bands, height, width) array
    valid : (height, width) bool array
    columns : (height,) int array
        First column right of the line, for each row.
    reach_px : int
        Pixels on either side.

    Returns
    -------
    (blocks, bands) array
        Steps in digital numbers; NaN for blocks that are not wholly valid.
    """
    height, width = valid.shape
    offsets = np.arange(-reach_px, reach_px)
    steps = []
    for top in range(0, height - BLOCK_ROWS + 1, BLOCK_ROWS):
        rows = np.arange(top, top + BLOCK_ROWS)[:, None]
        cols = columns[rows] + offsets[None, :]
        if cols.min() < 0 or cols.max() >= width or not valid[rows, cols].all():
            steps.append(np.full(len(image), np.nan))
            continue
        values = image[:, rows, cols].astype(np.float64)
        right, left = values[:, :, reach_px:], values[:, :, :reach_px]
        steps.append(right.mean(axis=(1, 2)) - left.mean(axis=(1, 2)))
    return np.array(steps).reshape(-1, len(image))


@dataclass(frozen=True)
class LatticeSteps:
    """Differences of neighbouring pixels, on the borders of windows and in their middle.

    Attributes
    ----------
    border, middle : (bands,) arrays
        Mean absolute difference across the lines in digital numbers; NaN without a valid pair.
    """

    border: NDArray[np.float64]
    middle: NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """Ratio of border to middle over all bands: 1 where borders are invisible."""
        middle = float(self.middle.sum())
        return float(self.border.sum()) / middle if middle > 0 else math.nan


def lattice_steps(
    pair: Pair, tile_px: int, *, pieces: int = MAX_PIECES, progress: Progress = SILENT
) -> tuple[LatticeSteps, LatticeSteps]:
    """Measure the steps across the borders of square windows, from the raster's origin.

    Lines half a window further measure the steps of the ground itself. Only pairs of pixels that
    are valid before and after count, so both are measured on the same ones.

    Parameters
    ----------
    pair : Pair
    tile_px : int
        Side of the windows in pixels.
    pieces : int
        Maximum number of pieces of 512 px on borders and in middles each, spread evenly.
    progress : Progress

    Returns
    -------
    (LatticeSteps, LatticeSteps)
        Steps before and after; NaN if the raster is a single window.
    """
    half = tile_px // 2
    border = spread(list(_pieces(pair.shape, tile_px, tile_px)), pieces)
    # No line in the middle of windows of one pixel.
    middle = spread(list(_pieces(pair.shape, tile_px, half)), pieces) if half else []
    progress.stage("measuring window borders", len(border) + len(middle))
    border_steps = _mean_steps(pair, border, progress)
    middle_steps = _mean_steps(pair, middle, progress)
    before, after = (
        LatticeSteps(border_steps[which], middle_steps[which]) for which in ("before", "after")
    )
    return before, after


def _pieces(shape: tuple[int, int], step: int, first: int) -> Iterator[Window]:
    """Yield windows two pixels wide, one pixel on either side of a line."""
    height, width = shape
    for col in range(first, width, step):
        for row in range(0, height, PIECE_PX):
            yield Window(row, col - 1, min(PIECE_PX, height - row), 2)
    for row in range(first, height, step):
        for col in range(0, width, PIECE_PX):
            # A window of 2 x 2 pixels at a corner would be taken for a column.
            if (length := min(PIECE_PX, width - col)) > 2:
                yield Window(row - 1, col, 2, length)


def _mean_steps(
    pair: Pair, windows: Sequence[Window], progress: Progress
) -> dict[str, NDArray[np.float64]]:
    def steps(window: Window, views: Views) -> tuple[int, NDArray[np.float64]]:
        axis = 1 if window.width == 2 else 0
        both = views.valid.all(axis=axis)
        sums = [
            np.abs(np.diff(image.astype(np.float64), axis=1 + axis).squeeze(1 + axis)[:, both])
            for image in (views.before, views.after)
        ]
        return int(both.sum()), np.stack([step.sum(axis=1) for step in sums])

    pairs, total = 0, np.zeros((2, pair.count))
    for valid_pairs, sums in pair.over(windows, steps, progress=progress):
        pairs += valid_pairs
        total += sums
    mean = total / pairs if pairs else np.full_like(total, np.nan)
    return {"before": mean[0], "after": mean[1]}

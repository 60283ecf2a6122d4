"""How visible the line is where two acquisitions meet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 64


def steps_across(
    image: NDArray[Any], valid: NDArray[np.bool_], columns: NDArray[np.int64], reach_px: int
) -> NDArray[np.float64]:
    """Measure the steps in colour from the left of a line to its right, block by block.

    Each is the mean of `reach_px` pixels right of the line less the mean of as many left of it,
    over a block of 64 rows. It holds the step of the acquisitions and that of the ground; where
    the ground is known from one acquisition, its steps can be taken off.

    Parameters
    ----------
    image : (bands, height, width) array
    valid : (height, width) bool array
    columns : (height,) int array
        First column right of the line, for each row.
    reach_px : int
        How far to look on either side.

    Returns
    -------
    (blocks, bands) array
        Digital numbers; NaN for blocks that are not wholly valid.
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

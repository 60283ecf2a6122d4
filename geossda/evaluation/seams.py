"""How visible the line is where two acquisitions meet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 64


def step_across(
    image: NDArray[Any], valid: NDArray[np.bool_], columns: NDArray[np.int64], reach_px: int
) -> float:
    """Measure the step in colour from the left of a line to its right.

    Means of `reach_px` pixels on either side are compared over blocks of 64 rows, so that what
    lies on the ground cancels out and the difference of the acquisitions stays.

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
    float
        Mean absolute step, in digital numbers, over bands and blocks; NaN if none is valid.
    """
    steps = []
    height, width = valid.shape
    offsets = np.arange(-reach_px, reach_px)
    for top in range(0, height - BLOCK_ROWS + 1, BLOCK_ROWS):
        rows = np.arange(top, top + BLOCK_ROWS)[:, None]
        cols = columns[rows] + offsets[None, :]
        if cols.min() < 0 or cols.max() >= width or not valid[rows, cols].all():
            continue
        values = image[:, rows, cols].astype(np.float64)
        left = values[:, :, :reach_px].mean(axis=(1, 2))
        right = values[:, :, reach_px:].mean(axis=(1, 2))
        steps.append(np.abs(right - left).mean())
    return float(np.mean(steps)) if steps else float("nan")

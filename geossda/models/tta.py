"""Test-time augmentation: predictions averaged over mirror images and rotations of a window."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Whether rows are reversed, columns are reversed, and rows and columns are exchanged. The first two
# are the window and its mirror image, the first four all that leave rows as rows.
SYMMETRIES = tuple(
    (rows, cols, diagonal)
    for diagonal in (False, True)
    for rows in (False, True)
    for cols in (False, True)
)

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


def mean_logits(predict: Predict, images: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Return logits averaged over symmetries of the square, (N, side, side).

    Imagery from above has no preferred direction, but no network is fully invariant: what it gets
    wrong in one orientation it often gets right in another.

    Parameters
    ----------
    predict : callable
        (N, bands, side, side) images to (N, side, side) logits.
    images : (N, bands, side, side) array
    count : {1, 2, 4, 8}
        Number of symmetries; prediction takes as many times as long.
    """
    total = predict(images)
    if count == 1:
        return total
    total = total.copy()
    for symmetry in SYMMETRIES[1:count]:
        total += _turned_back(predict(np.ascontiguousarray(_turned(images, *symmetry))), *symmetry)
    return np.asarray(total / np.float32(count))


def _turned(image: NDArray[Any], rows: bool, cols: bool, diagonal: bool) -> NDArray[Any]:
    image = image.swapaxes(-2, -1) if diagonal else image
    return _mirrored(image, rows, cols)


def _turned_back(image: NDArray[Any], rows: bool, cols: bool, diagonal: bool) -> NDArray[Any]:
    image = _mirrored(image, rows, cols)
    return image.swapaxes(-2, -1) if diagonal else image


def _mirrored(image: NDArray[Any], rows: bool, cols: bool) -> NDArray[Any]:
    return image[..., :: -1 if rows else 1, :: -1 if cols else 1]

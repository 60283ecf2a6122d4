"""Test-time augmentation: predictions averaged over mirror images and rotations of a window."""

from collections.abc import Callable, Iterable
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
Symmetry = tuple[bool, bool, bool]
InOrder = Callable[
    [Callable[[Symmetry], NDArray[np.float32]], Iterable[Symmetry]], Iterable[NDArray[np.float32]]
]


def mean_logits(
    predict: Predict, images: NDArray[Any], count: int, in_order: InOrder = map
) -> NDArray[np.float32]:
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
    in_order : callable
        Maps symmetries to logits as ``map`` does, perhaps several at a time.
    """
    if count == 1:
        return predict(images)

    def one(symmetry: Symmetry) -> NDArray[np.float32]:
        return _turned_back(predict(np.ascontiguousarray(_turned(images, *symmetry))), *symmetry)

    first, *others = in_order(one, SYMMETRIES[:count])
    total = first.copy()
    for logits in others:
        total += logits
    return np.asarray(total / np.float32(count))


def _turned(image: NDArray[Any], rows: bool, cols: bool, diagonal: bool) -> NDArray[Any]:
    image = image.swapaxes(-2, -1) if diagonal else image
    return _mirrored(image, rows, cols)


def _turned_back(image: NDArray[Any], rows: bool, cols: bool, diagonal: bool) -> NDArray[Any]:
    image = _mirrored(image, rows, cols)
    return image.swapaxes(-2, -1) if diagonal else image


def _mirrored(image: NDArray[Any], rows: bool, cols: bool) -> NDArray[Any]:
    return image[..., :: -1 if rows else 1, :: -1 if cols else 1]

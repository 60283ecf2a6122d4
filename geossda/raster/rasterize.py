"""Polygons as pixels."""

from collections.abc import Iterable
from threading import Lock
from typing import Any

import numpy as np
import rasterio.features
from numpy.typing import DTypeLike, NDArray
from rasterio import Affine

# Rasterio silences a warning of its own while it burns, by a list of filters that all threads
# share: two that do so at once leave each other's in place, and the warning is heard.
_one_at_a_time = Lock()


def burn(
    shapes: Iterable[tuple[Any, int]],
    shape: tuple[int, int],
    transform: Affine,
    fill: int = 0,
    dtype: DTypeLike = np.uint8,
) -> NDArray[Any]:
    """Burn polygons, from any thread: a pixel gets the value of the last one its centre is in.

    Parameters
    ----------
    shapes : iterable of (polygon, value)
    shape : (height, width)
    transform : Affine
        From pixels to the polygons' coordinates.
    fill : int
        Value of pixels in no polygon.
    dtype : numpy dtype
        Must hold `fill` and all values.

    Returns
    -------
    (height, width) array of `dtype`
    """
    burnt = np.full(shape, fill, dtype)
    pairs = list(shapes)
    if pairs:
        with _one_at_a_time:
            rasterio.features.rasterize(pairs, out=burnt, transform=transform)
    return burnt

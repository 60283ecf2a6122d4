"""Decorrelated colour: the l-alpha-beta space of Ruderman, Cronin and Chiao (1998), in log space.

J. Opt. Soc. Am. A 15(8). Its three channels vary almost independently in natural images, so they
can be changed one by one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# From red, green and blue to the responses of cones (long, medium, short).
_CONES = np.array([[0.3811, 0.5783, 0.0406], [0.1967, 0.7244, 0.0790], [0.0241, 0.1288, 0.8531]])
# Orthonormal: its inverse is its transpose.
_OPPONENTS = np.diag(1 / np.sqrt([3.0, 6.0, 2.0])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
# Least response, in 8-bit digital numbers: half of one, since 0 has no logarithm.
_LEAST = 0.5


def to_decorrelated(
    pixels: NDArray[Any], working_range: tuple[float, float]
) -> NDArray[np.float64]:
    """Convert red, green, blue to l, alpha, beta.

    Parameters
    ----------
    pixels : (3, ...) array
    working_range : (float, float)
        Digital numbers taken as 0 and 255.

    Returns
    -------
    (3, ...) float64 array
        Base 10 logarithms, rotated.
    """
    low, high = working_range
    numbers = (pixels.reshape(3, -1).astype(np.float64) - low) * (255 / (high - low))
    cones = np.log10(np.maximum(_CONES @ numbers, _LEAST))
    return np.asarray((_OPPONENTS @ cones).reshape(pixels.shape))


def from_decorrelated(
    channels: NDArray[np.float64], working_range: tuple[float, float]
) -> NDArray[np.float64]:
    """Convert l, alpha, beta to red, green, blue: the inverse of :func:`to_decorrelated`.

    Parameters
    ----------
    channels : (3, ...) array
    working_range : (float, float)
        Digital numbers that 0 and 255 become.

    Returns
    -------
    (3, ...) float64 array
    """
    low, high = working_range
    cones = 10 ** (_OPPONENTS.T @ channels.reshape(3, -1))
    numbers = np.linalg.inv(_CONES) @ cones
    return np.asarray((low + numbers * ((high - low) / 255)).reshape(channels.shape))

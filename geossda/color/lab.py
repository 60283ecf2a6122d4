"""CIE L*a*b* of images in working range, and its moments."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def to_lab(pixels: NDArray[Any], working_range: tuple[float, float]) -> NDArray[np.float32]:
    """Convert red, green, blue to L* a* b*.

    The numbers are scaled to 0..1 and taken as sRGB, as imagery for display is.

    Parameters
    ----------
    pixels : (3 or more, height, width) array
        Bands after the third are ignored.
    working_range : (float, float)
        Digital numbers taken as 0 and 1; others are clipped.

    Returns
    -------
    (height, width, 3) float32 array
    """
    low, high = working_range
    scaled = (pixels[:3].transpose(1, 2, 0).astype(np.float32) - low) / (high - low)
    return np.asarray(cv2.cvtColor(np.clip(scaled, 0, 1), cv2.COLOR_RGB2Lab))


def from_lab(lab: NDArray[np.float32], working_range: tuple[float, float]) -> NDArray[np.float32]:
    """Convert L* a* b* to red, green, blue; colors outside sRGB are clipped.

    Parameters
    ----------
    lab : (height, width, 3) float32 array
    working_range : (float, float)
        Digital numbers that 0 and 1 become.

    Returns
    -------
    (3, height, width) array
    """
    low, high = working_range
    width = lab.shape[1]
    # OpenCV rounds a row's last pixels, which fill no vector, in another way: pad to whole ones.
    whole = np.pad(lab, ((0, 0), (0, -width % 64), (0, 0)))
    rgb = np.asarray(cv2.cvtColor(whole, cv2.COLOR_Lab2RGB))[:, :width]
    return np.asarray(np.clip(rgb, 0, 1).transpose(2, 0, 1) * (high - low) + low)


def lab_sums(
    pixels: NDArray[Any], valid: NDArray[np.bool_], working_range: tuple[float, float]
) -> NDArray[np.float64]:
    """Compute count, sums and sums of squares of L*, a*, b* over the valid pixels.

    Parameters
    ----------
    pixels : (3 or more, height, width) array
    valid : (height, width) bool array
    working_range : (float, float)
        Digital numbers taken as 0 and 1.

    Returns
    -------
    (3, 3) array
        One row each.
    """
    lab = to_lab(pixels, working_range)[valid].astype(np.float64)
    return np.stack([np.full(3, float(len(lab))), lab.sum(axis=0), (lab**2).sum(axis=0)])


def lab_moments(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and standard deviations that follow from :func:`lab_sums`."""
    count, total, squares = sums
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))

"""CIE L*a*b* of images in working range, and its moments."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def to_lab(pixels: NDArray[Any], working_range: tuple[float, float]) -> NDArray[np.float32]:
    """Turn (3, height, width) red, green, blue into L* a* b*, (height, width, 3).

    The numbers are scaled to 0..1 and taken as sRGB, which imagery made for display is.
    """
    low, high = working_range
    scaled = (pixels[:3].transpose(1, 2, 0).astype(np.float32) - low) / (high - low)
    return np.asarray(cv2.cvtColor(np.clip(scaled, 0, 1), cv2.COLOR_RGB2Lab))


def from_lab(lab: NDArray[np.float32], working_range: tuple[float, float]) -> NDArray[np.float32]:
    """Invert :func:`to_lab`; colours outside sRGB are cut at its faces."""
    low, high = working_range
    width = lab.shape[1]
    # OpenCV rounds a row's last pixels, which fill no vector, in another way: pad to whole ones.
    whole = np.pad(lab, ((0, 0), (0, -width % 64), (0, 0)))
    rgb = np.asarray(cv2.cvtColor(whole, cv2.COLOR_Lab2RGB))[:, :width]
    return np.asarray(np.clip(rgb, 0, 1).transpose(2, 0, 1) * (high - low) + low)


def lab_sums(
    pixels: NDArray[Any], valid: NDArray[np.bool_], working_range: tuple[float, float]
) -> NDArray[np.float64]:
    """Give (count, sums, sums of squares) of L*, a*, b* over the valid pixels, (3, 3)."""
    lab = to_lab(pixels, working_range)[valid].astype(np.float64)
    return np.stack([np.full(3, float(len(lab))), lab.sum(axis=0), (lab**2).sum(axis=0)])


def lab_moments(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn the result of :func:`lab_sums` into means and standard deviations."""
    count, total, squares = sums
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))

"""Similarity of two images: of their colors, and of their edges."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Side in pixels of the squares whose structure is compared.
_SSIM_PX = 7
# The fewest pairs of pixels whose correlation means something.
MIN_PAIRS = 64
SHARES = (np.arange(1024) + 0.5) / 1024


def color_distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Compute the Wasserstein-1 distance of the values, mean over bands, in digital numbers.

    Parameters
    ----------
    first, second : (patches, bands, height, width) uint8 arrays
        Patches of one image are pooled.
    """
    distance = 0.0
    for band in range(first.shape[1]):
        counts = [
            np.bincount(image[:, band].ravel(), minlength=256) / image[:, band].size
            for image in (first, second)
        ]
        # In one dimension the distance is the area between the cumulative distributions.
        distance += np.abs(np.cumsum(counts[0] - counts[1])).sum()
    return float(distance / first.shape[1])


def gradient_correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Compute the correlation of the steps between neighbouring pixels, mean over bands.

    1 where the one image is the other with another brightness and contrast; edges that were
    added, lost or turned round lower it.

    Parameters
    ----------
    first, second : (patches, bands, height, width) uint8 arrays
    """
    correlations = []
    for band in range(first.shape[1]):
        steps = []
        for image in (first, second):
            values = image[:, band].astype(np.float32)
            across, down = np.diff(values, axis=2).ravel(), np.diff(values, axis=1).ravel()
            steps.append(np.concatenate([across, down]))
        if min(np.ptp(step) for step in steps) > 0:
            correlations.append(np.corrcoef(steps[0], steps[1])[0, 1])
    return float(np.mean(correlations)) if correlations else float("nan")


def gradient_correlations(
    first: NDArray[Any], second: NDArray[Any], valid: NDArray[np.bool_], cell_px: int
) -> NDArray[np.float32]:
    """Measure :func:`gradient_correlation` cell by cell, over the steps within each.

    Parameters
    ----------
    first, second : (bands, height, width) arrays
        Of any type and range.
    valid : (height, width) bool array
        Steps count where both their pixels are valid.
    cell_px : int
        Side of a cell; those at the right and bottom may be smaller.

    Returns
    -------
    (cells down, cells across) float32 array
        NaN where fewer than 64 steps are valid, or one of the images is flat.
    """
    rows, cols = (-(-side // cell_px) for side in valid.shape)
    correlations = np.full((len(first), rows, cols), np.nan)
    for band, (one, other) in enumerate(zip(first, second, strict=True)):
        sums = np.zeros((6, rows, cols))
        for axis in (0, 1):
            a, b = (np.diff(image.astype(np.float32), axis=axis) for image in (one, other))
            if axis:
                counted = valid[:, 1:] & valid[:, :-1]
                # Not the step from one cell to the next.
                counted[:, cell_px - 1 :: cell_px] = False
            else:
                counted = valid[1:] & valid[:-1]
                counted[cell_px - 1 :: cell_px] = False
            a, b = np.where(counted, a, 0), np.where(counted, b, 0)
            for index, term in enumerate((counted, a, b, a * a, b * b, a * b)):
                sums[index] += _cell_sums(term, cell_px, (rows, cols))
        n, a, b, aa, bb, ab = sums
        known = n >= MIN_PAIRS
        n = np.maximum(n, 1)
        spread = (aa - a * a / n) * (bb - b * b / n)
        known &= spread > 1e-9 * np.maximum(aa * bb, 1e-30)
        shared = ab - a * b / n
        np.divide(shared, np.sqrt(np.maximum(spread, 0)), out=correlations[band], where=known)
    bands = np.isfinite(correlations).sum(axis=0)
    total = np.nansum(correlations, axis=0)
    mean = np.full((rows, cols), np.nan)
    np.divide(total, bands, out=mean, where=bands > 0)
    return mean.astype(np.float32)


def _cell_sums(values: NDArray[Any], cell_px: int, cells: tuple[int, int]) -> NDArray[np.float64]:
    rows, cols = cells
    height, width = values.shape
    padded = np.zeros((rows * cell_px, cols * cell_px), values.dtype)
    padded[:height, :width] = values
    # Down the rows first, which is along the memory.
    down = padded.reshape(rows, cell_px, -1).sum(axis=1, dtype=np.float64)
    return np.asarray(down.reshape(rows, cols, cell_px).sum(axis=2))


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Compute the peak signal-to-noise ratio, in decibels of 255; at most 99 for equal images.

    Parameters
    ----------
    first, second : uint8 arrays of one shape
    """
    error = np.mean((first.astype(np.float32) - second.astype(np.float32)) ** 2)
    return float(min(99.0, 10 * np.log10(255**2 / max(float(error), 1e-12))))


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Compute the structural similarity (Wang et al. 2004), mean over bands and patches.

    Parameters
    ----------
    first, second : (patches, bands, height, width) uint8 arrays
    """
    pairs = zip(
        first.reshape(-1, *first.shape[2:]), second.reshape(-1, *second.shape[2:]), strict=True
    )
    return float(np.mean([_ssim_of_band(a, b) for a, b in pairs]))


def _ssim_of_band(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the mean structural similarity of two (height, width) arrays."""
    edge = _SSIM_PX // 2
    inner = (slice(edge, -edge), slice(edge, -edge))
    a, b = first.astype(np.float64), second.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.boxFilter(values, -1, (_SSIM_PX, _SSIM_PX)))[inner]

    mean_a, mean_b = mean(a), mean(b)
    # Of samples, not of populations.
    unbiased = _SSIM_PX**2 / (_SSIM_PX**2 - 1)
    variance_a, variance_b, covariance = (
        unbiased * (mean(product) - means)
        for product, means in (
            (a * a, mean_a * mean_a),
            (b * b, mean_b * mean_b),
            (a * b, mean_a * mean_b),
        )
    )
    steady_mean, steady_contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + steady_mean) * (2 * covariance + steady_contrast)
    likeness /= mean_a**2 + mean_b**2 + steady_mean
    likeness /= variance_a + variance_b + steady_contrast
    return float(likeness.mean())

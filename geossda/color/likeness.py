"""How alike two images are: in colour, and in what is drawn."""

import numpy as np
from numpy.typing import NDArray

SHARES = (np.arange(1024) + 0.5) / 1024


def color_distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Wasserstein-1 distance of the values, mean over bands, in digital numbers.

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
    """Pearson correlation of the steps between neighbouring pixels, mean over bands.

    1 where the one image is the other with another brightness and contrast; edges that were
    added, lost or turned round lower it.

    Parameters
    ----------
    first, second : (patches, bands, height, width) uint8 arrays
    """
    found = []
    for band in range(first.shape[1]):
        steps = []
        for image in (first, second):
            values = image[:, band].astype(np.float32)
            across, down = np.diff(values, axis=2).ravel(), np.diff(values, axis=1).ravel()
            steps.append(np.concatenate([across, down]))
        if min(np.ptp(step) for step in steps) > 0:
            found.append(np.corrcoef(steps[0], steps[1])[0, 1])
    return float(np.mean(found)) if found else float("nan")


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, in decibels of 255; at most 99 for equal images."""
    error = np.mean((first.astype(np.float32) - second.astype(np.float32)) ** 2)
    return float(min(99.0, 10 * np.log10(255**2 / max(float(error), 1e-12))))


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004), mean over bands and patches."""
    from skimage.metrics import structural_similarity

    return float(
        np.mean(
            [
                structural_similarity(a, b, channel_axis=0, data_range=255)
                for a, b in zip(first, second, strict=True)
            ]
        )
    )

"""A smooth local color transform from an image to its generated counterpart.

The guided filter (He, Sun and Tang 2013) fits, around every pixel, the affine map of the image's
bands that comes closest to a generator's output; fitted at reduced resolution and applied at full
resolution, as in the fast guided filter (He and Sun 2015). The output of such a map has the image's
own edges: no object can be added.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.raster.scaling import as_dtype

# Rows computed together, few enough to stay in the cache.
BLOCK_ROWS = 128


def reduce(
    image: NDArray[Any], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Average valid pixels over cells of `factor` pixels.

    Parameters
    ----------
    image : (bands, height, width) array
        Sides multiples of `factor`.
    valid : (height, width) bool array
    factor : int
        A power of two.

    Returns
    -------
    image : (bands, height / factor, width / factor) float32 array
        0 where a cell has no valid pixel.
    valid : bool array
        Whether a cell has any valid pixel.
    """
    if valid.all():
        means = [_means(band, factor) for band in image]
        return np.stack(means), np.ones(means[0].shape, np.bool_)
    share = _means(valid, factor)
    known = share > 0
    share[~known] = 1
    return np.stack([_means(np.where(valid, band, 0), factor) / share for band in image]), known


def _means(band: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Average cells; by halves, for which OpenCV has a fast way."""
    band = band.astype(np.float32)
    while factor > 1:
        size = (band.shape[1] // 2, band.shape[0] // 2)
        band, factor = cv2.resize(band, size, interpolation=cv2.INTER_AREA), factor // 2
    return band


def fit_affine(
    guide: NDArray[np.float32],
    target: NDArray[np.float32],
    valid: NDArray[np.bool_],
    radius: int,
    ridge: float,
) -> NDArray[np.float32]:
    """Fit, around every pixel, target = A guide + c by least squares.

    Parameters
    ----------
    guide : (g, height, width) float32 array
    target : (t, height, width) float32 array
    valid : (height, width) bool array
        Pixels that are not valid have no weight.
    radius : int
        Half the side of the square neighbourhood, in pixels; the coefficients are averaged over
        it once more.
    ridge : float
        Added to the guide's variances: larger is smoother. Slopes shrink towards those of the
        whole neighbourhood being one colour, so keep it small against the image's contrast.

    Returns
    -------
    (t, g + 1, height, width) float32 array
        A and, last, c.
    """
    size = (2 * radius + 1, 2 * radius + 1)
    weight = valid.astype(np.float32)
    count = cv2.blur(weight, size, borderType=cv2.BORDER_CONSTANT)
    inverse = 1 / np.maximum(count, 1e-6)

    def mean(band: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.blur(band * weight, size, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(blurred * inverse, np.float32)

    g, t = len(guide), len(target)
    guide_mean = np.stack([mean(band) for band in guide])
    target_mean = np.stack([mean(band) for band in target])
    spread = np.empty((g, g, *valid.shape), np.float64)
    for i in range(g):
        for j in range(i, g):
            spread[i, j] = mean(guide[i] * guide[j]) - guide_mean[i] * guide_mean[j]
            spread[j, i] = spread[i, j]
    # Also against the image's own scale, so that units do not matter.
    ridge = ridge + 1e-6 * float(sum(spread[i, i] for i in range(g)).mean())
    for i in range(g):
        spread[i, i] += ridge
    shared = np.empty((g, t, *valid.shape), np.float64)
    for i in range(g):
        for j in range(t):
            shared[i, j] = mean(guide[i] * target[j]) - guide_mean[i] * target_mean[j]
    slopes = _solve(spread, shared).astype(np.float32).swapaxes(0, 1)
    offset = target_mean - np.einsum("tghw,ghw->thw", slopes, guide_mean)
    fitted = np.concatenate([slopes, offset[:, None]], 1)
    return np.stack([np.stack([mean(c) for c in row]) for row in fitted])


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve one small symmetric system per pixel, plane by plane (LDL without pivots).

    Millions of systems of three unknowns: LAPACK, called for each, takes many times as long.

    Parameters
    ----------
    matrix : (g, g, height, width) array
        Positive definite; the lower half is overwritten.
    right : (g, t, height, width) array
        Overwritten by the result.
    """
    g = len(matrix)
    for k in range(g):
        inverse = 1 / matrix[k, k]
        for i in range(k + 1, g):
            factor = matrix[i, k] * inverse
            for j in range(k + 1, i + 1):
                matrix[i, j] -= factor * matrix[j, k]
            right[i] -= factor * right[k]
    for k in reversed(range(g)):
        for i in range(k + 1, g):
            right[k] -= matrix[i, k] * right[i]
        right[k] /= matrix[k, k]
    return right


def apply_affine(
    image: NDArray[Any],
    fitted: NDArray[np.float32],
    factor: int,
    inner: tuple[slice, slice] | None = None,
) -> NDArray[Any]:
    """Apply coefficients fitted at reduced resolution, interpolated linearly between cells.

    A few rows at a time, which stay in the cache from the first product to rounding.

    Parameters
    ----------
    image : (g, height, width) array
    fitted : (t, g + 1, height / factor, width / factor) array
    factor : int
    inner : pair of slices, optional
        Rows and columns to return; all by default.

    Returns
    -------
    (t, rows, columns) array of the image's type
        Rounded and cut to what it holds.
    """
    height, width = image.shape[1:]
    rows, cols = inner or (slice(0, height), slice(0, width))
    # Cells whose centers lie around the pixels' centers.
    left, right = _cells(cols, factor, width)
    image = image[:, :, cols]
    cols = slice(cols.start - left * factor, cols.stop - left * factor)
    result = np.empty((len(fitted), rows.stop - rows.start, image.shape[2]), image.dtype)
    for start in range(rows.start, rows.stop, BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, rows.stop))
        top, bottom = _cells(block, factor, height)
        size = ((right - left) * factor, (bottom - top) * factor)
        lines = slice(block.start - top * factor, block.stop - top * factor)
        bands = [np.ascontiguousarray(band, np.float32) for band in image[:, block]]
        for row, band_result in zip(fitted[:, :, top:bottom, left:right], result, strict=True):
            full = (cv2.resize(c, size, interpolation=cv2.INTER_LINEAR)[lines, cols] for c in row)
            *slopes, total = full
            for band, slope in zip(bands, slopes, strict=True):
                cv2.accumulateProduct(band, slope, total)
            band_result[block.start - rows.start : block.stop - rows.start] = as_dtype(
                total, image.dtype
            )
    return result


def _cells(pixels: slice, factor: int, length: int) -> tuple[int, int]:
    """Return the cells whose centers lie around a range of pixels, and one more at its end."""
    return max(0, pixels.start // factor - 1), min(length, pixels.stop + 2 * factor) // factor

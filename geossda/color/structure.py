"""A smooth local colour transform from an image to its generated look.

The guided filter (He, Sun and Tang 2013) fits, around every pixel, the affine map of the image's
bands that comes closest to what a generator made of it; fitted at reduced resolution and applied
at full resolution, as in the fast guided filter (He and Sun 2015). What such a map makes is made of
the image's own edges: nothing can be drawn that was not there.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def reduce(
    image: NDArray[np.float32], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Average valid pixels over cells of `factor` pixels.

    Parameters
    ----------
    image : (bands, height, width) float32 array
        Sides multiples of `factor`.
    valid : (height, width) bool array
    factor : int

    Returns
    -------
    image : (bands, height / factor, width / factor) float32 array
    valid : bool array
        Whether a cell has any valid pixel.
    """
    height, width = valid.shape
    cells = (height // factor, factor, width // factor, factor)
    weight = valid.astype(np.float32)
    count = weight.reshape(cells).sum((1, 3))
    total = (image * weight).reshape(len(image), *cells).sum((2, 4))
    return np.asarray(total / np.maximum(count, 1), np.float32), count > 0


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
        What is not valid has no weight.
    radius : int
        Of the square neighbourhood, in pixels; the coefficients are averaged over it once more.
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
    """Solve one small symmetric system a pixel, plane by plane (LDL without pivots).

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
    image: NDArray[np.float32], fitted: NDArray[np.float32], factor: int
) -> NDArray[np.float32]:
    """Apply coefficients fitted at reduced resolution, interpolated linearly between cells.

    Parameters
    ----------
    image : (g, height, width) float32 array
    fitted : (t, g + 1, height / factor, width / factor) array
    factor : int

    Returns
    -------
    (t, height, width) float32 array
    """
    size = (image.shape[2], image.shape[1])
    made: list[Any] = []
    for row in fitted:
        full = [cv2.resize(c, size, interpolation=cv2.INTER_LINEAR) for c in row]
        result = full[-1]
        for band, slope in zip(image, full[:-1], strict=True):
            cv2.accumulateProduct(band, slope, result)
        made.append(result)
    return np.stack(made)

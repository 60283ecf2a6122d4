"""What every cell of a mosaic is made of: its tones, its texture, its shadows and highlights.

Light changes tones; it leaves texture, which is measured relative to local contrast, as it is. Land
cover changes both. All are whitened by how they differ between near cells, so that directions in
which tones change from place to place anyway count for little.
"""

import itertools
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

# Quantiles of the whole mosaic whose values pixels of a cell are counted below.
_QUANTILES = np.array([0.02, 0.06, 0.15, 0.35, 0.65, 0.9, 0.97])
# Most pixels that these are computed from.
_QUANTILE_SAMPLE_PX = 2**18
# Share of a cell's pixels that are its shadows, or its highlights.
_EXTREME_SHARE = 0.1
# Scales of texture, and the one that local contrast is measured at, in pixels.
_SCALES_PX, _CONTRAST_PX = (1, 2, 4, 8), 8
# Distance in cells between which ordinary differences are measured, and their regularization.
_LAG_CELLS, _RIDGE = 3, 2e-2
# Least valid share of a cell.
_MIN_VALID_SHARE = 0.5
# Added to variances of 8-bit values: half a digital number of noise.
_NOISE = 0.5

Field = NDArray[np.float32]


class ToneField(NamedTuple):
    """Whitened measures of cells, of length about 1 and at most somewhat more.

    Attributes
    ----------
    tones, texture, shadows, highlights : (features, rows, cols) float32 array
        0 where a cell is not known.
    known : (rows, cols) bool array
        Cells with enough valid pixels.
    """

    tones: Field
    texture: Field
    shadows: Field
    highlights: Field
    known: NDArray[np.bool_]


def as_8bit(pixels: NDArray[Any], limits: tuple[float, float]) -> Field:
    """Return pixels of any type scaled as those of 8 bits are.

    Parameters
    ----------
    pixels : (bands, ...) array
    limits : (float, float)
        Values that are 0 and 255.

    Returns
    -------
    (bands, ...) float32 array
        0..255.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32)
    low, high = limits
    return np.clip((pixels - low) * (255 / (high - low)), 0, 255).astype(np.float32)


def measure_field(pixels: NDArray[np.float32], valid: NDArray[np.bool_], side: int) -> ToneField:
    """Measure the cells of a mosaic.

    Parameters
    ----------
    pixels : (bands, height, width) float32 array
        As of 8 bits: 0..255.
    valid : (height, width) bool array
    side : int
        Side of a cell in pixels; what is left over at the lower and right edges is ignored.

    Returns
    -------
    ToneField
    """
    rows, cols = (length // side for length in valid.shape)
    pixels, valid = pixels[:, : rows * side, : cols * side], valid[: rows * side, : cols * side]
    count = _sums(valid, side)
    known = count > _MIN_VALID_SHARE * side**2
    if not known.any():
        none = np.zeros((1, rows, cols), np.float32)
        return ToneField(none, none, none, none, known)
    mean = _sums(np.where(valid, pixels, 0), side) / np.maximum(count, 1)
    filled = np.where(valid, pixels, mean.repeat(side, 1).repeat(side, 2))
    shadows, highlights = _extremes(filled, side)
    tones = _tones(pixels, valid, side) / np.maximum(count, 1)
    return ToneField(
        _whitened(tones, known),
        _whitened(_texture(filled, valid, side), known),
        _whitened(shadows, known),
        _whitened(highlights, known),
        known,
    )


def _sums(values: NDArray[Any], side: int) -> Field:
    """Sum the pixels of every cell."""
    *outer, height, width = values.shape
    # Columns of a cell first: summing both axes at once takes several times as long. Sides are
    # below 256, so that bytes hold the columns of a mask.
    kind = np.uint8 if values.dtype == bool else np.float32
    columns = values.reshape(*outer, height // side, side, width).sum(-2, dtype=kind)
    return np.asarray(
        columns.reshape(*outer, height // side, width // side, side).sum(-1, dtype=np.float32)
    )


def _tones(pixels: NDArray[np.float32], valid: NDArray[np.bool_], side: int) -> Field:
    """Count the pixels not above quantiles of the bands and of two differences between them."""
    red, green, blue = pixels[:3]
    counts = []
    for signal in (*pixels, red - blue, green - (red + blue) / 2):
        known = signal[valid]
        sample = known[:: 1 + known.size // _QUANTILE_SAMPLE_PX]
        ends = np.unique(np.quantile(sample, _QUANTILES))
        counts += [_sums((signal <= end) & valid, side) for end in ends]
    return np.stack(counts)


def _texture(pixels: NDArray[np.float32], valid: NDArray[np.bool_], side: int) -> Field:
    """Measure what neither gain nor offset of a band changes."""
    count = np.maximum(_sums(valid, side), 1)
    complete = bool(valid.all())

    def mean(values: NDArray[Any]) -> Field:
        known = values if complete else np.where(valid, values, 0)
        return np.asarray(_sums(known, side) / count)

    def blurred(values: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), scale))

    gray = np.asarray(pixels.mean(0))
    smoother = [gray, *(blurred(gray, scale) for scale in _SCALES_PX)]
    bands = [fine - coarse for fine, coarse in itertools.pairwise(smoother)]
    energy = [np.log(mean(band**2) + _NOISE) for band in bands]
    features = [fine - coarse for fine, coarse in itertools.pairwise(energy)]
    local = [band - blurred(band, _CONTRAST_PX) for band in pixels]
    power = [mean(band**2) + _NOISE for band in local]
    for one in range(len(local)):
        for other in range(one):
            product = mean(local[one] * local[other]) / np.sqrt(power[one] * power[other])
            features.append(np.arctanh(np.clip(product, -0.99, 0.99)))
    relief = np.asarray(np.mean(local, axis=0, dtype=np.float32))
    # Products, since NumPy's powers above the second take ten times as long.
    square = relief * relief
    variance = mean(square) + _NOISE
    features.append(mean(square * relief) / variance**1.5)
    features.append(np.log(mean(square * square) / variance**2 + 0.1))
    across = cv2.Sobel(smoother[1], cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smoother[1], cv2.CV_32F, 0, 1)
    xx, yy, xy = mean(across**2), mean(down**2), mean(across * down)
    features.append(np.hypot(xx - yy, 2 * xy) / (xx + yy + 1))
    return np.stack(features)


def _extremes(pixels: NDArray[np.float32], side: int) -> tuple[Field, Field]:
    """Return the mean colours of the darkest and of the brightest pixels of every cell."""
    bands, height, width = pixels.shape
    rows, cols, count = height // side, width // side, int(_EXTREME_SHARE * side**2)
    ends = np.zeros((2, bands, rows, cols), np.float32)
    for row in range(rows):  # a row at a time takes little memory
        strip = pixels[:, row * side : (row + 1) * side].reshape(bands, side, cols, side)
        cells = strip.transpose(0, 2, 1, 3).reshape(bands, cols, side**2)
        order = np.argsort(cells.sum(0), axis=1, kind="stable")[None]
        for end, chosen in enumerate((order[..., :count], order[..., -count:])):
            ends[end, :, row] = np.take_along_axis(cells, chosen, 2).mean(2)
    return ends[0], ends[1]


def _whitened(field: NDArray[Any], known: NDArray[np.bool_]) -> Field:
    """Return a field whitened by its differences between near cells, of a length of about 1."""
    box = np.ones((3, 3), np.float32)

    def summed(values: NDArray[Any]) -> NDArray[np.float32]:
        plain = np.where(known, values, 0).astype(np.float32)
        return np.asarray(cv2.filter2D(plain, -1, box, borderType=cv2.BORDER_CONSTANT))

    count = summed(known)
    smooth = np.stack([summed(feature) for feature in field]) / np.maximum(count, 1)
    enough = count >= 7
    steps = []
    lag = _LAG_CELLS
    for near, far in (
        (np.s_[:, :, :-lag], np.s_[:, :, lag:]),
        (np.s_[:, :-lag], np.s_[:, lag:]),
    ):
        both = enough[near[1:]] & enough[far[1:]]
        steps.append((smooth[far] - smooth[near])[:, both].T)
    matrix = _whitening(np.concatenate(steps).astype(np.float64))
    white = np.tensordot(matrix, field, 1)
    white -= np.median(white[:, known], axis=1)[:, None, None]
    length = np.sqrt((white**2).mean(0))
    usual = max(float(np.median(length[known])), 1e-9)
    cut = white / (usual * np.sqrt(1 + (length / usual) ** 2))
    return np.where(known, cut, 0).astype(np.float32)


def _whitening(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that whitens steps, (steps, features); outliers count little (Tyler)."""
    features = steps.shape[1]
    weights, matrix = np.ones(len(steps)), np.eye(features)
    for _ in range(5):
        covariance = (steps * weights[:, None]).T @ steps / max(weights.sum(), 1e-9)
        covariance += (_RIDGE * np.trace(covariance) / features + 1e-9) * np.eye(features)
        matrix = np.linalg.inv(np.linalg.cholesky(covariance))
        weights = 1 / (1 + ((steps @ matrix.T) ** 2).mean(1))
    return matrix

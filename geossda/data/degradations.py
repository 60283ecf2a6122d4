"""Degradation of patches: what sensors, processing chains and file formats do to imagery."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.float32]

# Factor by which pixels are coarser: 0.36 to 1 m for a model of 0.3 m.
COARSER = (1.2, 3.4)


def degrade(image: Image, rng: Generator) -> Image:
    """Degrade a patch at random, in the order in which imagery is degraded.

    The atmosphere first, then optics and sampling, then the processing of a vendor, then the
    compression of the file.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator

    Returns
    -------
    (bands, side, side) float32 array, 0..1
    """
    steps = (
        (haze, 0.12),
        (coarsen, 0.35),
        (blur, 0.15),
        (sharpen, 0.2),
        (noise, 0.2),
        (tone, 0.3),
        (cast, 0.25),
        (mix_bands, 0.15),
        (gray, 0.08),
        (flatten, 0.15),
        (restretch, 0.12),
        (clip_highlights, 0.15),
        (quantize, 0.05),
        (jpeg, 0.3),
    )
    for step, chance in steps:
        if rng.random() < chance:
            image = np.clip(step(image, rng), 0, 1).astype(np.float32)
    return image


def haze(image: Image, rng: Generator) -> Image:
    """Add the light of haze, thicker towards one side.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the share of haze (0 to 0.7), its slope and its light.
    """
    side = image.shape[-1]
    rows, cols = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.4) * (np.cos(angle) * rows + np.sin(angle) * cols)
    share = np.clip(rng.uniform(0.1, 0.5) + slope, 0, 0.7)
    light = rng.uniform(0.6, 1) + rng.normal(0, 0.05, (len(image), 1, 1))
    return np.asarray(image * (1 - share) + light * share, np.float32)


def coarsen(image: Image, rng: Generator) -> Image:
    """Sample coarser pixels and bring them back to the patch's.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the factor, the interpolation and whether it is sharpened or compressed before.
    """
    side = image.shape[-1]
    factor = np.exp(rng.uniform(*np.log(COARSER)))
    small_px = max(8, round(side / factor))
    how = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST], p=[0.5, 0.4, 0.1]))
    small = [cv2.resize(band, (small_px, small_px), interpolation=cv2.INTER_AREA) for band in image]
    if rng.random() < 0.4:
        small = list(sharpen(np.stack(small), rng))
    if rng.random() < 0.2:
        small = list(jpeg(np.clip(np.stack(small), 0, 1), rng))
    return np.stack([cv2.resize(band, (side, side), interpolation=how) for band in small])


def blur(image: Image, rng: Generator) -> Image:
    """Blur by a Gaussian that is wider along one axis than along the other.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the deviations (0.24 to 1.6 px) and the axis.
    """
    sigma = rng.uniform(0.4, 1.6)
    ratio = rng.uniform(0.6, 1)
    across, down = (sigma, sigma * ratio) if rng.random() < 0.5 else (sigma * ratio, sigma)
    return np.stack([cv2.GaussianBlur(band, (0, 0), across, sigmaY=down) for band in image])


def sharpen(image: Image, rng: Generator) -> Image:
    """Sharpen by an unsharp mask, halos included.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the deviation (0.7 to 1.8 px) and the amount (0.3 to 2).
    """
    sigma, amount = rng.uniform(0.7, 1.8), rng.uniform(0.3, 2)
    smooth = np.stack([cv2.GaussianBlur(band, (0, 0), sigma) for band in image])
    return np.asarray(image + np.float32(amount) * (image - smooth), np.float32)


def noise(image: Image, rng: Generator) -> Image:
    """Add noise, partly common to all bands.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the level (0.005 to 0.035) and the noise.
    """
    level = rng.uniform(0.005, 0.035)
    own = rng.standard_normal(image.shape, np.float32)
    common = rng.standard_normal(image.shape[1:], np.float32)
    return np.asarray(image + level * (0.7 * own + 0.7 * common), np.float32)


def tone(image: Image, rng: Generator) -> Image:
    """Apply a gamma and an S-shaped curve, or its inverse.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the gamma and the strength of the curve.
    """
    image = image ** np.float32(np.exp(rng.normal(0, 0.35)))
    strength = np.float32(rng.uniform(-0.5, 0.7))
    return np.asarray(image + strength * image * (1 - image) * (2 * image - 1), np.float32)


def cast(image: Image, rng: Generator) -> Image:
    """Scale each band by its own gain, and add its own offset.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the gains and offsets.
    """
    gain = np.exp(rng.normal(0, 0.18, (len(image), 1, 1)))
    offset = rng.normal(0, 0.07, (len(image), 1, 1))
    return np.asarray(image * gain + offset, np.float32)


def mix_bands(image: Image, rng: Generator) -> Image:
    """Mix the bands a little, as sensors of other spectral responses do.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the mixing matrix, whose rows have sum 1.
    """
    bands = len(image)
    mixture = np.eye(bands) + rng.normal(0, 0.15, (bands, bands))
    mixture /= np.abs(mixture.sum(axis=1, keepdims=True)).clip(0.5)
    return np.tensordot(mixture.astype(np.float32), image, 1).astype(np.float32)


def gray(image: Image, rng: Generator) -> Image:
    """Show all bands as one panchromatic band.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the bands' weights, with sum 1.
    """
    weights = rng.dirichlet(np.full(len(image), 3.0)).astype(np.float32)
    return np.broadcast_to(np.tensordot(weights, image, 1), image.shape).astype(np.float32)


def flatten(image: Image, rng: Generator) -> Image:
    """Compress the histogram towards a level.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the share of the contrast that is kept (0.3 to 0.9) and the level.
    """
    share = np.float32(rng.uniform(0.3, 0.9))
    level = np.float32(rng.uniform(0.1, 0.8))
    return np.asarray(level + share * (image - image.mean()), np.float32)


def restretch(image: Image, rng: Generator) -> Image:
    """Stretch the patch to its own percentiles, as if it were a file of its own.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the percentile (0.5 to 4) and the share of the stretch (0.3 to 1).
    """
    share = np.float32(rng.uniform(0.3, 1))
    cut = rng.uniform(0.5, 4)
    low, high = np.percentile(image.reshape(len(image), -1), (cut, 100 - cut), axis=1)
    width = np.maximum(high - low, 0.15)
    stretched = (image - low[:, None, None]) / width[:, None, None]
    return np.asarray(image + share * (stretched - image), np.float32)


def clip_highlights(image: Image, rng: Generator) -> Image:
    """Stretch the patch until its highlights, or its shadows, are clipped.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws which of the two, and by how much.
    """
    if rng.random() < 0.7:
        return np.asarray(image * np.float32(rng.uniform(1.15, 1.8)), np.float32)
    dark = np.float32(rng.uniform(0.05, 0.2))
    return np.asarray((image - dark) / (1 - dark), np.float32)


def quantize(image: Image, rng: Generator) -> Image:
    """Round to few levels.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the number of levels (16 to 63).
    """
    levels = np.float32(rng.integers(16, 64))
    return np.asarray(np.rint(image * levels) / levels, np.float32)


def jpeg(image: Image, rng: Generator) -> Image:
    """Compress as JPEG: three bands together, others band by band.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator
        Draws the quality (25 to 91).
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 92))]
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if len(image) == 3:
        # OpenCV takes blue, green, red.
        blue_first = np.ascontiguousarray(levels[::-1].transpose(1, 2, 0))
        decoded = _recompressed(blue_first, quality).transpose(2, 0, 1)[::-1]
    else:
        decoded = np.stack([_recompressed(band, quality) for band in levels])
    return np.asarray(decoded / np.float32(255), np.float32)


def _recompressed(levels: NDArray[np.uint8], quality: list[int]) -> NDArray[np.uint8]:
    _, coded = cv2.imencode(".jpg", levels, quality)
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)

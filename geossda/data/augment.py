"""Augmentation of patches in geometry and colour."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def random_symmetry(patch: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Return a patch under a random one of the eight symmetries of the square.

    Parameters
    ----------
    patch : (bands, side, side) array
    rng : Generator
    """
    patch = np.rot90(patch, int(rng.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(patch[:, :, ::-1] if rng.random() < 0.5 else patch)


def jitter_color(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an image with random exposure, contrast, gamma, cast, saturation, blur and noise.

    Parameters
    ----------
    image : (bands, side, side) float32 array, 0..1
    rng : Generator

    Returns
    -------
    (bands, side, side) float32 array, 0..1
    """
    bands = len(image)
    image = image ** np.float32(np.exp(rng.normal(0, 0.2)))
    gain = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.08, bands)).astype(np.float32)
    offset = (rng.normal(0, 0.06) + rng.normal(0, 0.03, bands)).astype(np.float32)
    contrast = np.float32(np.exp(rng.normal(0, 0.15)))
    mean = image.mean(axis=(1, 2), keepdims=True)
    image = (image - mean) * contrast + mean * gain[:, None, None] + offset[:, None, None]
    if bands >= 3:
        saturation = np.float32(rng.uniform(0, 1.4) if rng.random() < 0.5 else 1)
        gray = image.mean(axis=0, keepdims=True)
        image = gray + (image - gray) * saturation
    if rng.random() < 0.2:
        sigma = rng.uniform(0.4, 1.2)
        image = np.stack([cv2.GaussianBlur(band, (0, 0), sigma) for band in image])
    if rng.random() < 0.2:
        image = image + rng.normal(0, rng.uniform(0, 0.04), image.shape).astype(np.float32)
    return np.asarray(np.clip(image, 0, 1), np.float32)

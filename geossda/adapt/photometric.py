"""Photometric adaptation: random colours, and histograms of random target patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.data.patches import draw_probabilities, random_patch
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import BandError, EmptyRasterError, counted

Bytes = NDArray[np.uint8]
# Largest shifts of Albumentations (Buslaev et al. 2020), which the paper's HSV and Gamma are from:
# hue in steps of 2 degrees, saturation and value in 8 bit; and the range of exponents.
HUE, SATURATION, VALUE = 20, 30, 20
GAMMA = (0.8, 1.2)
# Target patches without a valid pixel, in a row, before the matching gives up.
MAX_TRIES = 100


def hsv(image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator) -> Bytes:
    """Return an image with random shifts of hue, saturation and value.

    Parameters
    ----------
    image : (3, side, side) uint8 array
    valid : (side, side) bool array
        Not used, nor is `raster`.
    raster : int
    rng : Generator

    Raises
    ------
    BandError
        The image does not have three bands.
    """
    if len(image) != 3:
        raise BandError(
            f"hsv shifts red, green and blue, the images have {counted(len(image), 'band')}"
        )
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    shifted = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV).astype(np.int16)
    shifted += rng.integers(
        (-HUE, -SATURATION, -VALUE), (HUE, SATURATION, VALUE), endpoint=True
    ).astype(np.int16)
    shifted[..., 0] %= 180
    shifted = np.clip(shifted, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB).transpose(2, 0, 1))


def gamma(image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator) -> Bytes:
    """Return an image raised to a random power; parameters as for :func:`hsv`, any bands.

    Parameters
    ----------
    image : (bands, side, side) uint8 array
    valid : (side, side) bool array
        Not used, nor is `raster`.
    raster : int
    rng : Generator
        Draws the exponent, within `GAMMA`.
    """
    table = np.rint(255 * (np.arange(256) / 255) ** rng.uniform(*GAMMA)).astype(np.uint8)
    return np.asarray(table[image])


@dataclass
class HistogramMatching:
    """RHM: match histograms by band to those of a random target patch (Yaras et al. 2021).

    Attributes
    ----------
    targets : sequence of WorkingRaster
    side : int
        Side of the reference patches in pixels.
    least : float
        Least fraction of the way to the reference's histograms, in 0..1; each patch goes a random
        fraction between that and the whole.
    """

    targets: Sequence[WorkingRaster]
    side: int
    least: float = 1.0

    def __post_init__(self) -> None:
        """Compute the rasters' probabilities to be drawn from."""
        self._probabilities = draw_probabilities(self.targets)

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Return an image with the histograms of a random target patch."""
        for _ in range(MAX_TRIES):
            chosen = self.targets[int(rng.choice(len(self.targets), p=self._probabilities))]
            reference = random_patch(chosen, self.side, rng)
            known = reference[-1] > 0
            if known.any():
                matched = np.stack(
                    [
                        _match(band, valid, target[known])
                        for band, target in zip(image, reference[:-2], strict=True)
                    ]
                )
                if self.least == 1:
                    return matched
                fraction = np.float32(rng.uniform(self.least, 1))
                return np.rint(image + fraction * (matched - image.astype(np.float32))).astype(
                    np.uint8
                )
        raise EmptyRasterError(f"{MAX_TRIES} target patches in a row were nodata: check --target")


def _match(band: Bytes, valid: NDArray[np.bool_], target: NDArray[Any]) -> Bytes:
    """Return a band with the histogram of the target's pixels."""
    present = np.flatnonzero(np.bincount(target, minlength=256))
    table = np.interp(_ranks(band[valid]), _ranks(target)[present], present)
    return np.asarray(np.rint(table).astype(np.uint8)[band])


def _ranks(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the rank of each 8-bit value among the pixels, in 0..1."""
    counts = np.bincount(pixels, minlength=256)
    return np.asarray((np.cumsum(counts) - counts / 2) / max(1, counts.sum()))

"""Canvas that a synthetic town is painted on, and operations to paint with."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Plane = NDArray[np.float32]
# Pixel size in metres.
PIXEL = 0.3
# Rows processed at once, so that temporary arrays stay small on large towns.
_STRIP_ROWS = 512


@dataclass(frozen=True)
class Canvas:
    """Surface of a scene, before illumination.

    Attributes
    ----------
    albedo : (height, width, 3) float32 array
        Color in full sunlight, red first, 0 to 255.
    green : (height, width) float32 array
        Share of vegetation, whose color depends on the season, 0 to 1.
    height : (height, width) float32 array
        Height above ground in metres.
    """

    albedo: Plane
    green: Plane
    height: Plane

    @classmethod
    def blank(cls, shape: tuple[int, int]) -> "Canvas":
        """Return an empty canvas of `shape` (height, width) pixels."""
        return cls(
            np.zeros((*shape, 3), np.float32),
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.height.shape[0], self.height.shape[1]

    def paint(self, alpha: Plane, color: ArrayLike, green: float = 0.0) -> None:
        """Blend a color over the canvas.

        Parameters
        ----------
        alpha : (height, width) float32 array
            Opacity, 0 to 1.
        color : (3,) or (height, width, 3) array
        green : float
            Share of vegetation of the color, 0 to 1.
        """
        tint = np.asarray(color, np.float32)
        for top in range(0, self.shape[0], _STRIP_ROWS):
            rows = slice(top, top + _STRIP_ROWS)
            cover = alpha[rows]
            if not cover.any():
                continue
            part = tint[rows] if tint.ndim == 3 else tint
            self.albedo[rows] += (part - self.albedo[rows]) * cover[..., None]
            self.green[rows] += (np.float32(green) - self.green[rows]) * cover


def fractal(
    rng: np.random.Generator,
    shape: tuple[int, int],
    scale: float,
    octaves: int,
    gain: float = 0.55,
) -> Plane:
    """Return fractal noise of mean 0 and a standard deviation of about 1.

    Parameters
    ----------
    rng : Generator
    shape : (int, int)
        Height and width, in pixels.
    scale : float
        Size of the largest blobs, in pixels; each octave halves it.
    octaves : int
        Number of octaves.
    gain : float
        Amplitude of an octave relative to the one before.

    Returns
    -------
    (height, width) float32 array
    """
    strength, power = 1.0, 0.0
    coarse, coarse_strength, coarse_power = 0, 1.0, 0.0
    while coarse < octaves and scale / 2**coarse >= 24:
        coarse_power += coarse_strength**2
        coarse_strength *= gain
        coarse += 1
    if coarse and min(shape) >= 256:
        # Large blobs have no detail at full resolution: they are made small and enlarged.
        small = (-(-shape[0] // 6), -(-shape[1] // 6))
        blobs = fractal(rng, small, scale / 6, coarse, gain)
        total = np.asarray(cv2.resize(blobs, shape[::-1]), np.float32)
        total *= np.float32(coarse_power**0.5)
        strength, power = coarse_strength, coarse_power
        scale, octaves = scale / 2**coarse, octaves - coarse
    else:
        total = np.zeros(shape, np.float32)
    for _ in range(octaves):
        step = max(scale, 1.0)
        grid = (int(shape[0] / step) + 4, int(shape[1] / step) + 4)
        seeds = rng.standard_normal(grid, np.float32)
        shift_y, shift_x = rng.uniform(0.5, 1.5, 2)
        # warpAffine rather than resize shifts the lattice of each octave, so that none is visible.
        to_seed = np.array([[1 / step, 0, shift_x], [0, 1 / step, shift_y]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        layer = cv2.warpAffine(seeds, to_seed, shape[::-1], flags=flags)
        total += np.float32(strength * 1.25) * layer
        power += strength**2
        strength *= gain
        scale /= 2
    total /= np.float32(power**0.5)
    return total


def smoothstep(values: Any, low: float, high: float) -> Plane:
    """Map values smoothly to 0..1 (cubic Hermite interpolation).

    Parameters
    ----------
    values : float array
    low, high : float
        Values that become 0 and 1.
    """
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def fill(shape: tuple[int, int], outlines: list[NDArray[np.float64]], soft: float = 0.0) -> Plane:
    """Rasterize polygons.

    Parameters
    ----------
    shape : (int, int)
        Height and width, in pixels.
    outlines : list of (N, 2) arrays
        x and y in metres.
    soft : float
        Standard deviation of the blur of the edge, in pixels.

    Returns
    -------
    (height, width) float32 array
        Coverage, 0 to 1.
    """
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(mask, [_fixed(outline)], 255, cv2.LINE_AA, 4)
    return _softened(mask, soft)


def stroke(
    shape: tuple[int, int], lines: list[NDArray[np.float64]], width: float, soft: float = 0.0
) -> Plane:
    """Rasterize lines.

    Parameters
    ----------
    shape : (int, int)
        Height and width, in pixels.
    lines : list of (N, 2) arrays
        x and y in metres.
    width : float
        In metres.
    soft : float
        Standard deviation of the blur of the edge, in pixels.

    Returns
    -------
    (height, width) float32 array
        Coverage, 0 to 1.
    """
    mask = np.zeros(shape, np.uint8)
    thick = max(1, round(width / PIXEL))
    for line in lines:
        cv2.polylines(mask, [_fixed(line)], False, 255, thick, cv2.LINE_AA, 4)
    return _softened(mask, soft)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert metres to OpenCV's fixed point with 4 fractional bits, pixel centres at integers."""
    return np.round((points / PIXEL - 0.5) * 16).astype(np.int32)


def _softened(mask: NDArray[np.uint8], soft: float) -> Plane:
    plane = np.asarray(mask, np.float32) / np.float32(255)
    if soft > 0:
        plane = np.asarray(cv2.GaussianBlur(plane, (0, 0), soft), np.float32)
    return plane

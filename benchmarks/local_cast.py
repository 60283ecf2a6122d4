"""Spread of the local color cast of a mosaic, before and after.

    python benchmarks/local_cast.py BEFORE AFTER... [--block 20]

The 25th percentile of a* and b* on blocks of some 20 m, smoothed over three blocks, varies over a
mosaic of several flights as the light does. Its standard deviation is divided by the contrast of
colors: the mean standard deviation within blocks.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray


def local_cast(path: Path, block_m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spread of the local cast, and the contrast of colors, in a* and b*."""
    with rasterio.open(path) as data:
        pixel = abs(data.transform.a) if data.crs and data.crs.is_projected else 0.15
        side = max(8, round(block_m / pixel))
        rows, cols = data.height // side, data.width // side
        casts = np.full((2, rows, cols), np.nan)
        contrasts = np.full((2, rows, cols), np.nan)
        for row in range(rows):
            window = rasterio.windows.Window(0, row * side, cols * side, side)
            pixels = data.read([1, 2, 3], window=window).astype(np.float32) / 255
            valid = data.read_masks(1, window=window) > 0
            lab = cv2.cvtColor(np.ascontiguousarray(pixels.transpose(1, 2, 0)), cv2.COLOR_RGB2Lab)
            for col in range(cols):
                inside = valid[:, col * side : (col + 1) * side]
                if inside.mean() < 0.5:
                    continue
                colors = lab[:, col * side : (col + 1) * side, 1:][inside]
                casts[:, row, col] = np.percentile(colors, 25, axis=0)
                contrasts[:, row, col] = colors.std(0)
    known = np.isfinite(casts[0])
    count = cv2.blur(known.astype(np.float64), (3, 3), borderType=cv2.BORDER_CONSTANT)
    smooth = [
        cv2.blur(np.where(known, each, 0), (3, 3), borderType=cv2.BORDER_CONSTANT)[known]
        / count[known]
        for each in casts
    ]
    return np.std(smooth, axis=1), np.nanmean(contrasts, axis=(1, 2))


def main() -> None:
    """Print the spread of every mosaic, and how much less it is than the first one's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="+")
    parser.add_argument("--block", type=float, default=20, help="side of a block, in metres")
    given = parser.parse_args()
    spread, contrast = local_cast(given.before, given.block)
    print(f"{given.before.name}: a* {spread[0]:.2f} b* {spread[1]:.2f}")
    for path in given.after:
        own, its = local_cast(path, given.block)
        left = own / its * contrast / spread
        print(f"{path.name}: a* {own[0]:.2f} b* {own[1]:.2f}, relative to contrast "
              f"{1 - left[0]:.0%} and {1 - left[1]:.0%} less")  # fmt: skip


if __name__ == "__main__":
    main()

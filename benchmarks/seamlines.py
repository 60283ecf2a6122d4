"""Two overlapping scenes that do not fit exactly, put together in three ways.

    python benchmarks/seamlines.py MOSAIC [--shift 5]
    python benchmarks/seamlines.py --dates DATE_1 DATE_2 [--shift 2]

Two scenes of 0.7 of a square's width, which overlap by 0.4 of it, are cut from a mosaic, or from
two dates of one place; the second lies some pixels off. They are balanced (gain-offset) and put
together with the first on top, feathered over 64 px, and cut along seamlines. *Difference* is that
of the scenes along the line where one ends and the other begins, in digital numbers of 255.
*Structure* is the correlation of gradients in blocks of 24 px of the overlap with those of the
scene that is more alike there: double houses fit neither; mean, and 5th percentile.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray

import geossda
from geossda.balance.seamlines import read_seamlines
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

BLOCK = 24


def cut(given: argparse.Namespace, folder: Path) -> list[Path]:
    """Write the two scenes."""
    paths = []
    for number, file in enumerate(given.dates or (given.mosaic, given.mosaic)):
        with rasterio.open(file) as source:
            size = min(given.size, source.height - 20, source.width - 20)
            top, left = (source.height - size) // 2, (source.width - size) // 2
            width, start = int(0.7 * size), number * int(0.3 * size)
            off = given.shift * number
            here = rasterio.windows.Window(left + start, top, width, size)
            seen = rasterio.windows.Window(left + start + off, top + off, width, size)
            pixels = source.read([1, 2, 3], window=seen)
            if number and not given.dates:
                pixels = np.clip(pixels * 0.8 + 20, 1, 255).astype(np.uint8)
            paths.append(folder / f"scene_{number}.tif")
            with rasterio.open(
                paths[-1], "w", driver="GTiff", height=size, width=width, count=3, dtype="uint8",
                crs=source.crs, nodata=0, transform=source.window_transform(here),
            ) as made:  # fmt: skip
                made.write(np.maximum(pixels, 1))
    return paths


def gradients(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return horizontal and vertical differences of the mean of the bands."""
    gray = pixels.mean(0).astype(np.float32)
    return np.stack([cv2.Sobel(gray, cv2.CV_32F, *axes) for axes in ((1, 0), (0, 1))])


def structure(out: NDArray[Any], scenes: list[NDArray[Any]]) -> tuple[float, float]:
    """Return mean and 5th percentile of the correlation with the more alike scene, by block."""
    own, *theirs = (gradients(each) for each in (out, *scenes))
    found = []
    for row in range(0, own.shape[1] - BLOCK + 1, BLOCK):
        for col in range(0, own.shape[2] - BLOCK + 1, BLOCK):
            block = np.s_[:, row : row + BLOCK, col : col + BLOCK]
            found.append(
                max(np.corrcoef(own[block].ravel(), each[block].ravel())[0, 1] for each in theirs)
            )
    return float(np.mean(found)), float(np.percentile(found, 5))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic", nargs="?")
    parser.add_argument("--dates", nargs=2)
    parser.add_argument("--size", type=int, default=1400)
    parser.add_argument("--shift", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder to leave the rasters in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.keep) as name:
        folder = Path(name)
        paths = cut(given, folder)
        settings: dict[str, Any] = {"method": "none", "scenes": "none", "balance": "gain-offset"}
        geossda.harmonize(paths, f"{folder}/own/", **settings)
        mosaic = open_mosaic([folder / "own" / path.name for path in paths])
        height, width = mosaic.shape
        whole = Window(0, 0, height, width)
        pixels = [mosaic.read_source(index, whole) for index in (0, 1)]
        both = pixels[0][1] & pixels[1][1]
        rows, cols = np.flatnonzero(both.any(1)), np.flatnonzero(both.any(0))
        box = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        scenes = [each[0][:, *box].astype(float) for each in pixels]
        apart = np.abs(scenes[0] - scenes[1]).mean(0)
        print("| | difference along the line | structure | 5th percentile |\n|---|---|---|---|")
        out = folder / "out.tif"
        for label, more in (
            ("first on top", None),
            ("feathered over 64 px", {}),
            ("seamlines", {"seamlines": "auto"}),
        ):
            if more is None:
                made = np.where(pixels[0][1], pixels[0][0], pixels[1][0])
                line = apart[:, -1].mean()
            else:
                geossda.harmonize(paths, out, overwrite=True, **settings, **more)
                with rasterio.open(out) as data:
                    made = data.read()
                line = np.nan
            if more:
                seams = read_seamlines(str(folder / "out_seamlines.gpkg"), open_mosaic(paths))
                owner = seams.sources_at(whole)[box]
                line = apart[:, 1:][owner[:, 1:] != owner[:, :-1]].mean()
            mean, low = structure(made[:, *box].astype(float), scenes)
            print(f"| {label} | {line:.1f} | {mean:.3f} | {low:.3f} |", flush=True)
            if given.keep:
                np.save(given.keep / f"{label.replace(' ', '_')}.npy", made)
        if given.keep:
            shutil.copyfile(folder / "out_seamlines.gpkg", given.keep / "lines.gpkg")


if __name__ == "__main__":
    main()

"""Strips of known radiometry put on a real mosaic, and how much of their edges is left.

    python benchmarks/seams.py MOSAIC [--size 4096] [--feather 160]

Five strips get gains, offsets, gammas, haze and tints; their edges are hard or feathered. Then
``harmonize`` brings them to the style of the mosaic as it was, with no levelling of scenes, with
scenes found, and with scenes given. The step across an edge is the difference of the means of 16 px
on either side, beyond the feather, less what the ground itself steps there.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.windows
import shapely
from numpy.typing import NDArray

STRIPS = [  # gain, offset, gamma, share of white haze, tint of the bands
    (1.0, 0, 1.0, 0.0, (1, 1, 1)),
    (0.75, 8, 1.0, 0.0, (1.05, 1, 0.9)),
    (1.15, -10, 0.8, 0.0, (0.95, 1, 1.1)),
    (0.9, 0, 1.0, 0.3, (1, 1, 1.05)),
    (1.0, 12, 1.35, 0.05, (1.08, 0.97, 1)),
]
SLANT = 0.03
AIRLIGHT = 220
STRIPE = 16


def changed(rows: NDArray[Any], strip: int) -> NDArray[np.float32]:
    """Give pixels (bands, ...) the radiometry of a strip."""
    gain, offset, gamma, haze, tint = STRIPS[strip]
    shape = (len(rows),) + (1,) * (rows.ndim - 1)
    tints = np.resize(np.array(tint, np.float32), len(rows)).reshape(shape)
    made = 255 * (rows / np.float32(255)) ** gamma * gain * tints + offset
    return np.asarray(made * (1 - haze) + AIRLIGHT * haze, np.float32)


def positions(height: int, width: int, row: int, rows: int) -> NDArray[np.float32]:
    """Give how far right every pixel of some rows lies, along the slanted edges."""
    y = np.arange(row, row + rows, dtype=np.float32)[:, None]
    return np.arange(width, dtype=np.float32) + np.float32(0.5) - SLANT * (y - height / 2)


def cuts(width: int) -> NDArray[np.float64]:
    """Give where the edges lie at half the height."""
    uneven = np.array([-0.022, 0.015, -0.007, 0.027])
    return np.asarray(((np.arange(1, 5) / 5 + uneven) * width).round())


def paint(source: Path, clean: Path, painted: Path, size: int | None, feather: int) -> None:
    """Write the mosaic, or its middle, as it is and in strips."""
    with rasterio.open(source) as data:
        window = rasterio.windows.Window(0, 0, data.width, data.height)
        if size:
            left, top = (data.width - size) // 2, (data.height - size) // 2
            window = rasterio.windows.Window(left, top, size, size)
        height, width = int(window.height), int(window.width)
        profile = {
            "driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8",
            "crs": data.crs, "transform": data.window_transform(window), "tiled": True,
            "compress": "deflate", "blockxsize": 512, "blockysize": 512, "bigtiff": "if_safer",
        }  # fmt: skip
        edges = cuts(width)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(clean, "w", **profile) as first,
            rasterio.open(painted, "w", **profile) as second,
        ):
            for row in range(0, height, 512):
                rows = min(512, height - row)
                part = rasterio.windows.Window(window.col_off, window.row_off + row, width, rows)
                here = rasterio.windows.Window(0, row, width, rows)
                pixels, mask = data.read([1, 2, 3], window=part), data.read_masks(1, window=part)
                at = positions(height, width, row, rows)
                left = np.ones_like(at)
                total = np.zeros(pixels.shape, np.float32)
                for strip in range(len(STRIPS)):
                    right = np.zeros_like(at)
                    if strip < len(edges):
                        away = at - np.float32(edges[strip])
                        right = np.clip(away / max(feather, 1e-3) + 0.5, 0, 1)
                    total += changed(pixels, strip) * (left - right)
                    left = right
                first.write(pixels, window=here)
                second.write(np.clip(np.rint(total), 0, 255).astype(np.uint8), window=here)
                for data_out in (first, second):
                    data_out.write_mask(mask, window=here)


def footprints(like: Path, path: Path) -> None:
    """Write the strips as polygons."""
    with rasterio.open(like) as data:
        edges = [-1e5, *cuts(data.width), 1e5]
        shift = SLANT * (np.array([-10, data.height + 10]) - data.height / 2)
        shapes = []
        for left, right in itertools.pairwise(edges):
            corners = [
                (left + shift[0], -10),
                (right + shift[0], -10),
                (right + shift[1], data.height + 10),
                (left + shift[1], data.height + 10),
            ]
            box = shapely.box(0, 0, data.width, data.height)
            shape = shapely.intersection(shapely.Polygon(corners), box)
            shapes.append(
                shapely.transform(
                    shape, lambda xy: np.stack(data.transform * (xy[:, 0], xy[:, 1]), 1)
                )
            )
        geopandas.GeoDataFrame(geometry=shapes, crs=data.crs).to_file(path)


def measure(path: Path, clean: Path, feather: int) -> tuple[NDArray[np.float64], float]:
    """Give the steps (edges, bands) and the correlation of gradients with the clean mosaic."""
    gap = feather / 2
    with rasterio.open(path) as data, rasterio.open(clean) as truth:
        height, width = data.shape
        edges = cuts(width)
        sums = np.zeros((2, 2, len(edges), 3))
        counts = np.zeros((2, len(edges)))
        moments = np.zeros((3, 5))
        for row in range(0, height, 512):
            rows = min(513, height - row)  # one more for gradients
            here = rasterio.windows.Window(0, row, width, rows)
            pair = [some.read([1, 2, 3], window=here).astype(np.float32) for some in (data, truth)]
            valid = data.read_masks(1, window=here) > 0
            at = positions(height, width, row, rows)
            for edge, cut in enumerate(edges):
                away = at - np.float32(cut)
                for side, sign in enumerate((-1, 1)):
                    inside = valid & (sign * away > gap) & (sign * away < gap + STRIPE)
                    inside[512:] = False
                    counts[side, edge] += inside.sum()
                    for kind, pixels in enumerate(pair):
                        sums[kind, side, edge] += pixels[:, inside].sum(1, dtype=np.float64)
            for axis in (1, 2):
                both = np.minimum(
                    np.take(valid, range(1, valid.shape[axis - 1]), axis - 1),
                    np.take(valid, range(valid.shape[axis - 1] - 1), axis - 1),
                )
                steps = [np.diff(pixels, axis=axis)[:, both].astype(np.float64) for pixels in pair]
                moments += np.stack(
                    [
                        steps[0].sum(1), steps[1].sum(1), (steps[0] ** 2).sum(1),
                        (steps[1] ** 2).sum(1), (steps[0] * steps[1]).sum(1),
                    ],
                    axis=1,
                )  # fmt: skip
        means = sums / counts[:, :, None]
        step = (means[0, 1] - means[0, 0]) - (means[1, 1] - means[1, 0])
    correlation = moments[:, 4] / np.sqrt(moments[:, 2] * moments[:, 3])
    return step, float(correlation.mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic", type=Path)
    parser.add_argument("--size", type=int, help="of the middle taken, in pixels; all by default")
    parser.add_argument("--feather", type=int, default=160, help="width of soft edges, in pixels")
    parser.add_argument("--method", action="append", help="histogram or ssda; both by default")
    parser.add_argument("--keep", type=Path, help="folder to leave the rasters in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.keep) as scratch:
        folder = given.keep or Path(scratch)
        clean, painted, out = (folder / f"{name}.tif" for name in ("clean", "strips", "out"))
        scenes = folder / "scenes.gpkg"
        for kind, feather in (("hard", 0), ("feathered", given.feather)):
            paint(given.mosaic, clean, painted, given.size, feather)
            if not scenes.exists():
                footprints(clean, scenes)
            before, likeness = measure(painted, clean, feather)
            told = " ".join(f"{step:.1f}" for step in np.abs(before).mean(1))
            print(f"{kind} edges: steps {told}, gradients {likeness:.4f}")
            for method in given.method or ("histogram", "ssda"):
                for scene in ("none", "auto", str(scenes)):
                    began = time.perf_counter()
                    subprocess.run(
                        [sys.executable, "-m", "geossda_cli", "harmonize", painted, "--style",
                         clean, "--method", method, "--scenes", scene, "-o", out, "--overwrite",
                         "--progress", "none"],
                        check=True, stdout=subprocess.DEVNULL,
                    )  # fmt: skip
                    seconds = time.perf_counter() - began
                    after, likeness = measure(out, clean, feather)
                    left = np.abs(after).mean() / np.abs(before).mean()
                    told = " ".join(f"{step:.1f}" for step in np.abs(after).mean(1))
                    name = "given" if scene == str(scenes) else scene
                    print(
                        f"  {method:10}{name:10} steps {told:24} fall {1 - left:6.1%} "
                        f"gradients {likeness:.4f}  {seconds:.0f} s",
                        flush=True,
                    )
                    if given.keep:
                        out.replace(folder / f"{kind}_{method}_{name}.tif")


if __name__ == "__main__":
    main()

"""Regions of any shape with known radiometry put on a real mosaic, and how much of them is left.

    python benchmarks/regions.py MOSAIC... [--size 2048] [--cases 8] [--scenes auto none outlines]

Curved and polygonal borders, hard or feathered over 20 to 300 px, cut the middle of each mosaic
into 2 to 12 regions that get gains, offsets, gammas, haze and tints. Then ``geossda harmonize``
brings it to the style of the mosaic as it was. *Step* is the fall of the step across borders (of
16 px on either side, beyond the feather, less what the ground itself steps there), *gradients* the
correlation of gradients with the mosaic as it was, *distance* the fall of the mean distance to it.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import geopandas
import numpy as np
import rasterio
import rasterio.features
import rasterio.windows
import shapely
from numpy.typing import NDArray

from geossda import harmonize

AIRLIGHT = 220
STRIPE = 16


class Case(NamedTuple):
    """Regions that are put on a mosaic."""

    seed: int
    regions: int
    feather: int
    curved: bool


def cases(count: int, size: int, seed: int = 0) -> list[Case]:
    """Return cases in which regions are some 300 px wide at least, and wider than their feather."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        most = int(np.clip((size / 340) ** 2, 2, 12))
        regions = int(rng.integers(2, most + 1))
        widest = min(300, 0.5 * size / regions**0.5)
        feather = 0 if number % 3 == 0 else int(np.exp(rng.uniform(np.log(20), np.log(widest))))
        made.append(Case(seed * 1000 + number, regions, feather, number % 2 == 0))
    return made


def regions(shape: tuple[int, int], case: Case) -> NDArray[np.int32]:
    """Return the region of every pixel: the nearest seed, on a warped plane for curved borders."""
    rng = np.random.default_rng(case.seed)
    height, width = shape
    seeds = [rng.uniform(0, 1, 2)]
    while len(seeds) < case.regions:  # seeds keep apart
        drawn = rng.uniform(0, 1, (16, 2))
        apart = np.linalg.norm(drawn[:, None] - np.array(seeds), axis=2).min(1)
        seeds.append(drawn[apart.argmax() if rng.uniform() < 0.7 else 0])
    y, x = (np.mgrid[:height, :width] + 0.5).astype(np.float32)
    if case.curved:
        side = max(shape)
        for at in (y, x):
            for waves in (2, 4):
                knots = rng.normal(0, 0.08 / waves, (waves + 3, waves + 3)).astype(np.float32)
                wave = cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
                at += side * wave[:height, :width]
    near = np.full(shape, np.inf, np.float32)
    label = np.zeros(shape, np.int32)
    for number, (row, col) in enumerate(seeds):
        away = (y - row * height) ** 2 + (x - col * width) ** 2
        label[away < near], near = number, np.minimum(near, away)
    return label


def radiometry(case: Case) -> list[tuple[float, float, float, float, NDArray[np.float64]]]:
    """Return gain, offset, gamma, share of white haze and tints of every region."""
    rng = np.random.default_rng(case.seed + 500_000)
    made = []
    for _ in range(case.regions):
        haze = rng.uniform(0, 0.3) if rng.uniform() < 0.5 else 0.0
        tint = rng.uniform(0.9, 1.1, 3)
        made.append((rng.uniform(0.75, 1.2), rng.uniform(-12, 12), rng.uniform(0.75, 1.35), haze,
                     tint))  # fmt: skip
    return made


def shares(label: NDArray[np.int32], case: Case) -> list[NDArray[np.float32]]:
    """Return the share of every region in every pixel; it falls linearly over the feather."""
    made = []
    for number in range(case.regions):
        own = (label == number).astype(np.float32)
        if case.feather:
            for _ in range(2):  # two boxes of half the width: close to linear, in any direction
                own = cv2.blur(own, (case.feather // 2 + 1,) * 2, borderType=cv2.BORDER_REFLECT)
        made.append(own)
    return made


def paint(clean: NDArray[np.uint8], label: NDArray[np.int32], case: Case) -> NDArray[np.uint8]:
    """Return a mosaic (bands, height, width) in regions."""
    total = np.zeros(clean.shape, np.float32)
    looks = radiometry(case)
    values = np.arange(256) / 255
    for (gain, offset, gamma, haze, tint), share in zip(looks, shares(label, case), strict=True):
        for band, rows in enumerate(clean):
            made = (255 * values**gamma * gain * tint[band % 3] + offset).clip(0, 255)
            table = (made * (1 - haze) + AIRLIGHT * haze).astype(np.float32)
            total[band] += table[rows] * share
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def steps(
    change: NDArray[np.float32], valid: NDArray[np.bool_], label: NDArray[np.int32], feather: int
) -> list[tuple[float, int]]:
    """Return the step of a change (bands, ...) across the border of every pair, and its pixels.

    Sections of some 128 px are compared each by itself.
    """
    gap, count = feather / 2, int(label.max()) + 1
    blocks = (np.arange(label.shape[0])[:, None] // 128) * 10_000 + np.arange(label.shape[1]) // 128
    away = [
        cv2.distanceTransform((label != one).astype(np.uint8), cv2.DIST_L2, 5)
        for one in range(count)
    ]
    found = []
    for one in range(count):
        for other in range(one + 1, count):
            sides = []
            for own, across in ((one, other), (other, one)):
                near = valid & (label == own) & (away[across] > gap)
                near &= away[across] <= gap + STRIPE
                for third in set(range(count)) - {one, other}:
                    near &= away[third] > gap
                where, place = np.unique(blocks[near], return_inverse=True)
                total = np.bincount(place, minlength=len(where))
                means = [np.bincount(place, band[near], len(where)) / total for band in change]
                sides.append({w: (m, t) for w, m, t in zip(where, np.transpose(means), total,
                                                            strict=True)})  # fmt: skip
            for where in sides[0].keys() & sides[1].keys():
                (front, some), (back, others) = sides[0][where], sides[1][where]
                if min(some, others) > 100:
                    found.append((float(np.abs(back - front).mean()), int(min(some, others))))
    return found


def measure(
    image: NDArray[np.uint8],
    clean: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    label: NDArray[np.int32],
    feather: int,
) -> tuple[float, float, float]:
    """Return the step, the correlation of gradients and the mean distance to the clean mosaic."""
    change = image.astype(np.float32) - clean
    found = np.array(steps(change, valid, label, feather))
    step = float(np.average(found[:, 0], weights=found[:, 1])) if len(found) else np.nan
    likeness = []
    for axis in (1, 2):
        both = np.minimum(*(np.delete(valid, edge, axis - 1) for edge in (0, -1)))
        pair = [np.diff(each.astype(np.float32), axis=axis)[:, both] for each in (image, clean)]
        likeness += [np.corrcoef(a, b)[0, 1] for a, b in zip(*pair, strict=True)]
    return step, float(np.mean(likeness)), float(np.abs(change[:, valid]).mean())


def read_middle(
    path: Path, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], dict[str, Any]]:
    """Return the middle of a mosaic: its pixels, which are valid, and a profile to write it."""
    with rasterio.open(path) as data:
        width, height = min(size, data.width), min(size, data.height)
        window = rasterio.windows.Window(
            (data.width - width) // 2, (data.height - height) // 2, width, height
        )
        profile = {
            "driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8",
            "crs": data.crs, "transform": data.window_transform(window), "tiled": True,
        }  # fmt: skip
        return data.read([1, 2, 3], window=window), data.read_masks(1, window=window) > 0, profile


def write(
    path: Path, pixels: NDArray[np.uint8], valid: NDArray[np.bool_], profile: dict[str, Any]
) -> None:
    """Write a mosaic."""
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile) as made,
    ):
        made.write(pixels)
        made.write_mask(valid)


def write_outlines(path: Path, label: NDArray[np.int32], profile: dict[str, Any]) -> None:
    """Write the regions as polygons."""
    found = rasterio.features.shapes(label, transform=profile["transform"])
    parts: dict[int, list[Any]] = {}
    for shape, number in found:
        parts.setdefault(int(number), []).append(shapely.geometry.shape(shape))
    outlines = [shapely.union_all(each) for each in parts.values()]
    geopandas.GeoDataFrame(geometry=outlines, crs=profile["crs"]).to_file(path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaics", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=2048, help="of the middle taken, in pixels")
    parser.add_argument("--cases", type=int, default=8, help="for each mosaic")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", nargs="+", default=["none", "auto", "outlines"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clean_path, painted, out = (folder / f"{name}.tif" for name in ("clean", "regions", "out"))
        for path in given.mosaics:
            clean, valid, profile = read_middle(path, given.size)
            write(clean_path, clean, valid, profile)
            rows: dict[str, list[tuple[float, float, float]]] = {}
            for case in cases(given.cases, min(clean.shape[1:]), given.seed):
                label = regions(clean.shape[1:], case)
                image = paint(clean, label, case)
                write(painted, image, valid, profile)
                write_outlines(folder / "outlines.gpkg", label, profile)
                before = measure(image, clean, valid, label, case.feather)
                kind = "curved" if case.curved else "polygons"
                print(f"{path.parent.name}/{path.stem} {case.regions} {kind}, feather "
                      f"{case.feather}: step {before[0]:.1f} gradients {before[1]:.4f} "
                      f"distance {before[2]:.1f}")  # fmt: skip
                for scenes in given.scenes:
                    began = time.perf_counter()
                    outlines = str(folder / "outlines.gpkg") if scenes == "outlines" else scenes
                    harmonize(
                        painted, out, style=clean_path, method="histogram", scenes=outlines,
                        overwrite=True,
                    )  # fmt: skip
                    seconds = time.perf_counter() - began
                    with rasterio.open(out) as data:
                        after = measure(data.read(), clean, valid, label, case.feather)
                    row = 1 - after[0] / before[0], after[1], 1 - after[2] / before[2]
                    rows.setdefault(scenes, []).append(row)
                    print(f"  {scenes:9} step {row[0]:7.1%} gradients {row[1]:.4f} distance "
                          f"{row[2]:7.1%}  {seconds:.1f} s", flush=True)  # fmt: skip
            for scenes, table in rows.items():
                mean = np.nanmean(table, axis=0)
                print(f"{path.parent.name}/{path.stem} mean, {scenes:9} step {mean[0]:7.1%} "
                      f"gradients {mean[1]:.4f} distance {mean[2]:7.1%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

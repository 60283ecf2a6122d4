"""Overlapping scenes of known radiometry, balanced here and by Orfeo ToolBox's Mosaic.

    apt-get install otb-bin
    python benchmarks/overlaps.py MOSAIC [--size 2048]
    python benchmarks/overlaps.py --dates DATE_1 DATE_2 DATE_3 DATE_4

Four scenes of 0.6 of a square's side, which overlap by a fifth of it, are cut from a mosaic and
get known gains, gains with offsets, or gains, gammas, haze and tints; or they are cut from four
dates of one place as they are. Each way to balance them writes one mosaic without feathering, whose
level is free: one linear map a band brings it to the mosaic as it was. *Distance* is the RMS
difference then. *Step* is the difference of the means of 16 px on either side of where scenes meet,
in sections of 64 px, less what the ground itself steps there, mean of its size over sections and
bands. Between dates the ground changes too: its steps within one date are in a row of their own.
The last column has the largest difference from OTB's gains, relative to their mean.

The program's own tone curves need no overlaps: they balance the four scenes in one file, whose
outlines are given.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.windows
import shapely
from numpy.typing import NDArray
from seams import STRIPS, changed

import geossda
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import write_shapes

CORNERS = ((0.0, 0.0), (0.0, 0.4), (0.4, 0.0), (0.4, 0.4))
SIDE = 0.6
GAINS = np.array([[1, 1, 1], [0.8, 0.85, 0.9], [0.7, 0.75, 0.65], [0.9, 0.8, 0.85]])
OFFSETS = np.array([[0, 0, 0], [20, 16, 24], [8, 10, 12], [-6, -4, -8]])
STRIPE, SECTION = 16, 64


def painted(kind: str, scene: int, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels (bands, height, width) in the radiometry of a scene; 0 is left for nodata."""
    values = pixels.astype(np.float64)
    if kind == "tones":
        values = changed(pixels, scene + 1 if scene else 0)
    elif kind != "dates":
        values = values * GAINS[scene][:, None, None]
        if kind == "gains and offsets":
            values += OFFSETS[scene][:, None, None]
    return np.clip(np.rint(values), 1, 255).astype(np.uint8)


def cut(given: argparse.Namespace, folder: Path, kind: str) -> tuple[list[Path], Any, Any]:
    """Write the scenes; give their paths, the ground as it was (or None) and who is on top."""
    first = given.dates[0] if given.dates else given.mosaic
    with rasterio.open(first) as source:
        size = (given.size or min(source.height, source.width)) // 80 * 80
        top, left = (source.height - size) // 2, (source.width - size) // 2
        truth = source.read([1, 2, 3], window=rasterio.windows.Window(left, top, size, size))
    on_top = np.full((size, size), -1)
    paths = []
    for scene, corner in enumerate(CORNERS):
        row, col = (int(share * size) for share in corner)
        side = int(SIDE * size)
        path = folder / f"scene_{scene}.tif"
        with rasterio.open(given.dates[scene] if given.dates else first) as source:
            window = rasterio.windows.Window(left + col, top + row, side, side)
            profile = {"driver": "GTiff", "height": side, "width": side, "count": 3,
                       "dtype": "uint8", "crs": source.crs, "nodata": 0, "tiled": True,
                       "transform": source.window_transform(window)}  # fmt: skip
            with rasterio.open(path, "w", **profile) as made:
                made.write(painted(kind, scene, source.read([1, 2, 3], window=window)))
        part = on_top[row : row + side, col : col + side]
        part[part < 0] = scene
        paths.append(path)
    return paths, None if given.dates else truth, on_top


def read(path: str, size: int) -> NDArray[np.uint8]:
    """Return the middle of a raster."""
    with rasterio.open(path) as source:
        top, left = (source.height - size) // 2, (source.width - size) // 2
        window = rasterio.windows.Window(left, top, size, size)
        return np.asarray(source.read([1, 2, 3], window=window))


def sections(on_top: NDArray[Any]) -> list[tuple[Any, Any]]:
    """Return pairs of slices on either side of where scenes meet, SECTION px along the border."""
    found = []
    for axis in (0, 1):
        labels = on_top if axis == 0 else on_top.T
        for line in range(STRIPE, len(labels) - STRIPE):
            for start in range(0, labels.shape[1] - SECTION + 1, SECTION):
                along = slice(start, start + SECTION)
                above, below = (
                    labels[line - STRIPE : line, along],
                    labels[line : line + STRIPE, along],
                )
                if above[0, 0] != below[0, 0] and np.ptp(above) == 0 and np.ptp(below) == 0:
                    pair = (
                        (slice(line - STRIPE, line), along),
                        (slice(line, line + STRIPE), along),
                    )
                    found.append(pair if axis == 0 else tuple(each[::-1] for each in pair))
    return found


def steps(pixels: NDArray[Any], pairs: list[Any]) -> NDArray[np.float64]:
    """Return the step across each section, (sections, bands)."""
    return np.array(
        [pixels[:, *one].mean((1, 2)) - pixels[:, *other].mean((1, 2)) for one, other in pairs]
    )


def fitted(pixels: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return the pixels after the best linear map of each band, and their RMS difference."""
    mapped = np.empty(pixels.shape)
    for band, (own, wanted) in enumerate(zip(pixels, truth, strict=True)):
        x, y = own.ravel().astype(float), wanted.ravel().astype(float)
        slope = ((x - x.mean()) * (y - y.mean())).mean() / x.var()
        mapped[band] = y.mean() + slope * (own - x.mean())
    return mapped, float(np.sqrt(np.mean((mapped - truth) ** 2)))


def by_otb(paths: list[Path], out: Path, method: str, cost: str) -> NDArray[np.float64] | str:
    """Write OTB's mosaic, the first on top; give the gains it prints, or why there are none."""
    command = ["otbcli_Mosaic", "-il", *map(str, reversed(paths)), "-harmo.method", method,
               "-harmo.cost", cost, "-out", str(out), "uint8"]  # fmt: skip
    environment = os.environ | {"OTB_LOGGER_LEVEL": "INFO"}
    text = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    said = text.stdout + text.stderr
    rows = re.findall(r"Gains\s*:\s*([-\d. e]+)", said)
    if "failed for component" in said:
        return "its solver fails: gains of 1"
    return np.array([[float(each) for each in row.split()] for row in rows])[:, ::-1].T


def on_top_of(parts: list[Path], on_top: NDArray[Any], out: Path) -> None:
    """Write the mosaic of scenes without any blending, the first on top."""
    mosaic = np.zeros((3, *on_top.shape), np.uint8)
    for scene, part in enumerate(parts):
        row, col = (int(share * len(on_top)) for share in CORNERS[scene])
        with rasterio.open(part) as data:
            pixels, transform = data.read(), data.transform
        here = on_top[row : row + data.height, col : col + data.width] == scene
        mosaic[:, row : row + data.height, col : col + data.width][:, here] = pixels[:, here]
        if scene == 0:
            profile = {"driver": "GTiff", "height": len(on_top), "width": len(on_top),
                       "count": 3, "dtype": "uint8", "crs": data.crs, "transform": transform,
                       "nodata": 0}  # fmt: skip
    with rasterio.open(out, "w", **profile) as made:
        made.write(mosaic)


def own_gains(path: Path) -> NDArray[np.float64]:
    """Return the gains in an output's provenance."""
    with rasterio.open(path) as data:
        return np.array(json.loads(data.tags()["GEOSSDA_GAINS"]))


def outlines(paths: list[Path], out: Path) -> None:
    """Write the scenes' extents, the first on top."""
    shapes = []
    for path in paths:
        with rasterio.open(path) as data:
            shapes.append(shapely.box(*data.bounds))
            crs = data.crs.to_wkt()
    write_shapes(Shapes(shapes, crs), out, "scenes", {"scene": np.arange(1, len(shapes) + 1)})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic", nargs="?")
    parser.add_argument("--dates", nargs=4)
    parser.add_argument("--size", type=int, help="side of the middle taken, in pixels")
    parser.add_argument("--keep", type=Path, help="folder to leave the rasters in")
    given = parser.parse_args()
    if not shutil.which("otbcli_Mosaic"):
        sys.exit("otbcli_Mosaic is not there: apt-get install otb-bin")
    kinds = ["dates"] if given.dates else ["gains", "gains and offsets", "tones"]
    if not given.dates:
        print("tones: strips 1, 3, 4, 5 of benchmarks/seams.py,", len(STRIPS), "in all")
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=given.keep) as name:
            folder = Path(name)
            paths, truth, on_top = cut(given, folder, kind)
            pairs = sections(on_top)
            ground = 0 if truth is None else steps(truth, pairs)
            print(f"\n{kind}: {len(pairs)} sections\n")
            print("| balanced by | step | distance | gains from OTB's |\n|---|---|---|---|")

            def row(label: str, out: Path, gains: str = "") -> None:
                with rasterio.open(out) as data:
                    pixels = data.read()
                if given.keep:
                    file = re.sub(r"\W+", "_", f"{kind} {label}") + ".tif"  # noqa: B023
                    shutil.copyfile(out, given.keep / file)
                far = ""
                if truth is not None:  # noqa: B023
                    pixels, apart = fitted(pixels, truth)  # noqa: B023
                    far = f"{apart:.2f}"
                step = np.abs(steps(pixels, pairs) - ground).mean()  # noqa: B023
                print(f"| {label} | {step:.2f} | {far} | {gains} |", flush=True)

            def harmonized(label: str, sources: Any, gains: Any = None, **settings: Any) -> None:
                out, single = folder / "own.tif", isinstance(sources, Path)  # noqa: B023
                parts = [out] if single else [folder / "own" / each.name for each in sources]  # noqa: B023
                try:
                    geossda.harmonize(
                        sources, out if single else f"{parts[0].parent}/", method="none",
                        overwrite=True, **settings,
                    )  # fmt: skip
                except geossda.GeossdaError as error:
                    print(f"| {label} | | | {error} |", flush=True)
                    return
                if not single:
                    on_top_of(parts, on_top, out)  # noqa: B023
                if isinstance(gains, np.ndarray):
                    own = np.array([own_gains(part) for part in parts])[:, 0]
                    gains = f"{np.abs(own - gains).max() / np.abs(gains).mean():.3%}"
                row(label, out, gains or "")

            if given.dates:
                within = [
                    np.abs(steps(read(date, len(on_top)), pairs)).mean() for date in given.dates
                ]
                print(f"| (the ground, within one date) | {np.mean(within):.2f} | | |")
            harmonized("nothing", paths, scenes="none")
            merged = folder / "merged.tif"
            shutil.copyfile(folder / "own.tif", merged)
            theirs = {}
            for method, cost in (("band", "rmse"), ("band", "mu"), ("band", "musig"),
                                 ("rgb", "rmse")):  # fmt: skip
                out = folder / "otb.tif"
                theirs[method, cost] = by_otb(paths, out, method, cost)
                why = theirs[method, cost] if isinstance(theirs[method, cost], str) else ""
                row(f"OTB {method} {cost}", out, str(why))
            for cost in ("rmse", "mu", "musig"):
                harmonized(f"qp {cost}", paths, theirs["band", cost], scenes="none", balance="qp",
                           balance_cost=cost)  # fmt: skip
            harmonized("qp rmse decorrelated", paths, theirs["rgb", "rmse"], scenes="none",
                       balance="qp", balance_space="decorrelated")  # fmt: skip
            for space in ("bands", "decorrelated"):
                harmonized(f"gain-offset {space}", paths, scenes="none", balance="gain-offset",
                           balance_space=space)  # fmt: skip
            outlines(paths, folder / "scenes.gpkg")
            harmonized("tone curves (one file, outlines)", merged, scenes=folder / "scenes.gpkg")


if __name__ == "__main__":
    main()

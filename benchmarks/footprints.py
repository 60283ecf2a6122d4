"""Footprints against the plain alternatives: time and memory.

    python benchmarks/footprints.py speed                 # a town of 8192 x 8192, three times each
    python benchmarks/footprints.py growth --gpx 1        # memory and time from 0.1 to 1 Gpx
    python benchmarks/footprints.py split PROBABILITIES FOOTPRINTS MOSAIC

Ratios are of runs side by side, whole processes, start-up included.
"""

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.transform import from_origin

PLAIN = """
import sys, geopandas as gpd, rasterio, rasterio.features, shapely
with rasterio.open(sys.argv[1]) as source:
    mask = source.read(1)
    found = rasterio.features.shapes(mask, mask > 0, transform=source.transform)
    shapes = [shapely.geometry.shape(shape) for shape, _ in found]
    gpd.GeoDataFrame(geometry=shapes, crs=source.crs).to_file(sys.argv[2], layer="buildings")
"""


def town(path: Path, side: int, height: int, seed: int = 0) -> None:
    """Write a mask of rotated rectangles, about 90 a megapixel, no two of them near."""
    rng = np.random.default_rng(seed)
    cell = 104
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "width": side, "height": height,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
        "BIGTIFF": "IF_SAFER", "crs": "EPSG:32633",
        "transform": from_origin(500000, 5200000, 0.3, 0.3),
    }  # fmt: skip
    # A child's peak begins with its parent's: keep this process small.
    with rasterio.Env(GDAL_CACHEMAX=32), rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, height, cell * 8):
            tall = min(cell * 8, height - row)
            strip = np.zeros((tall, side), np.uint8)
            for y in range(cell // 2, tall, cell):
                for x in range(cell // 2, side, cell):
                    sides, turn = rng.uniform(25, 70, 2), rng.uniform(0, 180)
                    box = cv2.boxPoints(((x, y), tuple(sides), turn))
                    cv2.fillPoly(strip, [np.rint(box).astype(np.int32)], 1)
            dataset.write(strip, 1, window=rasterio.windows.Window(0, row, side, tall))


def timed(command: list[str]) -> tuple[float, float]:
    """Run a command; give seconds and its peak resident memory in MB."""
    # Modules compiled once, as they are where a package is installed.
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=told)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def machine() -> str:
    """Name machine and versions."""
    import geossda

    gdal = subprocess.run(["gdalinfo", "--version"], capture_output=True, text=True).stdout.strip()
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, geossda {geossda.__version__}, rasterio "
        f"{rasterio.__version__} with GDAL {rasterio.__gdal_version__}, {gdal}"
    )


def ours(mask: Path, output: Path, *options: str) -> list[str]:
    """Give the command of geossda."""
    program = [sys.executable, "-m", "geossda_cli", "polygonize"]
    return [*program, str(mask), "-o", str(output), "--overwrite", *options]


def speed(folder: Path, repeats: int) -> None:
    """Time polygonizing a large mask four ways, in turn."""
    mask, out, tiny = folder / "town.tif", folder / "out.gpkg", folder / "tiny.tif"
    gdal = shutil.which("gdal_polygonize.py") or "gdal_polygonize.py"
    town(mask, 8192, 8192)
    town(tiny, 64, 64)
    ways = {
        "geossda, one worker": lambda: ours(mask, out, "--workers", "1"),
        "geossda, two workers": lambda: ours(mask, out, "--workers", "2"),
        "geossda, rectilinear": lambda: ours(mask, out, "--regularize", "rectilinear"),
        "shapes + shapely + to_file": lambda: [sys.executable, "-c", PLAIN, str(mask), str(out)],
        "gdal_polygonize.py": lambda: [gdal, "-q", str(mask), "-f", "GPKG", str(out), "buildings"],
        "gdal_polygonize.py -mask": lambda: [
            gdal, "-q", "-mask", str(mask), str(mask), "-f", "GPKG", str(out), "buildings",
        ],
    }  # fmt: skip
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    started: list[float] = []
    timed(ours(tiny, out))  # what is not compiled yet is
    for turn in range(repeats):
        # What it takes to load, open and write, without the work.
        started.append(timed(ours(tiny, out))[0])
        for name, command in ways.items():
            if turn and "rectilinear" in name:
                continue  # long enough to be told by one run
            out.unlink(missing_ok=True)
            taken[name].append(timed(command()))
    base = np.median([seconds for seconds, _ in taken["geossda, two workers"]])
    print(machine())
    print(f"| way | seconds ({repeats} runs) | times as long | peak MB |\n|---|---|---|---|")
    for name, runs in taken.items():
        seconds = [run[0] for run in runs]
        print(
            f"| {name} | {' '.join(f'{each:.2f}' for each in seconds)} "
            f"| {np.median(seconds) / base:.2f} | {max(run[1] for run in runs):.0f} |"
        )
    print(f"start-up of geossda, on 64 x 64: {' '.join(f'{each:.2f}' for each in started)} s")


def growth(folder: Path, gpx: float, repeats: int) -> None:
    """Show how time and memory grow with the raster's height; medians of runs in turn."""
    print(machine())
    print("| Gpx | s, one worker | s, two workers | ratio | s/Gpx | peak MB |")
    print("|---|---|---|---|---|---|")
    for share in (0.1, 0.25, 0.5, 1.0):
        mask, out, side = folder / "town.tif", folder / "out.gpkg", 16384
        height = int(gpx * share * 1e9 / side)
        town(mask, side, height)
        timed(ours(mask, out))  # what is not compiled or cached yet is
        runs = []
        for workers in (1, 2) * repeats:
            # Some file systems take their time over replacing a large file.
            out.unlink()
            # Pinned, so that one is no more than one.
            pinned = ["taskset", "-c", "0"] if workers == 1 else []
            runs.append(timed([*pinned, *ours(mask, out, "--workers", str(workers))]))
        (alone, _), (seconds, memory) = (np.median(runs[first::2], axis=0) for first in (0, 1))
        size = side * height / 1e9
        print(
            f"| {size:.2f} | {alone:.2f} | {seconds:.2f} | {alone / seconds:.2f} "
            f"| {seconds / size:.1f} | {memory:.0f} |",
            flush=True,
        )


def split(probabilities: str, footprints: str, mosaic: str, folder: Path) -> None:
    """Show what parting houses does to their F1."""
    from geossda import PolygonizeConfig, evaluate, polygonize

    print("| | F1 at 0.5 | mean F1 | splits | merges | vertices |\n|---|---|---|---|---|---|")
    for parted in (False, True):
        config = PolygonizeConfig(
            split=parted, regularize="rectilinear", min_area=8, overwrite=True
        )
        polygonize(probabilities, folder / "out.gpkg", config=config)
        found = evaluate(folder / "out.gpkg", footprints, area=mosaic)
        print(
            f"| {'parted' if parted else 'whole'} | {found.objects.f1:.3f} "
            f"| {found.shapes.f1_mean:.3f} | {found.shapes.splits} | {found.shapes.merges} "
            f"| {found.shapes.vertices:.0f} |"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "growth", "split"))
    parser.add_argument("data", nargs="*")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gpx", type=float, default=1.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "speed":
            speed(Path(folder), given.repeats)
        elif given.what == "growth":
            growth(Path(folder), given.gpx, given.repeats)
        else:
            split(*given.data, Path(folder))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()

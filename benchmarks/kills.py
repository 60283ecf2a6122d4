"""A verb killed at random moments and run again, against the same verb left alone.

    python benchmarks/kills.py --kills 20 --output out.tif -- harmonize MOSAIC --style STYLE
    python benchmarks/kills.py --kills 20 --output out.gpkg -- segment MOSAIC

A run is killed with SIGKILL at a moment drawn from the time that one left alone takes, and started
again, and so on; one that ends before it is killed is compared and begun anew. Told at the end: how
many runs were killed and how many ended, whether every output is the same (pixels and mask, or
outlines and attributes), and what is left in the folder beside it.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas
import numpy as np
import pandas
import rasterio


def differences(one: Path, other: Path) -> tuple[int, float]:
    """Compare two outputs.

    Returns
    -------
    int
        Pixels, or rows of footprints, that differ.
    float
        Largest difference of a pixel; infinite where one is valid and the other not.
    """
    if one.suffix != ".tif":
        first, second = (
            pandas.DataFrame(frame).assign(geometry=frame.geometry.to_wkb()).fillna("")
            for frame in (geopandas.read_file(path, layer="buildings") for path in (one, other))
        )
        if len(first) != len(second):
            return abs(len(first) - len(second)), 0.0
        return int((first != second).any(axis=1).sum()), 0.0
    count, largest = 0, 0.0
    with rasterio.open(one) as first, rasterio.open(other) as second:
        for row in range(0, first.height, 1024):
            part = rasterio.windows.Window(0, row, first.width, min(1024, first.height - row))
            valid, valid_too = (data.dataset_mask(window=part) > 0 for data in (first, second))
            apart = np.abs(
                np.subtract(first.read(window=part), second.read(window=part), dtype=np.float64)
            ).max(axis=0)
            apart[valid != valid_too] = np.inf
            apart[~valid & ~valid_too] = 0
            count += np.count_nonzero(apart)
            largest = max(largest, float(apart.max()))
    return count, largest


def run(arguments: list[str], output: Path, seconds: float | None = None) -> bool:
    """Run to the end, or kill after some seconds; says whether it ended by itself."""
    command = [
        sys.executable,
        "-m",
        "geossda_cli",
        *arguments,
        "-o",
        str(output),
        "--progress",
        "none",
    ]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    if code:
        raise SystemExit(f"{arguments[0]} failed with {code}")
    return True


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="out.tif", help="name of the output: .tif or .gpkg")
    end = sys.argv.index("--")
    given, arguments = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        whole, output = Path(folder) / "whole" / given.output, Path(folder) / "out" / given.output
        for path in (whole, output):
            path.parent.mkdir()
        begun = time.monotonic()
        run(arguments, whole)
        alone = time.monotonic() - begun
        print(f"{arguments[0]}, left alone: {alone:.0f} s", flush=True)
        killed = ended = different = 0
        left: set[str] = set()
        while killed < given.kills or not ended:
            # Once enough were killed, the last is left to its end.
            moment = draw.uniform(0, alone) if killed < given.kills else None
            if not run(arguments, output, moment):
                killed += 1
                parts = len(list(output.parent.glob(".*/0*.tif")))
                print(f"killed after {moment:.1f} s, {parts} parts there", flush=True)
                if not output.exists():
                    continue  # else it was killed when all was done
            ended += 1
            different += differences(whole, output)[0]
            left |= {name for name in os.listdir(output.parent) if name != output.name}
            output.unlink()
        beside = ", ".join(sorted(left)) or "nothing"
        print(
            f"killed {killed} times, ended {ended} times; {different} pixels or footprints differ; "
            f"left beside the output: {beside}"
        )


if __name__ == "__main__":
    main()

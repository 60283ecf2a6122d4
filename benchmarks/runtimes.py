"""Compare the runtimes: outputs of OpenVINO with PyTorch's, and whole processes by turns.

python benchmarks/runtimes.py agree RASTER... [--style REF] [--side 1024]
    Segments and harmonizes the middle of each raster with both, in float32, and prints how far
    masks and pixels agree.
python benchmarks/runtimes.py turns RASTER STYLE [--python OTHER] [--rounds 3]
    Runs `segment` and `harmonize` in processes of their own, by turns with another environment's
    geossda, and prints seconds of wall and CPU and the peak of memory of each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import rasterio.windows
from rasterio.windows import Window


def middle(path: str, side: int) -> tuple[float, float, float, float]:
    """Return the bounds of the middle of a raster, `side` pixels wide and high."""
    with rasterio.open(path) as data:
        high, wide = min(side, data.height), min(side, data.width)
        left, top = (data.width - wide) // 2, (data.height - high) // 2
        return rasterio.windows.bounds(Window(left, top, wide, high), data.transform)


def pixels(path: Path) -> np.ndarray:
    """Return all bands of a raster as integers or floats."""
    with rasterio.open(path) as data:
        values = data.read()
    return values.astype(np.int64) if values.dtype.kind in "ui" else values


def agree(rasters: list[str], style: str | None, side: int) -> None:
    """Print a table of how far the outputs of both runtimes agree."""
    import geossda

    print("| raster | mask alike | largest difference of a probability | lock | full |")
    print("|---|---|---|---|---|")
    for path in rasters:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            with rasterio.open(path) as data:
                bidx = (1, 2, 3) if data.count > 3 else ()
            made = {}
            for runtime in ("openvino", "torch"):
                how = {"runtime": runtime, "precision": "float32", "device": "cpu", "bidx": bidx,
                       "bounds": middle(path, side)}  # fmt: skip
                out = folder / f"{runtime}.tif"
                try:
                    geossda.segment(path, folder / f"{runtime}.gpkg", probabilities=out,
                                    regularize="none", split=False, **how)  # fmt: skip
                    made["segment", runtime] = pixels(out)
                except geossda.GeossdaError as error:
                    print(f"{path}: segment: {error}", file=sys.stderr)
                for structure in ("lock", "full") if style else ():
                    target = folder / f"{runtime}_{structure}.tif"
                    geossda.harmonize(
                        path, target, style=style, method="ssda", structure=structure, **how
                    )
                    made[structure, runtime] = pixels(target)
            cells = [Path(path).parent.name + "/" + Path(path).name]
            if ("segment", "torch") in made:
                one, two = made["segment", "openvino"], made["segment", "torch"]
                valid = two >= 0
                alike = ((one >= 0.5) == (two >= 0.5))[valid].mean()
                cells += [f"{100 * alike:.4f} %", f"{np.abs(one - two).max():.1e}"]
            else:
                cells += ["-", "-"]
            for structure in ("lock", "full"):
                if (structure, "torch") not in made:
                    cells.append("-")
                    continue
                gap = np.abs(made[structure, "openvino"] - made[structure, "torch"])
                cells.append(f"{gap.max()} ({100 * (gap > 0).mean():.3f} % differ)")
        print("| " + " | ".join(cells) + " |", flush=True)


def turns(raster: str, style: str, pythons: list[str], rounds: int) -> None:
    """Print what each environment needs, round by round."""
    print("| command | python | wall s | CPU s | peak MB |")
    print("|---|---|---|---|---|")
    verbs = {
        "segment": ["segment", raster, "-o", "{out}.gpkg"],
        "harmonize": ["harmonize", raster, "--style", style, "-o", "{out}.tif"],
    }
    for _ in range(rounds):
        for verb, arguments in verbs.items():
            for python in pythons:
                with tempfile.TemporaryDirectory() as scratch:
                    out = str(Path(scratch, "out"))
                    command = [python, "-m", "geossda_cli", *arguments, "--progress", "none"]
                    command = [part.replace("{out}", out) for part in command]
                    begin = time.perf_counter()
                    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                    _, status, usage = os.wait4(process.pid, 0)
                    wall = time.perf_counter() - begin
                if status:
                    sys.exit(f"{' '.join(command)} failed")
                cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
                print(f"| {verb} | {python} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |", flush=True)


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("agree", "turns"))
    parser.add_argument("rasters", nargs="+")
    parser.add_argument("--style")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.what == "agree":
        agree(given.rasters, given.style, given.side)
    else:
        raster, style = given.rasters
        turns(raster, style, [*given.python, sys.executable], given.rounds)


if __name__ == "__main__":
    main()

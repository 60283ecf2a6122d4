"""Harmonizing 25 Mpx against Orfeo ToolBox's Mosaic, whole processes by turns.

    apt-get install otb-bin
    python benchmarks/otb.py MOSAIC STYLE [--repeats 3]

A square of the mosaic is cut into two overlapping halves. OTB brings their bands to each other's
level by gains and puts them together (uncompressed, which is its default); `harmonize` gives them,
and the square in one piece, the look of a style and writes a COG. What starting takes is in the
figures and told besides; so is what a style measured beforehand and no search for seams save.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import rasterio.shutil
from whole_job import child

START = "from geossda.api import harmonize; from geossda.runtime.style_network import load_style_model as load; load()"  # noqa: E501


def cut(mosaic: str, path: Path, window: rasterio.windows.Window) -> None:
    """Copy a window to an uncompressed tiled file, without its mask."""
    with rasterio.open(mosaic) as source:
        profile = {"driver": "GTiff", "dtype": source.dtypes[0], "count": source.count,
                   "crs": source.crs, "transform": source.window_transform(window),
                   "width": window.width, "height": window.height, "tiled": True}  # fmt: skip
        with rasterio.open(path, "w", **profile) as made:
            made.write(source.read(window=window))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic")
    parser.add_argument("style")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, default=5000, help="pixels")
    parser.add_argument("--corner", type=int, default=2000, help="row and column of its corner")
    given = parser.parse_args()
    if not shutil.which("otbcli_Mosaic"):
        sys.exit("otbcli_Mosaic is not there: apt-get install otb-bin")
    os.environ["OTB_LOGGER_LEVEL"] = "WARNING"
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as name:
        folder = Path(name)
        one, *halves = (folder / f"{part}.tif" for part in ("one", "west", "east"))
        wide, at = int(given.side * 0.55), given.corner
        for path, col, width in (
            (one, at, given.side),
            (halves[0], at, wide),
            (halves[1], at + given.side - wide, wide),
        ):
            cut(given.mosaic, path, rasterio.windows.Window(col, at, width, given.side))
        two, out, look = [str(half) for half in halves], str(folder / "out.tif"), folder / "s.json"
        geossda = [sys.executable, "-m", "geossda_cli"]
        child([*geossda, "style", given.style, "-o", str(look)])
        lock = ["-o", out, "--method", "ssda", "--structure", "lock", "--style"]
        harmonize = [*geossda, "harmonize"]
        commands = {
            "OTB, two halves": ["otbcli_Mosaic", "-il", *two, "-harmo.method", "band",
                                "-harmo.cost", "rmse", "-out", out, "uint8"],
            "lock, two halves": [*harmonize, *two, *lock, given.style],
            "lock, one piece": [*harmonize, str(one), *lock, given.style],
            "the same, style file, no search": [*harmonize, str(one), *lock, str(look),
                                                "--scenes", "none"],
            "starting alone": [sys.executable, "-c", START],
        }  # fmt: skip
        for _ in range(given.repeats):
            for label, command in commands.items():
                seconds, peak, _text = child(command)
                Path(out).unlink(missing_ok=True)
                print(f"{label:34}{seconds:9.2f} s{peak:9.0f} MB", flush=True)


if __name__ == "__main__":
    main()

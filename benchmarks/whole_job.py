"""Time and memory of the two main commands, as shares of what bounds them.

    python benchmarks/whole_job.py MOSAIC STYLE [--repeats 3]

``harmonize`` against ``gdal_translate`` to the same COG profile; ``segment`` against the bare
model on as many windows in memory, in one run, taken by turns. Whole processes are timed; from
``segment`` the start-up (imports, loading the model, a first batch) is taken off, which the bare
model's figure does not hold either. Peak resident memory is the child's.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from geossda.raster.writing import COG_OPTIONS

BARE = """
import sys, time, warnings
warnings.simplefilter("ignore")
import torch
from geossda.devices import choose, mixed_precision
from geossda.models.segmenter import load_segmenter
windows, batch, fold = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "folded"
network, card = load_segmenter("default", fold=fold)
device = choose("auto")
network = network.to(device, memory_format=torch.channels_last)
shape = (batch, len(card.bands), card.patch_px, card.patch_px)
images = torch.rand(shape).to(device, memory_format=torch.channels_last)
with torch.inference_mode(), mixed_precision(device):
    network(images)
    began = time.perf_counter()
    for _ in range(-(-windows // batch)):
        torch.sigmoid(network(images).float()).cpu()
print(time.perf_counter() - began)
"""

WINDOWS = """
import math, platform, sys
import rasterio, torch
from geossda.models.segmenter import load_segmenter
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.reading import open_mosaic
from geossda.raster.windows import starts
card = load_segmenter("default")[1]
shape = grid_at_gsd(open_mosaic(sys.argv[1]).grid, card.gsd_m).shape
count = math.prod(len(starts(n, card.patch_px, card.overlap_px)) for n in shape)
print(count, f"torch {torch.__version__}, GDAL {rasterio.__gdal_version__}, {card.patch_px} px")
"""


def child(arguments: list[str]) -> tuple[float, float, str]:
    """Run a process; give seconds, peak resident MB and its output."""
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        out.seek(0)
        text = out.read().decode()
    if status:
        sys.exit(f"{arguments[0]} failed: {text}")
    return seconds, usage.ru_maxrss / 1024, text


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mosaic")
    parser.add_argument("style")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--harmonize-only", action="store_true")
    given = parser.parse_args()
    # Asked of a child, so that this process stays small: a child's peak memory includes what its
    # parent held when it was started.
    count, _, versions = child([sys.executable, "-c", WINDOWS, given.mosaic])[2].partition(" ")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{versions.strip()}, {count} windows"
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".benchmark-") as folder:
        out = f"{folder}/out.tif"
        profile = [part for k, v in COG_OPTIONS.items() for part in ("-co", f"{k}={v}")]
        translate = ["gdal_translate", "-q", "-of", "COG", *profile, given.mosaic, out]
        geossda = [sys.executable, "-m", "geossda_cli"]
        harmonize = [*geossda, "harmonize", given.mosaic, "--style", given.style, "-o", out]
        methods = {
            "histogram": [*harmonize, "--method", "histogram"],
            "ssda lock": [*harmonize, "--method", "ssda", "--structure", "lock"],
            "ssda full": [*harmonize, "--method", "ssda", "--structure", "full"],
        }
        segment = [*geossda, "segment", given.mosaic, "-o", f"{folder}/out.gpkg",
                   "--progress", "json"]  # fmt: skip
        print(f"{'':22}{'seconds':>9}{'peak MB':>9}")
        ratios: dict[str, list[float]] = {name: [] for name in (*methods, "plain", "folded")}
        for _ in range(given.repeats):
            times = {}
            for name, command in (("gdal_translate", translate), *methods.items()):
                seconds, peak, _text = child(command)
                times[name] = seconds
                Path(out).unlink()
                print(f"{name:22}{seconds:9.2f}{peak:9.0f}")
            for name in methods:
                ratios[name].append(times[name] / times["gdal_translate"])
            if given.harmonize_only:
                continue
            startup = child([sys.executable, "-c", BARE, "0", "2", "folded"])[0]
            plain = float(child([sys.executable, "-c", BARE, count, "4", "plain"])[2])
            folded = float(child([sys.executable, "-c", BARE, count, "2", "folded"])[2])
            seconds, peak, _text = child(segment)
            Path(f"{folder}/out.gpkg").unlink()
            print(f"{'bare model, plain':22}{plain:9.2f}")
            print(f"{'bare model, folded':22}{folded:9.2f}")
            print(f"{'segment':22}{seconds:9.2f}{peak:9.0f}   of which start-up {startup:.1f}")
            ratios["plain"].append(plain / (seconds - startup))
            ratios["folded"].append(folded / (seconds - startup))
    for name in methods:
        told = " ".join(f"{ratio:.2f}" for ratio in ratios[name])
        print(f"harmonize, {name} / gdal_translate: {told}")
    if given.harmonize_only:
        return
    for kind, about in (
        ("plain", "as trained, batches of 4"),
        ("folded", "norms folded, batches of 2, as segment runs it"),
    ):
        shares = " ".join(f"{ratio:.2f}" for ratio in ratios[kind])
        print(f"segment's throughput over the bare model's ({about}): {shares}")


if __name__ == "__main__":
    main()

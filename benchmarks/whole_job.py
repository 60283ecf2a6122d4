"""Time and memory of harmonize against gdal_translate to the same COG profile.

    python benchmarks/whole_job.py MOSAIC STYLE [--repeats 3]

Whole processes are timed, by turns. Peak resident memory is the child's. What bounds the verbs,
``segment`` too, is in ceilings.py.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from geossda.raster.creation_options import COG_OPTIONS

VERSIONS = """
import rasterio, torch
print(f"torch {torch.__version__}, GDAL {rasterio.__gdal_version__}")
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
    given = parser.parse_args()
    # Asked of a child, so that this process stays small: a child's peak memory includes what its
    # parent held when it was started.
    versions = child([sys.executable, "-c", VERSIONS])[2]
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{versions.strip()}"
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
        print(f"{'':22}{'seconds':>9}{'peak MB':>9}")
        ratios: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(given.repeats):
            times = {}
            for name, command in (("gdal_translate", translate), *methods.items()):
                seconds, peak, _text = child(command)
                times[name] = seconds
                Path(out).unlink()
                print(f"{name:22}{seconds:9.2f}{peak:9.0f}")
            for name in methods:
                ratios[name].append(times[name] / times["gdal_translate"])
    for name in methods:
        told = " ".join(f"{ratio:.2f}" for ratio in ratios[name])
        print(f"harmonize, {name} / gdal_translate: {told}")


if __name__ == "__main__":
    main()

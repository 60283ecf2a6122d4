"""SS(DA)² beside the systems that the paper names: one table of style transfer.

    python benchmarks/systems.py IMAGES ... --model FILE ... [--truth] [--hold-out 0.2]

IMAGES are rasters in the folders that the models of domains were trained on. Each --model adds the
rows of its two structures; histogram, graph matching and the others that need no model come once.
Networks blur, and PSNR rewards it: so there is also mean and standard deviation, then blurred.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import geossda
from geossda.config import EvaluateStyleConfig
from geossda.evaluation.samples import Sample, sample_rasters
from geossda.evaluation.style_scores import Pixels, StyleScores, classical, score
from geossda.raster.mosaic import find_sources

# Standard deviation of the blur, in pixels.
BLUR = 3.0


def blurred(source: Sample, reference: Sample) -> Pixels:
    """Match mean and standard deviation of each band, then blur."""
    matched = classical("linear")(source, reference)
    return np.stack(
        [np.stack([cv2.GaussianBlur(band, (0, 0), BLUR) for band in patch]) for patch in matched]
    )


def line(name: str, row: StyleScores, size: str = "") -> str:
    """Return a row of the table."""
    truth = f"{row.psnr:.2f} | {row.ssim:.3f}" if row.psnr is not None else " | "
    return (
        f"| {name} | {row.fall:.1%} | {row.structure:.3f} | {row.worst_structure:.3f} "
        f"| {row.cycle:.2f} | {truth} | {size} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--model", action="append", required=True, metavar="FILE")
    parser.add_argument("--truth", action="store_true", help="the images show the same ground")
    parser.add_argument("--hold-out", type=float, default=0.0)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--patches", type=int, default=0)
    given = parser.parse_args()
    print("| system | reduction | structure | worst | cycle | PSNR, dB | SSIM | size, MB |")
    print("|---|---|---|---|---|---|---|---|")
    done = set()
    for number, path in enumerate(given.model):
        config = EvaluateStyleConfig(
            truth=given.truth,
            hold_out=given.hold_out,
            patch=given.patch,
            patches=given.patches,
            style_model=path,
            device="cpu",
            runtime="torch",
        )
        for row in geossda.evaluate_style(given.images, config=config):
            of_model = row.method.endswith((" lock", " full"))
            if not of_model and number:
                continue
            name = f"{Path(path).stem} {row.method.split()[-1]}" if of_model else row.method
            if name in done:
                continue
            done.add(name)
            size = f"{Path(path).stat().st_size / 1e6:.1f}" if of_model else ""
            print(line(name, row, size), flush=True)
    samples = sample_rasters(
        find_sources(given.images),
        patches=given.patches,
        side=given.patch,
        hold_out=given.hold_out,
        aligned=given.truth,
    )
    (row,) = score(samples, {"blurred": blurred}, truth=given.truth)
    print(line(f"linear, blurred by {BLUR:g} px", row))


if __name__ == "__main__":
    main()

"""Spread of output colors given the source's color, over all ordered pairs of places.

A method that maps colors gives pixels of one color one color. What varies where the source does not
is painted: for pixels of one source color (bins of 8 digital numbers in each band), the standard
deviation of a* and b* of the output, pooled over bins by their pixels.

    python benchmarks/color_spread.py PLACES [--names accra banepa ...] [--methods linear ssda]
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from known_looks import halves, write

import geossda
from geossda.color.lab import to_lab

BIN, FEWEST = 8, 8  # digital numbers of a bin's side, and pixels of a bin that counts


def main() -> None:
    """Measure each method on all ordered pairs, and print means and worst pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    parser.add_argument(
        "--names", nargs="+", default=["accra", "kampala", "khartoum", "zanzibar", "banepa"]
    )
    parser.add_argument("--methods", nargs="+", default=["linear", "histogram", "mixture", "ssda"])
    parser.add_argument("--side", type=int, default=700, help="longer side of the rasters, pixels")
    parser.add_argument("--style-model", default="default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = {name: halves(given.places / name, given.side)[0] for name in given.names}
        paths = {
            name: write(Path(folder) / f"{name}.tif", *image) for name, image in images.items()
        }
        for method in given.methods:
            rows = []
            for one, other in itertools.permutations(given.names, 2):
                result = geossda.harmonize(
                    paths[one], Path(folder) / "out.tif", style=paths[other], method=method,
                    style_model=given.style_model, scenes="none", overwrite=True,
                )  # fmt: skip
                with rasterio.open(result.outputs[0]) as dataset:
                    rows.append(spread(*images[one], dataset.read()))
            mean, worst = np.mean(rows, axis=0), np.max(rows, axis=0)
            print(f"{method:10s} mean {mean.round(2)} worst {worst.round(2)} (a*, b*)", flush=True)


def spread(source: np.ndarray, valid: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Return the standard deviation of a* and b* within bins of the source's colors."""
    steps = (source[:3] // BIN).astype(np.int64)
    side = 256 // BIN
    bins = ((steps[0] * side + steps[1]) * side + steps[2])[valid]
    colors = to_lab(output, (0, 255))[valid][:, 1:].astype(np.float64)
    _, member, count = np.unique(bins, return_inverse=True, return_counts=True)
    variance = [
        np.bincount(member, band**2) / count - (np.bincount(member, band) / count) ** 2
        for band in colors.T
    ]
    kept = count >= FEWEST
    pooled = (np.stack(variance) * count)[:, kept].sum(1) / count[kept].sum()
    return np.sqrt(np.maximum(pooled, 0))


if __name__ == "__main__":
    main()

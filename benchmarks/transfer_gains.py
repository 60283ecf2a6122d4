"""Does the distance of styles say what adaptation gains? From results of `geossda benchmark`.

    python benchmarks/transfer_gains.py RUN PLACES_DIR...

For each place that a trial of the run was measured on: the Fréchet distance between the Gaussians
of all pixels of the sources and of that place, scaled as in the benchmark (8 bit as 0..1); and the
gain of each row over Baseline, the mean over seeds, paired. Then Spearman's rank correlation of
the two over all pairs.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from geossda.config import BenchmarkConfig
from geossda.data import datasets
from geossda.data.datasets import Pair
from geossda.evaluation.trial_rasters import prepare_places
from geossda.progress import SILENT
from geossda.raster.windows import Window

PIXELS = 40_000


def pixels_of(places: dict[str, list[Pair]]) -> dict[str, NDArray[np.float64]]:
    """Return a sample of the valid pixels of each place, (bands, pixels), in 0..1."""
    samples = {}
    for name, pairs in places.items():
        rasters = prepare_places({name: pairs}, BenchmarkConfig(), {name: "bits"}, SILENT)[name]
        images = [raster.read(Window(0, 0, *raster.mosaic.shape)) for raster in rasters]
        valid = np.concatenate([image[:-2, image[-1] > 0] for image in images], 1)
        samples[name] = valid[:, :: max(1, valid.shape[1] // PIXELS)] / 255
    return samples


def frechet(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the Fréchet distance between the Gaussians of two samples (Dowson, Landau 1982)."""
    mean = one.mean(1) - other.mean(1)
    first, second = np.cov(one), np.cov(other)
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    return float(np.sqrt(mean @ mean + max(np.trace(first) + np.trace(second) - 2 * shared, 0)))


def main() -> None:
    """Print pairs by distance, and the correlations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("places", type=Path, nargs="+", help="folders of places, or that hold them")
    given = parser.parse_args()
    results = [json.loads(path.read_text()) for path in given.run.glob("*_*_*.json")]
    results = [each for each in results if each["trial"]["form"] != "leave-one-out"]
    used = {name for each in results for key in ("sources", "tests") for name in each["trial"][key]}
    places = {n: pairs for n, pairs in datasets.read_places(given.places).items() if n in used}
    pixels = pixels_of(places)
    gains: dict[tuple[str, str], dict[str, list[float]]] = {}
    distances: dict[tuple[str, str], float] = {}
    by_key = {tuple(e["trial"][k] for k in ("name", "row", "seed")): e for e in results}
    for (name, row, seed), result in by_key.items():
        plain = by_key.get((name, "none", seed))
        if row == "none" or plain is None:
            continue
        sources = np.concatenate([pixels[source] for source in result["trial"]["sources"]], 1)
        for test, figures in result["figures"].items():
            distances.setdefault((name, test), frechet(sources, pixels[test]))
            gain = 100 * (figures["iou"] - plain["figures"][test]["iou"])
            gains.setdefault((name, test), {}).setdefault(row, []).append(gain)
    rows = sorted({row for by_row in gains.values() for row in by_row})
    print(f"{'pair':28}{'distance':>9}" + "".join(f"{row:>19}" for row in rows))
    for pair in sorted(distances, key=distances.__getitem__):
        means = (np.mean(gains[pair].get(row, [np.nan])) for row in rows)
        cells = "".join("–".rjust(19) if np.isnan(m) else f"{m:>+19.1f}" for m in means)
        print(f"{' > '.join(pair):28}{distances[pair]:9.3f}{cells}")
    for row in rows:
        pairs = [pair for pair in distances if row in gains[pair]]
        rho, p = scipy.stats.spearmanr(
            [distances[pair] for pair in pairs], [np.mean(gains[pair][row]) for pair in pairs]
        )
        print(f"{row:20} {len(pairs)} pairs: rank correlation {rho:+.2f} (p = {p:.2f})")


if __name__ == "__main__":
    main()

"""Distance in colour to the style, before and after each classical method.

    python benchmarks/style_distance.py PLACES_DIR

All ordered pairs of places (the first mosaic of each): mean Wasserstein-1 over bands between the
result and the style, in digital numbers, and by how much it falls against doing nothing.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import geossda
from geossda.config import METHODS, HarmonizeConfig
from geossda.evaluation.metrics import wasserstein
from geossda.raster.histograms import histograms
from geossda.raster.mosaic import open_mosaic


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    given = parser.parse_args()
    rasters = sorted(given.places.glob("*/mosaic_0.tif"))
    own = {path: histograms(open_mosaic(path)) for path in rasters}
    pairs = list(itertools.permutations(rasters, 2))
    identity = {pair: wasserstein(own[pair[0]], own[pair[1]]).mean() for pair in pairs}
    total = sum(identity.values())
    print(f"{len(pairs)} ordered pairs; identity: mean W1 {total / len(pairs):.2f}")
    print(f"{'method':12}{'W1':>8}{'fall':>9}{'worst fall':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            left = {}
            for source, style in pairs:
                config = HarmonizeConfig(method=method, overwrite=True)
                out = Path(folder) / "out.tif"
                geossda.harmonize(source, out, style=style, config=config)
                left[source, style] = wasserstein(histograms(open_mosaic(out)), own[style]).mean()
            mean = sum(left.values()) / len(pairs)
            worst = min(1 - left[pair] / identity[pair] for pair in pairs)
            print(f"{method:12}{mean:8.2f}{1 - mean * len(pairs) / total:9.1%}{worst:12.1%}")


if __name__ == "__main__":
    main()

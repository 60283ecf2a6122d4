"""A user's story: labels of some places, none of her own; buildings before and after adapting.

    python benchmarks/story.py PLACES --target nairobi --run runs/story --encoder-weights FILE

PLACES holds a folder a place, each with `mosaic_*.tif` and one file of footprints. A segmenter is
trained on the labels of all places but the target, once on them alone and once with the target's
imagery, for as many steps; both find buildings there, which are compared with its footprints. The
run folder keeps the models, the two GeoPackages and both over the imagery, `story.png`.
"""

import argparse
import time
from pathlib import Path

import shapely
from outlines import in_pixels

import geossda
from geossda.config import SegmentConfig, TrainSegmenterConfig
from geossda.data.labels import read_footprints
from geossda.evaluation.metrics import Confusion
from geossda.raster.grid import Grid
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window
from geossda.synthetic.picture import side_by_side

SHOWN_GSD_M = 0.3


def over_imagery(image: Path, layers: dict[str, Path], path: Path) -> None:
    """Draw layers of footprints over the middle of an image, one panel each."""
    mosaic = open_mosaic(image)
    small = mosaic.resampled(grid_at_gsd(mosaic.grid, SHOWN_GSD_M))
    height, width = small.shape
    side = min(height, width, 1200)
    window = Window((height - side) // 2, (width - side) // 2, side, side)
    grid: Grid = small.grid[window.rows, window.cols]
    pixels, _ = small.read(window)
    panels = []
    for title, file in layers.items():
        found = read_footprints(file, grid.crs.to_wkt())
        inside = found[shapely.intersects(found.geometry, grid.extent)]
        panels.append((title, pixels[:3], list(in_pixels(inside.geometry, grid))))
    side_by_side(panels, path)


def main() -> None:
    """Read the command line, train twice, find buildings twice, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    parser.add_argument("--target", default="nairobi")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--gsd", type=float, default=0.3, help="in metres")
    parser.add_argument("--encoder-weights", default="imagenet")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.run.mkdir(parents=True, exist_ok=True)
    every = sorted(given.places.glob("*/mosaic_*.tif"))
    own = [path for path in every if path.parent.name == given.target]
    labelled = [path for path in every if path not in own]
    truth = next(own[0].parent.glob("*.gpkg"))
    layers = {}
    for name, targets in (("before", []), ("after", own)):
        config = TrainSegmenterConfig(
            steps=given.steps, patch=given.patch, gsd=given.gsd, seed=given.seed,
            encoder_weights=given.encoder_weights, overwrite=True,
            adapt="ssda" if targets else "none",
        )  # fmt: skip
        model, found = given.run / f"{name}.safetensors", given.run / f"{name}.gpkg"
        begun = time.perf_counter()
        geossda.train_segmenter(labelled, model, targets=targets, config=config)
        trained = time.perf_counter()
        geossda.segment(own, found, config=SegmentConfig(model=str(model), overwrite=True))
        ended = time.perf_counter()
        pixels = buildings = Confusion()
        for path in own:  # each within its own extent
            result = geossda.evaluate(found, truth, area=path)
            pixels += result.pixels
            buildings += result.objects
        print(
            f"{name}: IoU {pixels.iou:.3f} (precision {pixels.precision:.2f}, recall "
            f"{pixels.recall:.2f}), F1 of buildings {buildings.f1:.3f}; trained in "
            f"{trained - begun:.0f} s, found in {ended - trained:.0f} s",
            flush=True,
        )
        layers[f"{name}: IoU {pixels.iou:.2f}"] = found
    layers["true footprints"] = truth
    over_imagery(own[0], layers, given.run / "story.png")


if __name__ == "__main__":
    main()

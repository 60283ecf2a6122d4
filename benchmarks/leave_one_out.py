"""Leave one place out: train on all places but one, measure on that one.

python benchmarks/leave_one_out.py PLACES_DIR --encoder-weights FILE --run runs/loo --steps 400
Finished runs are kept, so it can be stopped and started again.
"""

import argparse
import json
from pathlib import Path

from geossda.config import TrainSegmenterConfig
from geossda.data.labels import find_footprints, read_footprints
from geossda.data.patches import LabelledRaster, PatchSampler
from geossda.raster.reading import open_mosaic
from geossda.training.segmenter import train


def prepare(folder: Path, config: TrainSegmenterConfig) -> list[LabelledRaster]:
    """Open the labelled mosaics of a place."""
    made = []
    for raster in sorted(folder.glob("mosaic_*.tif")):
        mosaic = open_mosaic(raster)
        shapes = read_footprints(find_footprints(str(raster)), mosaic.grid.crs.to_wkt())
        made.append(
            LabelledRaster.prepare(
                mosaic, shapes, config.gsd, (config.low_percent, config.high_percent)
            )
        )
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("places", type=Path)
    parser.add_argument("--encoder-weights", default="imagenet")
    parser.add_argument("--run", type=Path, default=Path("runs/leave_one_out"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patch", type=int, default=256)
    given = parser.parse_args()
    base = TrainSegmenterConfig(encoder_weights=given.encoder_weights, steps=given.steps, patch=given.patch)
    places = {folder.name: prepare(folder, base) for folder in sorted(given.places.iterdir())}
    for seed in range(given.seeds):
        for held in places:
            output = given.run / f"{held}_{seed}.safetensors"
            if output.exists():
                continue
            import dataclasses
            import time

            config = dataclasses.replace(base, seed=seed)
            rasters = [r for name, some in places.items() if name != held for r in some]
            began = time.time()
            given.run.mkdir(parents=True, exist_ok=True)
            train(
                PatchSampler(rasters, config.patch, seed).draw, 3, output,
                given.run / f"{held}_{seed}", config, sources=tuple(n for n in places if n != held),
            )
            print(json.dumps({"held": held, "seed": seed, "seconds": time.time() - began}), flush=True)

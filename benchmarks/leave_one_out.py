"""Leave one place out: train on all places but one, measure on that one.

    python benchmarks/leave_one_out.py PLACES_DIR --encoder-weights FILE --run runs/leave_one_out

PLACES_DIR holds one folder a place with ``mosaic_*.tif`` and one vector file of footprints. Every
run has the same budget; one confusion matrix a place and seed, on the model's grid, threshold
0.5. Finished runs are kept, so it can be stopped and started again.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

from geossda.config import TrainSegmenterConfig
from geossda.data.labels import find_footprints, rasterize, read_footprints
from geossda.data.patches import LabelledRaster, PatchSampler
from geossda.devices import choose
from geossda.evaluation.metrics import Confusion
from geossda.inference.predict import predict
from geossda.inference.segment import ready_to_predict
from geossda.models.segmenter import load_segmenter
from geossda.raster.reading import open_mosaic
from geossda.raster.windows import Window
from geossda.training.segmenter import train


def labelled(folder: Path):
    """Give the labelled mosaics of a place with their footprints."""
    for raster in sorted(folder.glob("mosaic_*.tif")):
        mosaic = open_mosaic(raster)
        yield mosaic, read_footprints(find_footprints(str(raster)), mosaic.grid.crs.to_wkt())


def prepare(folder: Path, config: TrainSegmenterConfig) -> list[LabelledRaster]:
    """Read a place for training."""
    percent = (config.low_percent, config.high_percent)
    return [
        LabelledRaster.prepare(mosaic, shapes, config.gsd, percent)
        for mosaic, shapes in labelled(folder)
    ]


def measure(model: Path, folder: Path) -> Confusion:
    """Measure a model on a place."""
    network, card = load_segmenter(model)
    counts = Confusion()
    for mosaic, shapes in labelled(folder):
        reader = ready_to_predict(mosaic, card, card.gsd_m, clearance_m=0)
        device = choose("auto")
        for strip in predict(reader, network, device, overlap_px=card.overlap_px, batch=4):
            height, width = strip.probability.shape
            true = rasterize(shapes, reader.mosaic.grid, Window(strip.row, 0, height, width))
            found = (strip.probability >= card.threshold) & strip.valid
            counts += Confusion.of(found, true.astype(bool) & strip.valid)
    return counts


def main() -> None:
    """Train what is missing, measure everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    parser.add_argument("--encoder-weights", default="imagenet")
    parser.add_argument("--run", type=Path, default=Path("runs/leave_one_out"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--patch", type=int, default=192)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    given.run.mkdir(parents=True, exist_ok=True)
    base = TrainSegmenterConfig(
        encoder_weights=given.encoder_weights, steps=given.steps, patch=given.patch
    )
    folders = {f.name: f for f in sorted(given.places.iterdir()) if f.is_dir()}
    ready: dict[str, list[LabelledRaster]] = {}
    scores: dict[str, list[float]] = {name: [] for name in folders}
    for seed in range(given.first_seed, given.seeds):
        for held, folder in folders.items():
            model = given.run / f"{held}_{seed}.safetensors"
            config = dataclasses.replace(base, seed=seed)
            if not model.exists():
                ready = ready or {name: prepare(f, config) for name, f in folders.items()}
                rasters = [r for name in folders if name != held for r in ready[name]]
                train(
                    PatchSampler(rasters, config.patch, seed).draw, 3, model,
                    given.run / f"{held}_{seed}", config,
                    sources=tuple(name for name in folders if name != held),
                )  # fmt: skip
            counts = measure(model, folder)
            scores[held].append(100 * counts.iou)
            print(json.dumps({"held": held, "seed": seed, **counts.to_dict()}), flush=True)
    print(f"{'place':12}{'IoU':>8}{'spread':>8}   by seed")
    for name, found in scores.items():
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        each = " ".join(f"{value:.1f}" for value in found)
        print(f"{name:12}{statistics.mean(found):8.1f}{spread:8.1f}   {each}")
    print(f"{'mean':12}{statistics.mean(v for some in scores.values() for v in some):8.1f}")


if __name__ == "__main__":
    main()

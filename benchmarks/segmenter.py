"""Segmenters on labelled rasters that they were not trained on, and on ground without buildings.

    python benchmarks/segmenter.py --places PAPER_SMALL --model default --model new.safetensors
    python benchmarks/segmenter.py --raster TILE.tif MASK.tif --empty forest.tif --model default

PLACES holds a folder per place, each with `mosaic_*.tif` and `footprints.gpkg`. Figures are of the
footprints that `segment` writes with its defaults: pixels are summed over the rasters of a place,
and so are buildings; the calibration error is of the probabilities, in 15 bins.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from geossda import SegmentConfig, evaluate, segment
from geossda.data.labels import rasterize, read_footprints
from geossda.evaluation.metrics import Confusion
from geossda.raster.mosaic import open_mosaic
from geossda.raster.windows import Window

BINS = 15


def calibration_counts(probabilities: Path, labels: Path) -> np.ndarray:
    """Return (3, BINS): sums of probabilities and of building pixels, and pixels, by bin."""
    raster = open_mosaic(probabilities)
    window = Window(0, 0, *raster.shape)
    pixels, valid = raster.read(window)
    shapes = read_footprints(labels, raster.grid.crs.to_wkt())
    true = rasterize(shapes, raster.grid, window)[valid] > 0
    claimed = pixels[0][valid].astype(float)
    index = np.clip((claimed * BINS).astype(int), 0, BINS - 1)
    sums = (np.bincount(index, weights, BINS) for weights in (claimed, true, None))
    return np.stack(list(sums)).astype(float)


def measured(
    model: str, rasters: list[tuple[Path, Path]], folder: Path, **settings: Any
) -> list[float]:
    """Return the columns of the table for one model on the rasters of one place."""
    pixels, buildings, counts = Confusion(), Confusion(), np.zeros((3, BINS))
    corners, right, weights = [], [], []
    for raster, labels in rasters:
        written, probabilities = folder / "found.gpkg", folder / "probabilities.tif"
        segment(
            raster, written, probabilities=probabilities, model=model, overwrite=True, **settings
        )
        counts += calibration_counts(probabilities, labels)
        found = evaluate(written, labels, area=raster)
        pixels, buildings = pixels + found.pixels, buildings + found.objects
        number = found.objects.hit + found.objects.false_alarm
        if number:
            weights.append(number)
            corners.append(found.shapes.vertices)
            right.append(found.shapes.right_angles)
    error = np.abs(counts[0] - counts[1]).sum() / counts[2].sum()
    shape = [np.average(values, weights=weights) for values in (right, corners)]
    scores = [pixels.iou, pixels.precision, pixels.recall, buildings.f1]
    return [*scores, *shape, 100 * float(error)]


def row(place: str, model: str, columns: list[float] | np.ndarray) -> str:
    """Return a row of the table."""
    iou, precision, recall, f1, right, corners, error = columns
    return (
        f"| {place} | {Path(model).stem} | {iou:.3f} | {precision:.2f} | {recall:.2f} | {f1:.3f} | "
        f"{right:.2f} | {corners:.2f} | {error:.1f} % |"
    )


def main() -> None:
    """Print a table row per place and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--places", type=Path)
    parser.add_argument("--raster", nargs=2, type=Path, action="append", default=[])
    parser.add_argument("--empty", type=Path, action="append", default=[])
    parser.add_argument("--tta", type=int, default=SegmentConfig.tta)
    parser.add_argument("--precision", default=SegmentConfig.precision)
    given = parser.parse_args()
    settings = {"tta": given.tta, "precision": given.precision}
    places = {tile.stem: [(tile, labels)] for tile, labels in given.raster}
    for place in sorted(given.places.iterdir()) if given.places else ():
        labels = place / "footprints.gpkg"
        places[place.name] = [(raster, labels) for raster in sorted(place.glob("mosaic_*.tif"))]
    print("| place | model | IoU | precision | recall | F1 | right angles | corners | ECE |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = {model: [] for model in given.model}
        for name, rasters in places.items():
            for model in given.model:
                found[model].append(measured(model, rasters, folder, **settings))
                print(row(name, model, found[model][-1]), flush=True)
        for model, columns in found.items():
            print(row("mean", model, np.mean(columns, axis=0)))
        for path in given.empty:
            for model in given.model:
                written = segment(
                    path, folder / "found.gpkg", model=model, overwrite=True, **settings
                )
                print(f"{path.name}, {Path(model).stem}: {written.buildings} buildings")


if __name__ == "__main__":
    main()

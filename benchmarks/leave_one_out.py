r"""Recipes of training a segmenter, each tested on a place that was left out of its training.

    python benchmarks/leave_one_out.py PLACES RUNS --encoder-weights ENCODER.safetensors \
        --unlabelled paris.tif --unlabelled vegas_edge_nodata.tif --recipe old --recipe new \
        --seed 0 --seed 1 --seed 2
    python benchmarks/leave_one_out.py PLACES RUNS --table

PLACES holds a folder per place, each with `mosaic_*.tif` and `footprints.gpkg`. Nothing of the
place left out is used: neither its rasters, nor its statistics, nor the rasters without labels
whose name begins with it. Every training has the same number of steps and of patches. A finished
training is a JSON file in RUNS and is not run again; an interrupted one is resumed.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from segmenter import measured

from geossda import train_segmenter

# The places that the bundled model was first made of; the others came later.
FIRST = ("banepa", "kampala", "nairobi", "nepal", "zanzibar")
_OLD = {"auxiliary": 0.0, "degrade": False, "floor": 0.0, "adapt": "none"}
# Settings of each recipe, and whether it is trained on all places.
RECIPES: dict[str, tuple[bool, dict[str, Any]]] = {
    "old": (False, _OLD),
    "places": (True, _OLD),
    "outputs": (True, {**_OLD, "auxiliary": 0.3}),
    "degraded": (True, {**_OLD, "degrade": True}),
    "negatives": (True, {**_OLD, "negatives": True, "floor": 0.4}),
    "mixed": (True, {**_OLD, "adapt": "mix", "share": 0.4}),
    "undegraded": (True, {"negatives": True, "adapt": "mix", "share": 0.4, "degrade": False}),
    "new": (True, {"negatives": True, "adapt": "mix", "share": 0.4}),
}
COLUMNS = ("IoU", "precision", "recall", "F1", "right angles", "corners", "calibration error")
# Shown in the table, with how many digits and times which factor.
SHOWN = {"IoU": (1, 100), "F1": (3, 1), "right angles": (2, 1), "corners": (1, 1)}


def train_and_measure(place: str, recipe: str, seed: int, given: argparse.Namespace) -> None:
    """Train one recipe without the place, and write what is measured on it."""
    name = f"{recipe}_{place}_{seed}"
    report = given.runs / f"{name}.json"
    if report.exists():
        return
    all_places, settings = RECIPES[recipe]
    others = [
        folder
        for folder in sorted(given.places.iterdir())
        if folder.name != place and (all_places or folder.name in FIRST)
    ]
    rasters = [raster for folder in others for raster in sorted(folder.glob("mosaic_*.tif"))]
    model = given.runs / f"{name}.safetensors"
    if not model.exists():
        unlabelled = []
        if settings["adapt"] == "mix":
            unlabelled = [path for path in given.unlabelled if not path.name.startswith(place)]
        train_segmenter(
            rasters,
            model,
            targets=unlabelled,
            mean_teacher=False,
            encoder_weights=str(given.encoder_weights),
            steps=given.steps,
            patch=given.patch,
            seed=seed,
            **settings,
        )
    tested = sorted((given.places / place).glob("mosaic_*.tif"))
    labels = given.places / place / "footprints.gpkg"
    with tempfile.TemporaryDirectory() as folder:
        columns = measured(str(model), [(raster, labels) for raster in tested], Path(folder))
    row = {"recipe": recipe, "place": place, "seed": seed, "steps": given.steps}
    report.write_text(json.dumps({**row, **dict(zip(COLUMNS, columns, strict=True))}))
    print(report.read_text(), flush=True)


def print_table(runs: Path) -> None:
    """Print the mean over seeds of each place and recipe, and the spread of the mean."""
    rows = [json.loads(path.read_text()) for path in sorted(runs.glob("*.json"))]
    recipes = [name for name in RECIPES if any(row["recipe"] == name for row in rows)]
    for recipe in recipes:
        own = [row for row in rows if row["recipe"] == recipe]
        places = sorted({row["place"] for row in own})
        print(f"\n| {recipe} | seeds | " + " | ".join(SHOWN) + " |\n|" + "---|" * 6)
        by_place = {place: [row for row in own if row["place"] == place] for place in places}
        for place, found in by_place.items():
            means = (
                f"{np.mean([row[name] for row in found]) * factor:.{digits}f}"
                for name, (digits, factor) in SHOWN.items()
            )
            print(f"| {place} | {len(found)} | " + " | ".join(means) + " |")
        # Only seeds that every place has give the same mean.
        seeds = set.intersection(*({row["seed"] for row in found} for found in by_place.values()))
        cells = []
        for name, (digits, factor) in SHOWN.items():
            means = [
                np.mean([row[name] for row in own if row["seed"] == seed]) * factor
                for seed in sorted(seeds)
            ]
            if means:
                cells.append(f"{np.mean(means):.{digits}f} ± {np.std(means):.{digits}f}")
        print(f"| mean | {len(seeds)} | " + " | ".join(cells) + " |")


def main() -> None:
    """Train what is missing, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--encoder-weights", type=Path)
    parser.add_argument("--unlabelled", type=Path, action="append", default=[])
    parser.add_argument("--recipe", action="append", choices=list(RECIPES))
    parser.add_argument("--held-out", action="append", help="places (default: all)")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    places = given.held_out or [path.name for path in sorted(given.places.iterdir())]
    for seed in () if given.table else given.seed or (0, 1, 2):
        for place in places:
            for recipe in given.recipe or ("old", "new"):
                train_and_measure(place, recipe, seed, given)
    print_table(given.runs)


if __name__ == "__main__":
    main()

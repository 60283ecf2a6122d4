"""`geossda evaluate`."""

import click

from geossda.config import EvaluateConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result
from .strict_json import strict_json

SHAPES = {
    "f1_mean": "F1 of buildings, mean over IoU 0.5 to 0.95",
    "polis_m": "PoLiS, m",
    "hausdorff_m": "Hausdorff distance, m",
    "complexity_iou": "complexity-aware IoU",
    "vertices": "vertices per building, median",
    "right_angles": "fraction of right angles",
    "overlaps": "overlapping pairs",
    "invalid": "invalid geometries",
    "splits": "true buildings split into several",
    "merges": "footprints that merge several",
    "cuts": "pairs with a straight cut along the raster",
}


@click.command("evaluate")
@click.argument("found")
@click.argument("true")
@click.option(
    "--area",
    metavar="FILE",
    help="Area of the comparison: the valid pixels of a raster, or polygons.",
)
@click.option(
    "--errors",
    metavar="FILE.gpkg",
    help="Write true positives, false negatives and false positives, styled for QGIS.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_options(EvaluateConfig)
@progress_option
def command(
    found: str,
    true: str,
    area: str | None,
    errors: str | None,
    as_json: bool,
    progress: Progress,
    config: EvaluateConfig,
) -> None:
    """Compare detected buildings with true ones.

    FOUND and TRUE are vector files or rasters (masks or probabilities).

    \b
    geossda evaluate buildings.gpkg surveyed.gpkg --area mosaic.tif --errors errors.gpkg
    """
    from geossda import evaluate

    result = evaluate(found, true, area=area, errors=errors, config=config, progress=progress)
    rows = {"pixels": result.pixels, "buildings": result.objects}
    shapes = result.shapes.to_dict()
    if as_json:
        figures = {**{name: counts.to_dict() for name, counts in rows.items()}, "shapes": shapes}
        print_result(strict_json(figures))
        return
    print_result(f"{'':10}{'IoU':>8}{'precision':>11}{'recall':>8}{'F1':>8}")
    for name, counts in rows.items():
        print_result(
            f"{name:10}{counts.iou:8.3f}{counts.precision:11.3f}{counts.recall:8.3f}{counts.f1:8.3f}"
        )
    print_result("")
    for name, label in SHAPES.items():
        value = shapes[name]
        shown = f"{value:d}" if isinstance(value, int) else f"{value:.3g}"
        print_result(f"{label:42}{shown:>8}")

"""`geossda evaluate`."""

import json
from typing import Any

import click

from geossda.config import EvaluateConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option

SHAPES = {
    "f1_mean": "F1 of buildings, mean over IoU 0.5 to 0.95",
    "polis_m": "PoLiS, m",
    "hausdorff_m": "Hausdorff distance, m",
    "complexity_iou": "complexity-aware IoU",
    "vertices": "vertices a building, median",
    "right_angles": "share of right angles",
    "overlaps": "overlapping pairs",
    "invalid": "invalid geometries",
    "splits": "true buildings found in pieces",
    "merges": "footprints over several true ones",
    "cuts": "pairs cut along the raster",
}


@click.command("evaluate")
@click.argument("found")
@click.argument("true")
@click.option(
    "--area", metavar="FILE", help="Stay within this raster's valid pixels, or these polygons."
)
@click.option(
    "--errors", metavar="FILE.gpkg", help="Write hits, misses and false alarms, styled for QGIS."
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
    **settings: Any,
) -> None:
    """Compare buildings FOUND with TRUE ones, each a raster or a vector file.

    \b
    geossda evaluate buildings.gpkg surveyed.gpkg --area mosaic.tif --errors errors.gpkg
    """
    from geossda import evaluate

    result = evaluate(
        found,
        true,
        area=area,
        errors=errors,
        config=config_from(EvaluateConfig, settings),
        progress=progress,
    )
    rows = {"pixels": result.pixels, "buildings": result.objects}
    shapes = result.shapes.to_dict()
    if as_json:
        told = {**{name: counts.to_dict() for name, counts in rows.items()}, "shapes": shapes}
        # NaN is no JSON.
        click.echo(json.dumps(told, indent=2).replace("NaN", "null"))
        return
    click.echo(f"{'':10}{'IoU':>8}{'precision':>11}{'recall':>8}{'F1':>8}")
    for name, counts in rows.items():
        click.echo(
            f"{name:10}{counts.iou:8.3f}{counts.precision:11.3f}{counts.recall:8.3f}{counts.f1:8.3f}"
        )
    click.echo("")
    for name, label in SHAPES.items():
        value = shapes[name]
        shown = f"{value:d}" if isinstance(value, int) else f"{value:.3g}"
        click.echo(f"{label:42}{shown:>8}")

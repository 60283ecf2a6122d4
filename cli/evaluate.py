"""`geossda evaluate`."""

import json
from typing import Any

import click

from geossda.config import EvaluateConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("evaluate")
@click.argument("found")
@click.argument("true")
@click.option(
    "--area", metavar="FILE", help="Stay within this raster's valid pixels, or these polygons."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_options(EvaluateConfig)
@progress_option
def command(
    found: str, true: str, area: str | None, as_json: bool, progress: Progress, **settings: Any
) -> None:
    """Compare buildings FOUND with TRUE ones, each a raster or a vector file.

    \b
    geossda evaluate buildings.gpkg surveyed.gpkg --area mosaic.tif
    """
    from geossda import evaluate

    result = evaluate(
        found, true, area=area, config=config_from(EvaluateConfig, settings), progress=progress
    )
    rows = {"pixels": result.pixels, "buildings": result.objects}
    if as_json:
        click.echo(json.dumps({name: counts.to_dict() for name, counts in rows.items()}, indent=2))
        return
    click.echo(f"{'':10}{'IoU':>8}{'precision':>11}{'recall':>8}{'F1':>8}")
    for name, counts in rows.items():
        click.echo(
            f"{name:10}{counts.iou:8.3f}{counts.precision:11.3f}{counts.recall:8.3f}{counts.f1:8.3f}"
        )

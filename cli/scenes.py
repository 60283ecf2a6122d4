"""`geossda scenes`."""

from typing import Any

import click

from geossda.config import ScenesConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("scenes")
@click.argument("source")
@click.option("--output", "-o", required=True, metavar="FILE", help="The outlines.")
@config_options(ScenesConfig)
@progress_option
def command(source: str, output: str, progress: Progress, **settings: Any) -> None:
    """Find the scenes a mosaic was made of, where they meet along straight lines.

    FILE ends in .gpkg, .fgb or .geojson: look at it, mend it, give it to harmonize.

    \b
    geossda scenes mosaic.tif -o scenes.gpkg
    geossda harmonize mosaic.tif --style ref.tif --scenes scenes.gpkg
    """
    from geossda import scenes

    found = scenes(source, output, config=config_from(ScenesConfig, settings), progress=progress)
    click.echo(f"{found.output}: {found.scenes} scene{'s' if found.scenes > 1 else ''}")

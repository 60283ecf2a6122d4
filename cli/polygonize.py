"""`geossda polygonize`."""

from typing import Any

import click

from geossda.config import PolygonizeConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("polygonize")
@click.argument("source")
@click.option("--output", "-o", required=True, metavar="FILE", help="The footprints.")
@config_options(PolygonizeConfig)
@progress_option
def command(source: str, output: str, progress: Progress, **settings: Any) -> None:
    """Turn a mask or probabilities into footprints.

    SOURCE is a raster of one band: integers, whose every value but 0 is a building, or floats,
    which are probabilities. FILE ends in .gpkg, .fgb, .parquet or .geojson.

    \b
    geossda polygonize mask.tif -o buildings.gpkg
    geossda polygonize probabilities.tif -o buildings.gpkg --regularize rectilinear
    """
    from geossda import polygonize

    result = polygonize(
        source, output, config=config_from(PolygonizeConfig, settings), progress=progress
    )
    click.echo(f"{result.output}: {result.buildings:,} buildings, {result.area_m2:,.0f} m²")

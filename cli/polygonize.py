"""`geossda polygonize`."""

import click

from geossda.config import PolygonizeConfig
from geossda.errors import counted
from geossda.formats import vector_suffixes
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("polygonize")
@click.argument("source")
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    help=f"The footprints: {', '.join(vector_suffixes(writes=True))}.",
)
@config_options(PolygonizeConfig)
@progress_option
def command(source: str, output: str, progress: Progress, config: PolygonizeConfig) -> None:
    """Convert a mask or probabilities to footprints.

    SOURCE is a raster of one band: a mask of integers (all values but 0 are buildings), or
    probabilities (float).

    \b
    geossda polygonize mask.tif -o buildings.gpkg
    geossda polygonize probabilities.tif -o buildings.gpkg --regularize rectilinear
    """
    from geossda import polygonize

    result = polygonize(source, output, config=config, progress=progress)
    print_result(
        f"{result.output}: {counted(result.buildings, 'building')}, {result.area_m2:,.0f} m²"
    )

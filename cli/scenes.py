"""`geossda scenes`."""

import click

from geossda.config import ScenesConfig
from geossda.formats import vector_suffixes
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("scenes")
@click.argument("source")
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    help=f"The outlines: {', '.join(vector_suffixes(writes=True, by_ogr=True))}.",
)
@config_options(ScenesConfig)
@progress_option
def command(source: str, output: str, progress: Progress, config: ScenesConfig) -> None:
    """Detect the scenes of a mosaic and write their outlines.

    Scenes may have any shape, and hard or feathered borders. FILE can be checked,
    edited and given to harmonize.

    \b
    geossda scenes mosaic.tif -o scenes.gpkg
    geossda harmonize mosaic.tif --style ref.tif --scenes scenes.gpkg
    """
    from geossda import scenes

    result = scenes(source, output, config=config, progress=progress)
    print_result(f"{result.output}: {result.scenes} scene{'s' if result.scenes > 1 else ''}")

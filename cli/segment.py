"""`geossda segment`."""

import click

from geossda.config import SegmentConfig
from geossda.errors import counted
from geossda.formats import vector_suffixes
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("segment")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    help=f"The footprints: {', '.join(vector_suffixes(writes=True))}.",
)
@click.option("--probabilities", metavar="FILE.tif", help="Write the probabilities too.")
@click.option("--mask", metavar="FILE.tif", help="Write the mask of buildings too.")
@config_options(SegmentConfig)
@progress_option
def command(
    sources: tuple[str, ...],
    output: str,
    probabilities: str | None,
    mask: str | None,
    progress: Progress,
    config: SegmentConfig,
) -> None:
    """Detect buildings and write their footprints.

    SOURCES are files, folders, globs or URLs, taken as one mosaic.

    \b
    geossda segment mosaic.tif -o buildings.gpkg
    """
    from geossda import segment

    result = segment(
        sources,
        output,
        probabilities=probabilities,
        mask=mask,
        config=config,
        progress=progress,
    )
    print_result(
        f"{result.output}: {counted(result.buildings, 'building')}, {result.area_m2:,.0f} m²"
    )

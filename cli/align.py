"""`geossda align`."""

import click

from geossda.config import AlignConfig
from geossda.errors import counted
from geossda.formats import vector_suffixes
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("align")
@click.argument("footprints")
@click.argument("rasters", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    required=True,
    metavar="FILE",
    help=f"The shifted footprints: {', '.join(vector_suffixes(writes=True))}.",
)
@config_options(AlignConfig)
@progress_option
def command(
    footprints: str, rasters: tuple[str, ...], output: str, progress: Progress, config: AlignConfig
) -> None:
    """Shift footprints to where the imagery shows the buildings.

    FOOTPRINTS is a vector file in any CRS. RASTERS are files, folders, globs or URLs, taken as
    one mosaic: imagery, or the probabilities that segment has written.

    Each group of touching footprints is shifted to where the building probabilities fit it best,
    neighbours alike. Attributes, ids and the CRS are kept; the fields shift_x and shift_y (metres
    east and north) and confidence (0 to 1) are added.

    \b
    geossda align osm.gpkg mosaic.tif -o aligned.gpkg
    """
    from geossda import align

    result = align(footprints, rasters, output, config=config, progress=progress)
    length = f", by {result.median_m:.1f} m (median)" if result.shifted else ""
    print_result(
        f"{result.output}: {result.shifted:,} of {counted(result.footprints, 'footprint')} "
        f"shifted{length}"
    )

"""`geossda harmonize`."""

import click

from geossda.config import HarmonizeConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("harmonize")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--style",
    "-s",
    multiple=True,
    metavar="REF",
    help="Reference: raster, folder of rasters, or style file; repeatable, then pooled.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE|DIR/",
    help="One mosaic (FILE), or one file per source (DIR/). "
    "Default: <stem>_harmonized.tif beside each source.",
)
@config_options(HarmonizeConfig)
@progress_option
def command(
    sources: tuple[str, ...],
    style: tuple[str, ...],
    output: str | None,
    progress: Progress,
    config: HarmonizeConfig,
) -> None:
    """Match the colours of rasters to a reference.

    SOURCES are files, folders, globs or URLs. CRS, size, data type, nodata and band names are
    kept.

    \b
    geossda harmonize mosaic.tif --style ref.tif
    geossda harmonize east.tif west.tif --style summer.json -o both.tif
    """
    from geossda import harmonize

    result = harmonize(sources, output, style=style or None, config=config, progress=progress)
    for path in result.outputs:
        print_result(path)

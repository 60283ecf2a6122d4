"""`geossda harmonize`."""

from typing import Any

import click

from geossda.config import HarmonizeConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("harmonize")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--style",
    "-s",
    multiple=True,
    metavar="REF",
    help="Reference raster, folder of them, or style file; repeatable, then pooled.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE|DIR/",
    help="One mosaic (FILE), or one file a source (DIR/). "
    "Default: <stem>_harmonized.tif beside each source.",
)
@config_options(HarmonizeConfig)
@progress_option
def command(
    sources: tuple[str, ...],
    style: tuple[str, ...],
    output: str | None,
    progress: Progress,
    **settings: Any,
) -> None:
    """Give rasters the colours of a reference.

    SOURCES are files, folders, globs or URLs. CRS, size, type, nodata and band names are kept.

    \b
    geossda harmonize mosaic.tif --style ref.tif
    geossda harmonize east.tif west.tif --style look.json -o both.tif
    """
    from geossda import harmonize

    result = harmonize(
        sources,
        output,
        style=style or None,
        config=config_from(HarmonizeConfig, settings),
        progress=progress,
    )
    for path in result.outputs:
        click.echo(path)

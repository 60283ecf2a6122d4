"""`geossda report`."""

import json
from typing import Any

import click

from geossda.config import ReportConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("report")
@click.argument("harmonized", metavar="OUTPUT")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SRC",
    help="What OUTPUT was made from; repeatable, in the same order. "
    "Default: files of the names it carries, beside it.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE.html",
    help="The page. Default: <stem>_report.html beside OUTPUT.",
)
@click.option(
    "--scenes",
    metavar="FILE",
    help="Polygons of the scenes the sources were put together from: "
    "tells the steps in colour where they meet.",
)
@click.option(
    "--qa",
    metavar="FILE.tif",
    help="Write where what is drawn changed as a raster, 1 is unchanged.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@config_options(ReportConfig)
@progress_option
def command(
    harmonized: str,
    sources: tuple[str, ...],
    output: str | None,
    scenes: str | None,
    qa: str | None,
    as_json: bool,
    progress: Progress,
    **settings: Any,
) -> None:
    """Show on a page what harmonizing did to a raster.

    OUTPUT is a raster written by `geossda harmonize`. The page is one HTML file that needs no
    network: before and after, histograms, steps across windows and scenes, where what is drawn
    changed.

    \b
    geossda report mosaic_harmonized.tif
    geossda report both.tif --source east.tif --source west.tif --scenes strips.gpkg -o both.html
    """
    from geossda import report

    result = report(
        harmonized,
        output,
        sources=sources or None,
        scenes=scenes,
        qa=qa,
        config=config_from(ReportConfig, settings),
        progress=progress,
    )
    if as_json:
        click.echo(json.dumps(result.figures, indent=2))
        return
    for path in filter(None, (result.page, result.qa)):
        click.echo(path)

"""`geossda report`."""

import click

from geossda.config import ReportConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result
from .strict_json import strict_json


@click.command("report")
@click.argument("harmonized", metavar="OUTPUT")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SRC",
    help="Source that OUTPUT was made from; repeatable, in the same order. "
    "Default: the files named in its metadata, beside it.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE.html",
    help="The report. Default: <stem>_report.html beside OUTPUT.",
)
@click.option(
    "--scenes",
    metavar="FILE",
    help="Outlines of the scenes in the sources, to measure colour differences across their "
    "borders.",
)
@click.option(
    "--qa",
    metavar="FILE.tif",
    help="Write the structural similarity of source and result as a raster (1: unchanged).",
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
    config: ReportConfig,
) -> None:
    """Write an HTML report on a harmonized raster.

    OUTPUT is a raster written by `geossda harmonize`. The report is one HTML file that needs no
    network: before and after, histograms, colour differences across windows and scenes, and a map
    of changes in structure.

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
        config=config,
        progress=progress,
    )
    if as_json:
        print_result(strict_json(result.figures))
        return
    for path in filter(None, (result.page, result.qa)):
        print_result(path)

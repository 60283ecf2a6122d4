"""`geossda demo`."""

import click

from geossda.config import DemoConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("demo")
@click.option(
    "--output",
    "-o",
    default="demo",
    show_default=True,
    metavar="DIR",
    help="Folder that the demo writes to.",
)
@config_options(DemoConfig)
@progress_option
def command(output: str, progress: Progress, config: DemoConfig) -> None:
    """Render a small town and run all steps on it, offline.

    The synthetic town has two acquisition strips that differ in haze, gain and season, a corner
    of nodata, and true footprints to compare with. The demo harmonizes the strips, detects
    buildings before and after, and compares them with the truth.
    """
    from geossda import demo

    result = demo(output, config=config, progress=progress)
    for line in result.lines():
        print_result(line)

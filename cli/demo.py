"""`geossda demo`."""

from typing import Any

import click

from geossda.config import DemoConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("demo")
@click.option(
    "--output",
    "-o",
    default="demo",
    show_default=True,
    metavar="DIR",
    help="Folder for what the demo writes.",
)
@config_options(DemoConfig)
@progress_option
def command(output: str, progress: Progress, **settings: Any) -> None:
    """Render a small town and run the whole job on it, offline.

    The town is rendered, not photographed: two acquisition strips of unlike haze, gain and
    season, a corner of nodata, and true footprints to compare with.
    """
    from geossda import demo

    result = demo(output, config=config_from(DemoConfig, settings), progress=progress)
    for line in result.lines():
        click.echo(line)

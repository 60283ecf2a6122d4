"""`geossda style`."""

from typing import Any

import click

from geossda.config import StyleConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("style")
@click.argument("references", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.json", help="The style file.")
@config_options(StyleConfig)
@progress_option
def command(references: tuple[str, ...], output: str, progress: Progress, **settings: Any) -> None:
    """Measure references and save their pooled style, to be used again.

    \b
    geossda style summer/*.tif -o summer.json
    geossda harmonize mosaic.tif --style summer.json
    """
    from geossda import make_style

    look = make_style(
        references, output, config=config_from(StyleConfig, settings), progress=progress
    )
    click.echo(f"{output}: {look.bands} bands, from {look.pixels:,} pixels of {look.name}")

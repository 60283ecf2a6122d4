"""`geossda train-style`."""

from typing import Any

import click

from geossda.config import TrainStyleConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("train-style")
@click.argument("sources", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.safetensors", help="The model.")
@click.option(
    "--run",
    metavar="DIR",
    help="Run directory; training goes on from its last checkpoint. Default: <output stem>_run.",
)
@config_options(TrainStyleConfig)
@progress_option
def command(
    sources: tuple[str, ...],
    output: str,
    run: str | None,
    progress: Progress,
    **settings: Any,
) -> None:
    """Train a style model on rasters without labels.

    No domains are asked for: patches are drawn from all SOURCES alike.

    \b
    geossda train-style mosaics/ more/*.tif -o style.safetensors
    geossda harmonize mosaic.tif --style ref.tif --style-model style.safetensors
    """
    from geossda import train_style

    card = train_style(
        sources, output, run=run, config=config_from(TrainStyleConfig, settings), progress=progress
    )
    click.echo(f"{output}: {card.preset}, {card.bands} bands at a time")

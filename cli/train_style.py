"""`geossda train-style`."""

import click

from geossda.config import TrainStyleConfig
from geossda.errors import counted
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("train-style")
@click.argument("sources", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.safetensors", help="The model.")
@click.option(
    "--run",
    metavar="DIR",
    help="Run folder; training resumes from its last checkpoint. Default: <output stem>_run.",
)
@config_options(TrainStyleConfig)
@progress_option
def command(
    sources: tuple[str, ...],
    output: str,
    run: str | None,
    progress: Progress,
    config: TrainStyleConfig,
) -> None:
    """Train a style model on rasters without labels.

    No domain labels are needed: patches are drawn from all SOURCES alike. With the presets that
    translate between domains, the folder of a raster is its domain.

    \b
    geossda train-style mosaics/ more/*.tif -o style.safetensors
    geossda harmonize mosaic.tif --style ref.tif --style-model style.safetensors
    geossda train-style here/ there/ --preset cyclegan -o cyclegan.safetensors
    """
    from geossda import train_style

    card = train_style(sources, output, run=run, config=config, progress=progress)
    print_result(f"{output}: {card.preset}, {counted(card.bands, 'band')} at a time")

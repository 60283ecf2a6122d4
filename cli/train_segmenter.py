"""`geossda train-segmenter`."""

from typing import Any

import click

from geossda.config import TrainSegmenterConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("train-segmenter")
@click.argument("sources", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.safetensors", help="The model.")
@click.option(
    "--footprints",
    "-f",
    multiple=True,
    metavar="FILE",
    help="Buildings of all rasters, or repeated: one file a raster. "
    "Default: the one vector file in each raster's folder.",
)
@click.option(
    "--area",
    metavar="FILE",
    help="Polygons within which the footprints are complete, if they are not everywhere: nothing "
    "outside is learned from.",
)
@click.option(
    "--target",
    "-t",
    "targets",
    multiple=True,
    metavar="RASTER|DIR",
    help="Imagery without labels that the model is for; repeatable.",
)
@click.option(
    "--run",
    metavar="DIR",
    help="Run directory; training goes on from its last checkpoint. Default: <output stem>_run.",
)
@config_options(TrainSegmenterConfig)
@progress_option
def command(
    sources: tuple[str, ...],
    output: str,
    footprints: tuple[str, ...],
    area: str | None,
    targets: tuple[str, ...],
    run: str | None,
    progress: Progress,
    **settings: Any,
) -> None:
    """Train a segmenter on rasters with footprints.

    The footprints must cover each raster wholly, or --area: what is not in them counts as no
    building. With --target the model is made for imagery that has no labels.

    \b
    geossda train-segmenter town/*.tif -f town/buildings.gpkg -o town.safetensors
    geossda train-segmenter mosaic.tif -f drawn.gpkg --area corner.gpkg -o mine.safetensors
    geossda train-segmenter towns/*/ --target my_mosaic.tif -o mine.safetensors
    """
    from geossda import train_segmenter

    card = train_segmenter(
        sources,
        output,
        footprints=footprints,
        area=area,
        targets=targets,
        run=run,
        config=config_from(TrainSegmenterConfig, settings),
        progress=progress,
    )
    click.echo(f"{output}: {card.architecture} with {card.encoder}, {card.gsd_m:g} m")

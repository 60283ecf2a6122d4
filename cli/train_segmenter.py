"""`geossda train-segmenter`."""

import click

from geossda.config import TrainSegmenterConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("train-segmenter")
@click.argument("sources", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.safetensors", help="The model.")
@click.option(
    "--footprints",
    "-f",
    multiple=True,
    metavar="FILE",
    help="Footprints of all rasters, or repeated: one file per raster. "
    "Default: the one vector file in each raster's folder.",
)
@click.option(
    "--area",
    metavar="FILE",
    help="Polygons within which the footprints are complete, if they are not everywhere; the rest "
    "is not used for training.",
)
@click.option(
    "--target",
    "-t",
    "targets",
    multiple=True,
    metavar="RASTER|DIR",
    help="Imagery without labels to adapt the model to; repeatable.",
)
@click.option(
    "--run",
    metavar="DIR",
    help="Run folder; training resumes from its last checkpoint. Default: <output stem>_run.",
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
    config: TrainSegmenterConfig,
) -> None:
    """Train a building model on rasters with footprints.

    The footprints must be complete within each raster, or within --area: everything outside them
    counts as background. With --target and labels of one folder the model is adapted to imagery
    without labels; with labels of several, give --adapt too.

    \b
    geossda train-segmenter town/*.tif -f town/buildings.gpkg -o town.safetensors
    geossda train-segmenter mosaic.tif -f drawn.gpkg --area corner.gpkg -o mine.safetensors
    geossda train-segmenter town/*.tif --target my_mosaic.tif -o mine.safetensors
    """
    from geossda import train_segmenter

    card = train_segmenter(
        sources,
        output,
        footprints=footprints,
        area=area,
        targets=targets,
        run=run,
        config=config,
        progress=progress,
    )
    print_result(f"{output}: {card.architecture} with {card.encoder}, {card.gsd_m:g} m")

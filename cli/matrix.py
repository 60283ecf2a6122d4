"""`geossda matrix`."""

from typing import Any

import click

from geossda.config import MatrixConfig
from geossda.progress import Progress

from .options import config_from, config_options, progress_option


@click.command("matrix")
@click.argument("images", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.png", help="The picture.")
@config_options(MatrixConfig)
@progress_option
def command(images: tuple[str, ...], output: str, progress: Progress, **settings: Any) -> None:
    """Paint images in each other's looks.

    Rows keep their content, columns their look; the originals are on the diagonal.

    \b
    geossda matrix summer.tif autumn.tif other_sensor.tif -o matrix.png
    """
    from geossda import matrix

    config = config_from(MatrixConfig, settings)
    click.echo(matrix(images, output, config=config, progress=progress))

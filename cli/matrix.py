"""`geossda matrix`."""

import click

from geossda.config import MatrixConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("matrix")
@click.argument("images", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.png", help="The picture.")
@config_options(MatrixConfig)
@progress_option
def command(images: tuple[str, ...], output: str, progress: Progress, config: MatrixConfig) -> None:
    """Render every image in the style of every other.

    Each row shows one image, each column one style; the originals are on the diagonal.

    \b
    geossda matrix summer.tif autumn.tif other_sensor.tif -o matrix.png
    """
    from geossda import matrix

    print_result(matrix(images, output, config=config, progress=progress))

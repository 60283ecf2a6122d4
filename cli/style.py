"""`geossda style`."""

import click

from geossda.config import StyleConfig
from geossda.errors import counted
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("style")
@click.argument("references", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE.json", help="The style file.")
@config_options(StyleConfig)
@progress_option
def command(
    references: tuple[str, ...], output: str, progress: Progress, config: StyleConfig
) -> None:
    """Compute the style statistics of references and save them.

    REFERENCES are rasters, folders of them, or style files; they are pooled into one style.

    \b
    geossda style summer/*.tif -o summer.json
    geossda harmonize mosaic.tif --style summer.json
    """
    from geossda import make_style

    pooled = make_style(references, output, config=config, progress=progress)
    print_result(
        f"{output}: {counted(pooled.bands, 'band')}, from "
        f"{counted(pooled.pixels, 'pixel')} of {pooled.name}"
    )

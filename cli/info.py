"""`geossda info`."""

import json

import click

from .strict_json import strict_json


@click.command("info")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--stac",
    type=click.Path(dir_okay=False),
    help="Write the STAC item of a segmenter, with the MLM extension, to this file (.json).",
)
@click.option("--overwrite", is_flag=True, help="Replace that file.")
def command(path: str, as_json: bool, stac: str | None, overwrite: bool) -> None:
    """Show metadata of a raster, model, style or vector file.

    PATH is a file, a folder of rasters, "default" (the bundled building model) or "default-style"
    (the bundled style model).
    """
    from geossda import info

    about = info(path, stac=stac, overwrite=overwrite)
    if as_json:
        click.echo(strict_json(about, str))  # a nodata value may be NaN
        return
    for name, value in about.items():
        click.echo(f"{name:22} {value if isinstance(value, str) else json.dumps(value)}")

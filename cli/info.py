"""`geossda info`."""

import json

import click


@click.command("info")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: str, as_json: bool) -> None:
    """Show metadata of a raster, model, style or vector file.

    PATH is a file, a folder of rasters, "default" (the bundled building model) or "default-style"
    (the bundled style model).
    """
    from geossda import info

    about = info(path)
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return
    for name, value in about.items():
        click.echo(f"{name:22} {value if isinstance(value, str) else json.dumps(value)}")

"""`geossda info`."""

import json

import click


@click.command("info")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: str, as_json: bool) -> None:
    """Tell what a raster, model ("default" is the bundled one), style or vector file is."""
    from geossda import info

    found = info(path)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name:22} {value if isinstance(value, str) else json.dumps(value)}")

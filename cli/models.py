"""`geossda models`."""

import json

import click


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show the models that are bundled or were downloaded.

    --model and --style-model take the word in the first column, a file, an https address of
    one, or hf:owner/name[@revision] for a model of the Hugging Face hub.
    """
    from geossda import list_models

    listed = list_models()
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in listed], indent=2))
        return
    for each in listed:
        click.echo(f"{each.model:10} {each.kind:10} {each.name}")

"""`geossda export`."""

import click

from geossda.config import ExportConfig

from .options import config_options
from .progress import print_result


@click.command("export")
@click.argument("model")
@click.option("--output", "-o", metavar="FILE.onnx", help="By default beside the model.")
@config_options(ExportConfig)
def command(model: str, output: str | None, config: ExportConfig) -> None:
    """Write the ONNX file of a model, which runs anywhere.

    MODEL is a safetensors file of train-segmenter or train-style, which write both
    files; PyTorch is needed. That of a building model also runs in Deepness and
    GeoDeep.

    \b
    geossda export buildings.safetensors
    """
    from geossda import export

    print_result(export(model, output, config=config))

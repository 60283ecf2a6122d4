"""`geossda export`."""

import click

from geossda.config import ExportConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result


@click.command("export")
@click.argument("model")
@click.option("--output", "-o", metavar="FILE.onnx", help="By default beside the model.")
@config_options(ExportConfig)
@progress_option
def command(model: str, output: str | None, config: ExportConfig, progress: Progress) -> None:
    """Write the ONNX file of a model, which runs anywhere.

    MODEL is a safetensors file of train-segmenter or train-style, which write both
    files; PyTorch is needed. That of a building model also runs in Deepness and
    GeoDeep. With --calibrate it can be run in 8-bit integers, which is faster.

    \b
    geossda export buildings.safetensors
    geossda export buildings.safetensors --calibrate towns/*/ --overwrite
    """
    from geossda import export

    print_result(export(model, output, config=config, progress=progress))

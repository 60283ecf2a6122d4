"""`geossda evaluate-style`."""

import click

from geossda.config import EvaluateStyleConfig
from geossda.progress import Progress

from .options import config_options, progress_option
from .progress import print_result
from .strict_json import strict_json

COLUMNS = {
    "distance": ("W1", "{:.2f}"),
    "fall": ("fall", "{:.1%}"),
    "structure": ("structure", "{:.4f}"),
    "worst_structure": ("worst", "{:.3f}"),
    "cycle": ("cycle", "{:.2f}"),
    "reconstruction": ("own dB", "{:.1f}"),
    "psnr": ("PSNR", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
}


@click.command("evaluate-style")
@click.argument("images", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@config_options(EvaluateStyleConfig)
@progress_option
def command(
    images: tuple[str, ...], as_json: bool, progress: Progress, config: EvaluateStyleConfig
) -> None:
    """Measure how well methods match images to each other's styles.

    Means over all ordered pairs of images, in 8-bit digital numbers: W1, the Wasserstein distance
    to the colours of the reference, and its reduction (fall) relative to the source; structure,
    the correlation of edges with those of the source; cycle, the difference after matching there
    and back; own dB, the PSNR of an image matched to its own style.

    \b
    geossda evaluate-style images/*.tif
    geossda evaluate-style same_place_2019.tif same_place_2021.tif --truth --json
    """
    from geossda import evaluate_style

    scores = [entry.to_dict() for entry in evaluate_style(images, config=config, progress=progress)]
    if as_json:
        print_result(strict_json(scores))
        return
    shown = {key: about for key, about in COLUMNS.items() if scores[0][key] is not None}
    print_result(f"{'method':12}" + "".join(f"{title:>11}" for title, _ in shown.values()))
    for row in scores:
        cells = (form.format(row[key]) for key, (_, form) in shown.items())
        print_result(f"{row['method']:12}" + "".join(f"{cell:>11}" for cell in cells))

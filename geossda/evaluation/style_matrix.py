"""Pictures of looks: every image in every other's, as in the paper's Fig. 3, and pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geossda.evaluation.samples import Sample
from geossda.evaluation.style_scores import Method
from geossda.progress import SILENT, Progress

GAP, MARGIN = 4, 18


def picture(
    samples: Sequence[Sample], method: Method, *, side: int, progress: Progress = SILENT
) -> Image.Image:
    """Paint the first patch of each sample in the look of each other.

    Rows keep their content, columns their look; the originals are on the diagonal, framed.

    Parameters
    ----------
    samples : sequence of Sample
    method : Method
    side : int
        Of a cell, in pixels.
    progress : Progress
        Advanced by one a cell.
    """
    count = len(samples)
    whole = MARGIN + count * (side + GAP)
    sheet = Image.new("RGB", (whole, whole), "white")
    draw = ImageDraw.Draw(sheet)
    progress.stage("painting", count**2)
    for row, source in enumerate(samples):
        top = MARGIN + row * (side + GAP)
        for column, reference in enumerate(samples):
            left = MARGIN + column * (side + GAP)
            own = row == column
            # The whole sample, whose look is pooled; only its first patch is shown.
            made = source.pixels if own else method(source, reference)
            sheet.paste(_show(made[0], side), (left, top))
            progress.advance()
            if own:
                draw.rectangle((left - 2, top - 2, left + side + 1, top + side + 1), None, "red", 2)
        draw.text((3, top + side // 2), str(row + 1), "black")
        draw.text((top + side // 2, 3), str(row + 1), "black")
    return sheet


def pairs(
    shown: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], *, side: int
) -> Image.Image:
    """Paint patches as they are in a row, and below each what was made of it.

    Parameters
    ----------
    shown : sequence of pairs of (bands, height, width) arrays
    side : int
        Of a cell, in pixels.
    """
    sheet = Image.new("RGB", (len(shown) * (side + GAP) - GAP, 2 * side + GAP), "white")
    for column, pair in enumerate(shown):
        for row, image in enumerate(pair):
            sheet.paste(_show(image, side), (column * (side + GAP), row * (side + GAP)))
    return sheet


def _show(image: NDArray[np.uint8], side: int) -> Image.Image:
    """Show bands 1 to 3 as red, green and blue, or the first as grey."""
    rgb = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return Image.fromarray(np.ascontiguousarray(rgb.transpose(1, 2, 0))).resize(
        (side, side), Image.Resampling.LANCZOS
    )

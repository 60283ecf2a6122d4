"""Style matrices, each image in the style of each other (the paper's Fig. 3), and pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geossda.evaluation.samples import Sample
from geossda.evaluation.style_scores import Method
from geossda.progress import SILENT, Progress

# Space between cells, and margin for their numbers, in pixels.
GAP_PX, MARGIN_PX = 4, 18


def draw_matrix(
    samples: Sequence[Sample], method: Method, *, side: int, progress: Progress = SILENT
) -> Image.Image:
    """Draw the first patch of each sample in the style of each other.

    Content is constant along rows, style along columns; the originals on the diagonal are framed.

    Parameters
    ----------
    samples : sequence of Sample
    method : Method
    side : int
        Side of a cell in pixels.
    progress : Progress
        Advanced by one per cell.
    """
    count = len(samples)
    whole = MARGIN_PX + count * (side + GAP_PX)
    sheet = Image.new("RGB", (whole, whole), "white")
    draw = ImageDraw.Draw(sheet)
    progress.stage("drawing the style matrix", count**2)
    for row, source in enumerate(samples):
        top = MARGIN_PX + row * (side + GAP_PX)
        for column, reference in enumerate(samples):
            left = MARGIN_PX + column * (side + GAP_PX)
            own = row == column
            # The whole sample, since its style is pooled; only its first patch is drawn.
            patches = source.pixels if own else method(source, reference)
            sheet.paste(_rgb(patches[0], side), (left, top))
            progress.advance()
            if own:
                draw.rectangle((left - 2, top - 2, left + side + 1, top + side + 1), None, "red", 2)
        draw.text((3, top + side // 2), str(row + 1), "black")
        draw.text((top + side // 2, 3), str(row + 1), "black")
    return sheet


def draw_pairs(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], *, side: int
) -> Image.Image:
    """Draw the first patches of pairs in a row, and the second ones below.

    Parameters
    ----------
    pairs : sequence of pairs of (bands, height, width) uint8 arrays
    side : int
        Side of a cell in pixels.
    """
    sheet = Image.new("RGB", (len(pairs) * (side + GAP_PX) - GAP_PX, 2 * side + GAP_PX), "white")
    for column, pair in enumerate(pairs):
        for row, image in enumerate(pair):
            sheet.paste(_rgb(image, side), (column * (side + GAP_PX), row * (side + GAP_PX)))
    return sheet


def _rgb(image: NDArray[np.uint8], side: int) -> Image.Image:
    """Return bands 1 to 3 as red, green and blue, or the first as grey, resized."""
    rgb = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return Image.fromarray(np.ascontiguousarray(rgb.transpose(1, 2, 0))).resize(
        (side, side), Image.Resampling.LANCZOS
    )

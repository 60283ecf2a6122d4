"""Style matrices, each image in the style of each other (the paper's Fig. 3), and pairs."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.evaluation.samples import Sample
from geossda.evaluation.style_scores import Method
from geossda.image_files import resize_image
from geossda.progress import SILENT, Progress

# Space between cells, and margin for their numbers, in pixels.
GAP_PX, MARGIN_PX = 4, 18
_RED, _WHITE = (255, 0, 0), 255


def draw_matrix(
    samples: Sequence[Sample], method: Method, *, side: int, progress: Progress = SILENT
) -> NDArray[np.uint8]:
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

    Returns
    -------
    (height, width, 3) array
    """
    count = len(samples)
    whole = MARGIN_PX + count * (side + GAP_PX)
    sheet = np.full((whole, whole, 3), _WHITE, np.uint8)
    progress.stage("drawing the style matrix", count**2)
    for row, source in enumerate(samples):
        top = MARGIN_PX + row * (side + GAP_PX)
        for column, reference in enumerate(samples):
            left = MARGIN_PX + column * (side + GAP_PX)
            own = row == column
            # The whole sample, since its style is pooled; only its first patch is drawn.
            patches = source.pixels if own else method(source, reference)
            if own:  # a frame of 2 px around it
                sheet[top - 2 : top + side + 2, left - 2 : left + side + 2] = _RED
            sheet[top : top + side, left : left + side] = _rgb(patches[0], side)
            progress.advance()
        for corner in ((2, top + side // 2 + 5), (top + side // 2, 13)):
            _write_number(sheet, row + 1, corner)
    return sheet


def draw_pairs(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]], *, side: int
) -> NDArray[np.uint8]:
    """Draw the first patches of pairs in a row, and the second ones below.

    Parameters
    ----------
    pairs : sequence of pairs of (bands, height, width) uint8 arrays
    side : int
        Side of a cell in pixels.

    Returns
    -------
    (height, width, 3) array
    """
    width = len(pairs) * (side + GAP_PX) - GAP_PX
    sheet = np.full((2 * side + GAP_PX, width, 3), _WHITE, np.uint8)
    for column, pair in enumerate(pairs):
        for row, image in enumerate(pair):
            left, top = column * (side + GAP_PX), row * (side + GAP_PX)
            sheet[top : top + side, left : left + side] = _rgb(image, side)
    return sheet


def _write_number(sheet: NDArray[np.uint8], number: int, corner: tuple[int, int]) -> None:
    """Write a number; its lower left corner is (column, row)."""
    cv2.putText(
        sheet, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA
    )


def _rgb(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return bands 1 to 3 as red, green and blue, or the first as grey, resized."""
    rgb = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return resize_image(rgb.transpose(1, 2, 0), side, side)

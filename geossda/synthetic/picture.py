"""Images side by side, with outlines drawn over them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.image_files import resize_image, write_image

_TITLE_PX = 34
_GAP_PX = 12
_YELLOW, _WHITE, _BLACK = (255, 235, 59), 255, (0, 0, 0)
# Outlines are drawn with a fraction of a pixel of so many bits.
_SHIFT = 4


def side_by_side(
    panels: Sequence[tuple[str, NDArray[np.uint8], Sequence[Any]]],
    path: str | os.PathLike[str],
    *,
    width_px: int = 760,
) -> None:
    """Write a PNG file with one panel for each image.

    Parameters
    ----------
    panels : sequence of (title, image, outlines)
        Title in ASCII; image (3, height, width); outlines are polygons in its pixels, drawn over
        it.
    path : path
    width_px : int
        Width of a panel in pixels.
    """
    drawn = [_panel(title, image, outlines, width_px) for title, image, outlines in panels]
    width = (width_px + _GAP_PX) * len(drawn) - _GAP_PX
    sheet = np.full((max(len(panel) for panel in drawn), width, 3), _WHITE, np.uint8)
    for number, panel in enumerate(drawn):
        left = number * (width_px + _GAP_PX)
        sheet[: len(panel), left : left + width_px] = panel
    write_image(Path(path), sheet)


def _panel(
    title: str, image: NDArray[np.uint8], outlines: Sequence[Any], width_px: int
) -> NDArray[np.uint8]:
    scale = width_px / image.shape[2]
    picture = resize_image(image.transpose(1, 2, 0), round(image.shape[1] * scale), width_px)
    rings = [
        # Coordinates are of corners of pixels here, and of their centres in OpenCV.
        np.rint((np.array(ring.coords) * scale - 0.5) * 2**_SHIFT).astype(np.int32)
        for polygon in outlines
        for ring in (polygon.exterior, *polygon.interiors)
    ]
    cv2.polylines(picture, rings, True, _YELLOW, 1, cv2.LINE_AA, _SHIFT)
    panel = np.full((len(picture) + _TITLE_PX, width_px, 3), _WHITE, np.uint8)
    panel[_TITLE_PX:] = picture
    cv2.putText(panel, title, (2, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _BLACK, 1, cv2.LINE_AA)
    return panel

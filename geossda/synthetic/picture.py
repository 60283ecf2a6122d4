"""Images side by side, with outlines drawn over them."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_TITLE_PX = 34
_GAP_PX = 12


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
        Image (3, height, width); outlines are polygons in its pixels, drawn over it.
    path : path
    width_px : int
        Width of a panel in pixels.
    """
    drawn = [_panel(title, image, outlines, width_px) for title, image, outlines in panels]
    width = sum(panel.width for panel in drawn) + _GAP_PX * (len(drawn) - 1)
    sheet = Image.new("RGB", (width, max(panel.height for panel in drawn)), "white")
    left = 0
    for panel in drawn:
        sheet.paste(panel, (left, 0))
        left += panel.width + _GAP_PX
    sheet.save(path, format="PNG", optimize=True)


def _panel(
    title: str, image: NDArray[np.uint8], outlines: Sequence[Any], width_px: int
) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    scale = width_px / picture.width
    # Drawn at twice the size, then reduced, for smooth lines.
    size = (2 * width_px, round(2 * picture.height * scale))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    for polygon in outlines:
        for ring in (polygon.exterior, *polygon.interiors):
            points = [(x * 2 * scale, y * 2 * scale) for x, y in ring.coords]
            pen.line(points, fill=(255, 235, 59), width=3, joint="curve")
    picture = picture.resize((width_px, size[1] // 2), Image.Resampling.LANCZOS)
    panel = Image.new("RGB", (width_px, picture.height + _TITLE_PX), "white")
    panel.paste(picture, (0, _TITLE_PX))
    ImageDraw.Draw(panel).text((2, 6), title, fill="black", font=ImageFont.load_default(18))
    return panel

"""Which band is red, green or blue: what a file declares, and in which order bands are read."""

import re
from collections.abc import Sequence
from typing import Any

from rasterio.enums import ColorInterp

RGB = ("red", "green", "blue")
_COLORS = {
    getattr(ColorInterp, name): name
    for name in ("red", "green", "blue", "pan", "coastal", "rededge", "nir", "swir", "yellow")
    if hasattr(ColorInterp, name)  # GDAL before 3.10 knows the visible ones only
}
_WORDS = {
    "red": "red", "green": "green", "blue": "blue", "r": "red", "g": "green", "b": "blue",
    "nir": "nir", "nir1": "nir", "nir2": "nir", "infrared": "nir", "nearinfrared": "nir",
    "rededge": "rededge", "edge": "rededge", "coastal": "coastal", "yellow": "yellow",
    "pan": "pan", "panchromatic": "pan", "swir": "swir",
}  # fmt: skip


def color_of_name(name: str | None) -> str | None:
    """Return the colour that a band's description names, or None.

    Parameters
    ----------
    name : str or None
        Such as ``"Red (B04)"``, ``"nir"`` or ``"red edge 1"``; single letters count only where
        they are the whole name.
    """
    words = re.findall(r"[a-z]+\d?", (name or "").lower())
    if len(words) != 1:
        words = [word for word in words if len(word) > 1]
    colors = {_WORDS[word] for word in words if word in _WORDS}
    for specific in ("rededge", "nir"):  # "red edge" and "near infrared" are not red
        if specific in colors:
            return specific
    return colors.pop() if len(colors) == 1 else None


def named_colors(dataset: Any, bands: Sequence[int]) -> tuple[str | None, ...]:
    """Return the colours that the descriptions of some bands (1-based) name.

    Parameters
    ----------
    dataset : open rasterio dataset
    bands : sequence of int
        1-based indices.
    """
    return tuple(color_of_name(dataset.descriptions[band - 1]) for band in bands)


def interpreted_colors(dataset: Any, bands: Sequence[int]) -> tuple[str | None, ...]:
    """Return the colour interpretation of some bands (1-based), None where it names no colour.

    Parameters
    ----------
    dataset : open rasterio dataset
    bands : sequence of int
        1-based indices.
    """
    return tuple(_COLORS.get(dataset.colorinterp[band - 1]) for band in bands)


def declared_colors(dataset: Any, bands: Sequence[int]) -> tuple[str | None, ...]:
    """Return the colours of some bands as the file declares them.

    Parameters
    ----------
    dataset : rasterio dataset
    bands : sequence of int
        1-based.

    Returns
    -------
    tuple of str or None
        By colour interpretation if it names any colour, else by the bands' descriptions.
    """
    interpreted = interpreted_colors(dataset, bands)
    return interpreted if any(interpreted) else named_colors(dataset, bands)


def rgb_first(bands: Sequence[int], colors: Sequence[str | None]) -> tuple[int, ...]:
    """Return bands with red, green and blue first, in this order, where all three are declared.

    Parameters
    ----------
    bands : sequence of int
    colors : sequence of str or None
        One a band.
    """
    if not all(colors.count(color) == 1 for color in RGB):
        return tuple(bands)
    first = [bands[list(colors).index(color)] for color in RGB]
    return (*first, *(band for band in bands if band not in first))

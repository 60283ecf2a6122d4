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
# Bands of Sentinel-2, and of HLS, which write two digits. B4 may be the near infrared of Landsat 5.
_SENTINEL = {
    "b01": "coastal", "b02": "blue", "b03": "green", "b04": "red", "b05": "rededge",
    "b06": "rededge", "b07": "rededge", "b08": "nir", "b8a": "nir", "b11": "swir", "b12": "swir",
}  # fmt: skip
# Ends of colours in nanometres: from each to the next.
_ENDS_NM = (
    (400, "coastal"), (450, "blue"), (510, "green"), (580, "yellow"), (620, "red"),
    (690, "rededge"), (750, "nir"), (1100, None), (1300, "swir"), (2500, None),
)  # fmt: skip
_WAVELENGTH = re.compile(r"(?i)(\d+(?:\.\d+)?) ?(nm|nanomet\w+|[uµμ]m|micromet\w+)\b")


def color_of_wavelength(nanometres: float) -> str | None:
    """Return the colour of a central wavelength, or None.

    Parameters
    ----------
    nanometres : float
    """
    below = [color for start, color in _ENDS_NM if nanometres >= start]
    return below[-1] if below else None


def color_of_name(name: str | None) -> str | None:
    """Return the colour that a band's description names, or None.

    Parameters
    ----------
    name : str or None
        Such as ``"Red (B04)"``, ``"nir"``, ``"red edge 1"``, ``"B04"`` or ``"665 nm"``; single
        letters count only where they are the whole name.
    """
    color = _color_in_words(name)
    if color is None and name:
        if match := _WAVELENGTH.search(name):
            return color_of_wavelength(float(match[1]) * (1 if match[2][0] in "nN" else 1000))
        numbers = {_SENTINEL[w] for w in re.findall("[a-z0-9]+", name.lower()) if w in _SENTINEL}
        return numbers.pop() if len(numbers) == 1 else None
    return color


def _color_in_words(name: str | None) -> str | None:
    words = re.findall(r"[a-z]+\d?", (name or "").lower())
    if words == ["green", "i"]:  # PlanetScope's other green, off the usual one
        return None
    if len(words) != 1:
        words = [word for word in words if len(word) > 1]
    colors = {_WORDS[word] for word in words if word in _WORDS}
    # "Red edge" and "near infrared" are not red, "coastal blue" is not blue.
    for specific in ("rededge", "nir", "coastal"):
        if specific in colors:
            return specific
    return colors.pop() if len(colors) == 1 else None


def named_colors(dataset: Any, bands: Sequence[int]) -> tuple[str | None, ...]:
    """Return the colours that the descriptions of some bands (1-based) name, or their wavelengths.

    Parameters
    ----------
    dataset : open rasterio dataset
    bands : sequence of int
        1-based indices.
    """
    return tuple(
        color_of_name(dataset.descriptions[band - 1]) or _color_of_metadata(dataset, band)
        for band in bands
    )


def _color_of_metadata(dataset: Any, band: int) -> str | None:
    """Return the colour of the central wavelength that GDAL's metadata of a band give, or None."""
    try:
        micrometres = float(dataset.tags(band, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"])
    except (KeyError, ValueError):
        return None
    return color_of_wavelength(1000 * micrometres)


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

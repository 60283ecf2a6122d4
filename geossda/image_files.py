"""Pictures in formats of the web."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.formats import suffix_of

# Of JPEG and WebP, from 0 to 100.
_QUALITY = 88


def encode_image(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """Return a picture as the bytes of a file.

    Parameters
    ----------
    pixels : (height, width, bands) array
        Red, green, blue, and in a fourth band opacity, which JPEG does not have.
    suffix : {".png", ".jpg", ".jpeg", ".webp"}

    Raises
    ------
    OSError
        The format does not take pictures of this size.
    """
    order = [2, 1, 0, 3][: pixels.shape[2]]
    settings = {
        ".png": (cv2.IMWRITE_PNG_COMPRESSION, 9),
        ".webp": (cv2.IMWRITE_WEBP_QUALITY, _QUALITY),
    }.get(suffix, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    done, content = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., order]), settings)
    if not done:
        height, width = pixels.shape[:2]
        raise OSError(f"{suffix} does not take {width} x {height} px: write .png")
    return content.tobytes()


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture in the format of a path's suffix.

    Parameters
    ----------
    path : Path
    pixels
        As in :func:`encode_image`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    path.write_bytes(encode_image(pixels, suffix_of(path)))


def resize_image(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture in another size: averaged where it becomes smaller.

    Parameters
    ----------
    pixels : (rows, columns, bands) array
    height, width : int
        In pixels.
    """
    smaller = height * width < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=method)
    )

"""Fingerprints of files, which show that a raster has not changed without reading it."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from geossda.errors import RasterError
from geossda.formats import STYLE_SUFFIX, suffix_of
from geossda.urls import is_remote, public_name


def fingerprint(path: str | os.PathLike[str]) -> list[Any]:
    """Return the size and time of change of each file of a raster, or of any other file.

    For remote rasters, the offset and length of their last block: any change of the pixels of a
    compressed file moves it.

    Raises
    ------
    RasterError
        A remote raster cannot be opened.
    """
    path = os.fspath(path)
    if suffix_of(path) == STYLE_SUFFIX:
        return [_of_file(path)]
    if not is_remote(path):
        return [_of_file(file) for file in sorted({path, *_files(path)})]
    try:
        with rasterio.open(path) as dataset:
            high, wide = dataset.block_shapes[0]
            last = f"{-(-dataset.width // wide) - 1}_{-(-dataset.height // high) - 1}"
            where = [
                dataset.get_tag_item(f"{what}_{last}", "TIFF", bidx=dataset.count)
                for what in ("BLOCK_OFFSET", "BLOCK_SIZE")
            ]
            # A link that is signed anew leads to the same file.
            return [[public_name(path), *dataset.shape, *dataset.dtypes, *where]]
    except RasterioError as error:
        raise RasterError(f"{path} cannot be opened ({str(error).splitlines()[0]})") from error


def fingerprints(paths: Iterable[str | os.PathLike[str]]) -> list[Any]:
    """Return the fingerprints of several files, in order."""
    return [fingerprint(path) for path in paths]


def _files(path: str) -> list[str]:
    """Return the files of a raster: with its masks, or the sources of a VRT."""
    try:
        with rasterio.open(path) as dataset:
            return [file for file in dataset.files if os.path.isfile(file)]
    except (RasterioError, UnicodeEncodeError):  # whoever reads it says what is wrong
        return []


def _of_file(path: str) -> list[Any]:
    try:
        status = os.stat(path)
    except OSError:
        return [path]  # whoever reads it says what is wrong
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]


def digest(key: Any) -> str:
    """Return the SHA-256 of a value as JSON, arrays included."""
    text = json.dumps(key, sort_keys=True, default=lambda array: array.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path, which means the same on a worker; URLs stay."""
    path = os.fspath(path)
    return path if is_remote(path) else os.path.abspath(path)


def was_written_by(path: str | os.PathLike[str], tags: Mapping[str, str] | None = None) -> bool:
    """Return whether a raster was written by a run with certain tags.

    Parameters
    ----------
    path : path
    tags : dict, optional
        Tags that the raster must have; by default those of any run.
    """
    if not os.path.isfile(path):
        return False
    try:
        with rasterio.open(path) as dataset:
            actual = dataset.tags()
    except RasterioError:
        return False
    if tags is None:
        return "GEOSSDA_KEY" in actual
    return all(actual.get(name) == value for name, value in tags.items())

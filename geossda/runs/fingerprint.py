"""What tells that a raster is still the one that was read before, without reading it."""

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
    """Give the size and time of change of each file of a raster, or of any other file.

    Of remote ones, where their last block lies and how long it is: any change of the pixels of a
    compressed file moves it.
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
    """Give those of several files, in order."""
    return [fingerprint(path) for path in paths]


def _files(path: str) -> list[str]:
    """Name the files a raster is made of: its masks, or what a VRT points to."""
    try:
        with rasterio.open(path) as dataset:
            return [file for file in dataset.files if os.path.isfile(file)]
    except RasterioError:
        return []


def _of_file(path: str) -> list[Any]:
    try:
        told = os.stat(path)
    except OSError:
        return [path]  # whoever reads it says what is wrong
    return [os.path.abspath(path), told.st_size, told.st_mtime_ns]


def digest(key: Any) -> str:
    """Hash what JSON takes, arrays besides."""
    text = json.dumps(key, sort_keys=True, default=lambda array: array.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def absolute(path: str | os.PathLike[str]) -> str:
    """Give a path that means the same on a worker; URLs do already."""
    path = os.fspath(path)
    return path if is_remote(path) else os.path.abspath(path)


def was_written_by(path: str | os.PathLike[str], tags: Mapping[str, str] | None = None) -> bool:
    """Tell whether a file is what a run with these tags makes; without any, of some such run."""
    if not os.path.isfile(path):
        return False
    try:
        with rasterio.open(path) as dataset:
            found = dataset.tags()
    except RasterioError:
        return False
    if tags is None:
        return "GEOSSDA_KEY" in found
    return all(found.get(name) == value for name, value in tags.items())

"""Paths, URLs and the secrets in them: what is read is a URL, what is shown is not all of it."""

import os
import re
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote

# GDAL's way to give a URL with options, of which headers may be secret too.
_OPTIONS = re.compile(r"(/vsicurl(?:_streaming)?)\?([^\s'\"<>{}]*)")
_CREDENTIALS = re.compile(r"(\w+://|https?:/)[^/\s@'\"<>]+@")
_QUERY = re.compile(
    # Up to the punctuation of the sentence around the URL.
    r"((?:\w+://|https?:/)[^\s?#'\"<>]*)[?#][^\s'\"<>{}]*?(?=[:;,.)]*(?:[\s'\"<>{}]|$))(\})?"
)
_PASSWORD = re.compile(r"(?i)\b(password|passwd|pwd|token|secret|api_?key)=('[^']*'|[^\s'\"&]+)")
_DATABASE = re.compile(r"(?i)\b(pg|mysql|mssql|oci|odbc):|\bdbname=")
# GDAL's names of what a file holds, such as NETCDF:"scene.nc":red; one letter is a drive.
_PART_OF_FILE = re.compile(r"[A-Za-z]\w+:")
# Characters of a URL's last part kept in the names of files.
_LONGEST_NAME = 100


def is_remote(path: str) -> bool:
    """Return whether a path is no file but a URL, or a name of GDAL's: ``/vsi``, ``NETCDF:``."""
    if "://" in path or path.startswith("/vsi"):
        return True
    return is_part_of_file(path)


def is_part_of_file(path: str) -> bool:
    """Return whether a path is GDAL's name of a variable, table or page of a file."""
    named = _PART_OF_FILE.match(path) is not None and "://" not in path
    return named and not os.path.exists(path)


def redact(text: str) -> str:
    """Return a text whose URLs have lost user names, passwords, queries and fragments.

    Parameters
    ----------
    text : str
        A path, or a message with paths in it.
    """
    if ":/" in text or "/vsicurl" in text:
        text = _OPTIONS.sub(lambda match: f"{match[1]}/{_url_of(match[2])}", text)
        text = _CREDENTIALS.sub(r"\1", text)
        text = _QUERY.sub(lambda match: match[1] + (match[2] or ""), text)
    return _PASSWORD.sub(r"\1=...", text) if _DATABASE.search(text) else text


def _url_of(options: str) -> str:
    return redact(parse_qs(options).get("url", [""])[0])


def public_name(path: str | os.PathLike[str]) -> str:
    """Return a path as it may be shown and kept: without what gives access to it."""
    return redact(os.fspath(path))


def file_name(path: str | os.PathLike[str]) -> str:
    """Return the last part of a path or URL, as a name that a file can have."""
    text = os.fspath(path)
    if not is_remote(text):
        return os.path.basename(text)
    name = unquote(PurePosixPath(public_name(text).rstrip("/")).name)
    name = re.sub(r"[^\w.+ ()-]", "_", name)
    return name[-_LONGEST_NAME:] or "remote"


def file_stem(path: str | os.PathLike[str]) -> str:
    """Return the last part of a path or URL without its suffix."""
    name = file_name(path)
    # The parts of one file differ in what follows its suffix.
    return name if is_part_of_file(os.fspath(path)) else os.path.splitext(name)[0]

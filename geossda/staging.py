"""Checks before outputs are written, and files that appear whole or not at all."""

import contextlib
import glob
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from geossda.errors import OutputError, OutputExistsError, counted

PathLike = str | os.PathLike[str]
# What temporary files add to an output's name: .NAME.<process id>.part<suffix>.aux.xml
TEMPORARY_NAME_BYTES = 32
# What GDAL keeps beside a raster and reads as a part of it: statistics, a CRS, a mask, overviews.
SIDE_FILES = (".aux.xml", ".msk", ".ovr")
# URLs, of which pathlib makes one slash, and GDAL's names of what is not on a disk.
_REMOTE = re.compile(r"\w{2,}:/|/vsi")


def check_output(path: PathLike, *, overwrite: bool, inputs: Sequence[PathLike] = ()) -> Path:
    """Check, before any work is done, that `path` may be written.

    Parameters
    ----------
    path : path
        The file to write.
    overwrite : bool
        Whether an existing file may be replaced.
    inputs : sequence of path
        Files that must not be written over, whatever `overwrite` says.

    Returns
    -------
    Path
        `path` as a Path.

    Raises
    ------
    OutputExistsError
        The file exists and `overwrite` is False.
    OutputError
        `path` is a URL, its folder is missing or read-only, it is a folder or one of `inputs`, or
        its name is too long for the file system, or not UTF-8.
    """
    if _REMOTE.match(os.fspath(path)):
        raise OutputError(f"output {path} is no local file: write to one, and copy it there")
    path = Path(path)
    _check_name(path)
    for source in inputs:
        if os.path.exists(source) and path.exists() and os.path.samefile(source, path):
            raise OutputError(f"output {path} is also an input: choose another output")
    if path.is_dir():
        raise OutputError(f"output {path} is a folder: name a file in it")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists: choose another output or pass --overwrite")
    for folder in {path.parent, file_behind(path).parent}:
        if not folder.is_dir():
            raise OutputError(f"folder {folder} does not exist: create it first")
        if not os.access(folder, os.W_OK):
            raise OutputError(f"folder {folder} is read-only: choose another output")
    return path


def file_behind(path: PathLike) -> Path:
    """Return the file that a symbolic link leads to, which may be missing; else the path itself."""
    path = Path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _check_name(path: Path) -> None:
    """Raise OutputError if GDAL cannot write such a name, or that of a temporary file beside it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise OutputError(
            f"output {str(path)!a} is a name that is not UTF-8: choose another one"
        ) from error
    longest = 255  # of most file systems, in bytes
    if hasattr(os, "pathconf"):
        with contextlib.suppress(OSError, ValueError):
            longest = os.pathconf(path.parent, "PC_NAME_MAX")
    length = len(os.fsencode(path.name))
    if length > longest - TEMPORARY_NAME_BYTES:
        raise OutputError(
            f"the name of output {path} has {counted(length, 'byte')}, at most "
            f"{longest - TEMPORARY_NAME_BYTES} leave room for temporary files: choose a shorter one"
        )


@contextlib.contextmanager
def atomic_write(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which becomes `path` if the block ends well.

    A symbolic link stays one: the file that it leads to is written. Side files of what was there
    before go: GDAL would take them for parts of the new file. If the block ends early (an error,
    Ctrl-C, a cancel), the temporary file is removed, with the side files of GDAL and SQLite.

    Parameters
    ----------
    path : path
        The file to write or replace.

    Yields
    ------
    Path
        ``.<stem>.<pid>.part<suffix>`` in the folder of the file; the suffix stays last, since
        drivers are chosen by it.

    Raises
    ------
    OutputError
        The file cannot be written or renamed.
    """
    path = Path(path)
    file = file_behind(path)
    # The suffix of what the user named chooses the driver.
    part = file.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, file)
        for name in {path, file}:
            for suffix in SIDE_FILES:
                name.with_name(name.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for leftover in part.parent.glob(f"{glob.escape(part.name)}*"):
            leftover.unlink(missing_ok=True)


def check_space(folder: PathLike, needed_bytes: int) -> None:
    """Check that the disk of a folder has room.

    Parameters
    ----------
    folder : path
    needed_bytes : int
        Upper limit of what will be written.

    Raises
    ------
    OutputError
        Less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"{folder} has {free / 1e9:.1f} GB free, the result needs up to "
            f"{needed_bytes / 1e9:.1f} GB: free some space or choose another output"
        )

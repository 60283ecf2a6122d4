"""A file that one process at a time can hold; it falls free when that process ends, however."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from geossda.errors import OutputError


@contextlib.contextmanager
def locked(path: Path, otherwise: str) -> Iterator[None]:
    """Hold a lock file.

    Parameters
    ----------
    path : Path
    otherwise : str
        Message of the error.

    Raises
    ------
    OutputError
        Another process holds it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        try:
            _lock(handle)
        except OSError as error:
            raise OutputError(otherwise) from error
        yield
    finally:
        os.close(handle)


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

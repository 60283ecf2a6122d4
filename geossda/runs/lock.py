"""Locks on outputs: one process at a time checks, makes and replaces a file."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from geossda.errors import OutputError
from geossda.staging import PathLike, check_output

_HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


@contextlib.contextmanager
def output_lock(output: PathLike) -> Iterator[None]:
    """Hold the lock on an output.

    The lock is a hidden file beside the output, removed at the end. The system frees it when the
    process ends, however it ends.

    Parameters
    ----------
    output : path

    Raises
    ------
    OutputError
        Another process holds the lock, or the folder cannot be written to.
    """
    output = Path(output)
    path = output.with_name(f".{output.name}.lock")
    handle = _open_locked(path, output)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            os.unlink(path)
        os.close(handle)


def _open_locked(path: Path, output: Path) -> int:
    """Return a handle that holds the lock of a file which is still in its place."""
    while True:
        try:
            # A symbolic link of that name is not ours.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
        try:
            _lock(handle)
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                os.close(handle)
                raise OutputError(
                    f"{output} is being made by another process: wait for it"
                ) from error
            return handle  # a file system without locks
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # its last holder has removed it meanwhile


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def claimed_output(
    output: PathLike, *, overwrite: bool, inputs: Sequence[PathLike] = ()
) -> Iterator[Path]:
    """Hold the lock on an output that may be written.

    Parameters are those of :func:`geossda.staging.check_output`, which is asked again under the
    lock: another process may have finished the file meanwhile.

    Yields
    ------
    Path
        The output.
    """
    check_output(output, overwrite=overwrite, inputs=inputs)
    with output_lock(output):
        yield check_output(output, overwrite=overwrite, inputs=inputs)

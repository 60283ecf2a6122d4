"""Locks on outputs: one process at a time checks, makes and replaces a file."""

import contextlib
import errno
import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from geossda.errors import OutputError
from geossda.layers import split_layer
from geossda.staging import PathLike, file_behind

P = ParamSpec("P")
R = TypeVar("R")

_HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


@contextlib.contextmanager
def output_lock(output: PathLike) -> Iterator[None]:
    """Hold the lock on an output, or on the file that it is a symbolic link to.

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
    file = file_behind(output)
    path = file.with_name(f".{file.name}.lock")
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
                    f"{output} is being written by another process: wait until it has finished"
                ) from error
            return handle  # a file system without locks
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # its last holder has removed it meanwhile


def exclusive(
    outputs: Callable[[Mapping[str, Any]], Iterable[PathLike | None]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that holds the locks of a function's outputs while it runs.

    What it checks before its work (that an output is not there, or what it holds) is then still
    so when it replaces the output.

    Parameters
    ----------
    outputs : callable
        Returns the outputs' paths from the function's arguments by name; None is no output.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def locked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            files = {split_layer(path)[0] for path in outputs(given.arguments) if path is not None}
            with contextlib.ExitStack() as locks:
                for file in sorted(files):
                    # Else the function says what is wrong.
                    if os.access(file_behind(file).parent, os.W_OK):
                        locks.enter_context(output_lock(file))
                return function(*args, **kwargs)

        return locked

    return decorate


if os.name == "nt":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

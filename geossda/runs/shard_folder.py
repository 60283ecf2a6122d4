"""The hidden folder of an output's shards: created, resumed by a later run, and removed.

Nothing is removed but files of names that shards have, in a folder that holds our key; what
somebody else has put there stays.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geossda.errors import OutputError
from geossda.progress import SILENT, Progress
from geossda.runs.checksums import SUFFIX, is_intact, publish
from geossda.runs.shard_layout import Layout
from geossda.runs.shards import Shards
from geossda.runs.state import load_state
from geossda.staging import PathLike, check_space

RESUME_HINT = "run the same command again to go on"
_KEY = "key.json"
_OURS = re.compile(
    r"(\d{6}(\.[0-9a-f]{12}\.tmp)?\.tif|\w+(\.\d+\.tmp)?\.npz|whole\.vrt|key\.json(\.tmp)?|lock)"
    rf"({re.escape(SUFFIX)}|\.aux\.xml)?"
)


def shards_folder(output: PathLike) -> Path:
    """Return the folder of an output's shards."""
    return Path(output).with_name(f".{Path(output).name}.parts")


def is_resumable(output: PathLike, key: Mapping[str, Any]) -> bool:
    """Return whether a run with the same key has been interrupted.

    Parameters
    ----------
    output : path
    key : mapping
        What the pixels follow from.
    """
    return _has_key(shards_folder(output), key)


def load_if_matching(output: PathLike, key: Mapping[str, Any], name: str) -> Any:
    """Return the state that an interrupted run with the same key has saved, or None.

    Parameters
    ----------
    output : path
    key : mapping
        What the pixels follow from.
    name : str
        Name of the state.
    """
    folder = shards_folder(output)
    path = folder / f"{name}.npz"
    return load_state(path) if _has_key(folder, key) and is_intact(path) else None


@contextlib.contextmanager
def open_shards(
    output: PathLike,
    layout: Layout,
    key: Mapping[str, Any],
    *,
    resume: bool,
    progress: Progress = SILENT,
) -> Iterator[Shards]:
    """Open the folder of an output's shards; it is removed when the block ends well.

    If the block ends early, what is finished is kept for the next run; unless `resume` is False,
    when nothing is taken up and nothing kept. The caller holds the output's lock.

    Parameters
    ----------
    output : path
    layout : Layout
    key : mapping
        What the pixels follow from, as JSON takes it. Shards made from another one are removed.
    resume : bool
    progress : Progress

    Raises
    ------
    OutputError
        The folder cannot be used, or the disk has no room for the result.
    """
    folder = shards_folder(output)
    check_shards_folder(output)
    remove_leftovers(Path(output))
    if not resume:
        _clear(folder)
        _remove(folder)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".geossda-{os.getpid()}-"
        ) as temporary:
            shards = Shards(Path(temporary), layout)
            _check_room(shards)
            yield shards
        return
    if not _has_key(folder, key):
        if _has_results(folder):
            progress.note(f"{output}: inputs or settings have changed, so it is begun anew")
        _clear(folder)
    _begin(folder, key)
    shards = Shards(folder, layout)
    try:
        if damaged := shards.remove_damaged():
            progress.note(f"{output}: {damaged} damaged shards are computed again")
        if done := len(layout.strips) - len(shards.missing()):
            progress.note(f"{output}: resuming, {done} of {len(layout.strips)} shards are finished")
        _check_room(shards)
        yield shards
    except BaseException as error:
        if _has_results(folder):
            error.add_note(RESUME_HINT)
        else:
            _clear(folder)
            _remove(folder)
        raise
    with contextlib.suppress(OutputError):  # the output is whole
        _clear(folder)
    _remove(folder)


def remove_leftovers(output: Path) -> None:
    """Remove what killed processes have left of an output.

    These are files under the names of :func:`geossda.staging.atomic_write`, whose process is gone.
    """
    name = re.compile(
        rf"\.{re.escape(output.stem)}\.(\d+)\.part{re.escape(output.suffix)}.*", re.DOTALL
    )
    if os.name != "posix":
        return  # elsewhere asking for a process ends it
    for path in output.parent.glob(".*.part*"):
        match = name.fullmatch(path.name)
        if match and path.is_file() and not _is_running(int(match[1])):
            path.unlink(missing_ok=True)


def check_shards_folder(output: PathLike) -> None:
    """Check that the folder of an output's shards is missing, or left by an earlier run of ours.

    Raises
    ------
    OutputError
        It is a symbolic link, or holds files of our names but no key, or cannot be read.
    """
    folder = shards_folder(output)
    if os.path.islink(folder):
        raise OutputError(f"{folder} is a symbolic link, where shards are kept: remove it")
    if not os.path.exists(folder):
        return
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise OutputError(f"cannot read {folder}: {error.strerror or error}") from error
    if any(_OURS.fullmatch(name) for name in names) and not {_KEY, f"{_KEY}.tmp"} & {*names}:
        if names != ["lock"]:
            raise OutputError(
                f"{folder} is where shards are kept, but was not made by geossda: move it away"
            )


def _begin(folder: Path, key: Mapping[str, Any]) -> None:
    """Make the folder and write the key, which marks it as ours."""
    temporary = folder / f"{_KEY}.tmp"
    try:
        folder.mkdir(exist_ok=True)
        if not _has_key(folder, key):
            temporary.write_text(json.dumps(key))
            publish(temporary, folder / _KEY)
        for path in folder.glob("*.tmp.*"):  # of attempts that were killed
            if _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
            _remove(folder)
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error


def _check_room(shards: Shards) -> None:
    """Check that the disk has room for the missing shards and for the result beside them."""
    layout = shards.layout
    strips = (layout.strips[index] for index in shards.missing())
    missing_px = sum(strip.height * strip.width for strip in strips)
    whole_px = int(layout.grid.shape.y) * int(layout.grid.shape.x)
    check_space(shards.folder, (missing_px + whole_px // 2) * layout.bytes_per_pixel())


def _has_key(folder: Path, key: Mapping[str, Any]) -> bool:
    """Return whether a folder, which is no link, holds a key."""
    if os.path.islink(folder):
        return False
    try:
        return bool(json.loads((folder / _KEY).read_text()) == json.loads(json.dumps(key)))
    except (OSError, ValueError):
        return False


def _has_results(folder: Path) -> bool:
    """Return whether a folder holds anything worth resuming from."""
    return any(
        _OURS.fullmatch(path.name) and path.suffix in (".tif", ".npz") and ".tmp." not in path.name
        for path in folder.glob("*")
    )


def _clear(folder: Path) -> None:
    """Remove all files of a folder that have names of ours.

    Raises
    ------
    OutputError
        A file cannot be removed.
    """
    try:
        # The key last, since files without it are not taken for ours.
        for path in sorted(folder.glob("*"), key=lambda path: path.name == _KEY):
            if _OURS.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot empty {folder}: {error.strerror or error}") from error


def _remove(folder: Path) -> None:
    """Remove an empty folder; with files that are not ours, it stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True

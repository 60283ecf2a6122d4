"""Measured state in a file, every bit of it, without pickles."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from geossda.errors import OutputError
from geossda.runs.checksums import publish

_TREE = "tree"


def save_state(path: Path, state: Any) -> None:
    """Write state to a file, whole or not at all, with its checksum beside it.

    Parameters
    ----------
    path : Path
        An ``.npz`` file.
    state : dict, list, array, str, float, int or None
        Nested as deep as needed; keys are texts.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    arrays: dict[str, Any] = {}

    def flattened(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[f"a{len(arrays)}"] = value
            return {"array": f"a{len(arrays) - 1}"}
        if isinstance(value, dict):
            return {"dict": {key: flattened(entry) for key, entry in value.items()}}
        if isinstance(value, list | tuple):
            return [flattened(entry) for entry in value]
        return value

    tree = json.dumps(flattened(state))
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")
    try:
        np.savez(temporary, allow_pickle=False, **arrays, **{_TREE: np.array(tree)})
        publish(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path) -> Any:
    """Return the state that :func:`save_state` has written; tuples come back as lists.

    Raises
    ------
    OutputError
        The file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        tree = json.loads(str(arrays.pop(_TREE)))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise OutputError(f"{path} is damaged: run the same command again") from error

    def nested(value: Any) -> Any:
        if isinstance(value, list):
            return [nested(entry) for entry in value]
        if isinstance(value, dict) and "array" in value:
            return arrays[value["array"]]
        if isinstance(value, dict):
            return {key: nested(entry) for key, entry in value["dict"].items()}
        return value

    return nested(tree)

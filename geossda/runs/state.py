"""Measured numbers in a file, every bit of them, without pickles."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from geossda.errors import OutputError

_TREE = "tree"


def save_state(path: Path, numbers: Any) -> None:
    """Write dicts and lists of arrays, texts, floats and None, whole or not at all."""
    arrays: dict[str, Any] = {}

    def planted(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[f"a{len(arrays)}"] = value
            return {"array": f"a{len(arrays) - 1}"}
        if isinstance(value, dict):
            return {"dict": {key: planted(part) for key, part in value.items()}}
        if isinstance(value, list | tuple):
            return [planted(part) for part in value]
        return value

    tree = json.dumps(planted(numbers))
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.tmp.npz")
    try:
        np.savez(temporary, allow_pickle=False, **arrays, **{_TREE: np.array(tree)})
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path) -> Any:
    """Read what :func:`save_state` has written; tuples come back as lists."""
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise OutputError(f"{path} is damaged: remove its folder and start over") from error

    def grown(value: Any) -> Any:
        if isinstance(value, list):
            return [grown(part) for part in value]
        if isinstance(value, dict) and "array" in value:
            return arrays[value["array"]]
        if isinstance(value, dict):
            return {key: grown(part) for key, part in value["dict"].items()}
        return value

    return grown(json.loads(str(arrays.pop(_TREE))))

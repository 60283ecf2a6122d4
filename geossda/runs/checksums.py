"""Files that are used again only if their checksum agrees.

A power cut, a full disk or a faulty one can leave a file of the right name without its contents.
"""

import hashlib
import os
from pathlib import Path

SUFFIX = ".sha256"


def publish(temporary: Path, path: Path) -> None:
    """Move a finished file to its name, once it is on disk and its checksum beside it.

    Parameters
    ----------
    temporary : Path
        The file, in the folder of `path`.
    path : Path
        Its name from now on; an existing file is replaced.
    """
    checksum = path.with_name(path.name + SUFFIX)
    with open(temporary, "rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    with open(checksum, "w") as file:
        file.write(f"{digest}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def is_intact(path: Path) -> bool:
    """Return whether a file is there and has the checksum that :func:`publish` wrote."""
    try:
        expected = path.with_name(path.name + SUFFIX).read_text().strip()
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected
    except (OSError, UnicodeDecodeError):
        return False


def remove(path: Path) -> None:
    """Remove a file and its checksum, if they are there."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + SUFFIX).unlink(missing_ok=True)

"""Layers of vector files: named in a path, and replaced in a GeoPackage that holds others."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from geossda.errors import OutputError
from geossda.staging import PathLike, atomic_write, check_space

# As QGIS writes it in the sources of its layers.
_NAMED = "|layername="


def split_layer(path: PathLike) -> tuple[Path, str | None]:
    """Split ``FILE|layername=NAME`` into the file and the name of its layer.

    Returns
    -------
    path : Path
    layer : str or None
        None where the path names no layer.
    """
    file, named, rest = os.fspath(path).partition(_NAMED)
    # What QGIS appends besides, such as |geometrytype=Polygon, chooses no layer.
    return Path(file), (rest.split("|")[0] or None) if named else None


def is_split(path: PathLike) -> bool:
    """Return whether what reads vector files takes a path for one of a file in an archive.

    It cuts paths at exclamation marks, and names at semicolons.
    """
    return "!" in os.fspath(path) or ";" in Path(path).name


def holds_others(path: Path, layer: str) -> bool:
    """Return whether a GeoPackage holds tables, or styles, besides one layer and its own.

    Parameters
    ----------
    path : Path
        May be missing, or no database at all: such a file holds nothing to keep.
    layer : str

    Raises
    ------
    OutputError
        A database of another kind, which is not ours to replace.
    """
    if not path.is_file():
        return False
    try:
        with _reading(path) as database:
            tables = {
                name
                for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
            }
            if not tables:
                return False
            if "gpkg_contents" not in tables:
                raise OutputError(
                    f"{path} is a SQLite database and no GeoPackage: choose another output"
                )
            contents = {
                name for (name,) in database.execute("SELECT table_name FROM gpkg_contents")
            }
            styled = {layer}
            if "layer_styles" in tables:
                styled |= {
                    name for (name,) in database.execute("SELECT f_table_name FROM layer_styles")
                }
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # of what a damaged file names
        return False
    known = contents | {layer, "layer_styles"}
    others = {
        name for name in tables - known if not name.startswith(("gpkg_", "rtree_", "sqlite_"))
    }
    return bool(others or contents - {layer, "layer_styles"} or styled - {layer})


@contextlib.contextmanager
def atomic_layer(path: Path, layer: str) -> Iterator[tuple[Path, bool]]:
    """Yield a temporary path to write one layer to; what else a GeoPackage holds is kept.

    Parameters
    ----------
    path : Path
        The output; only a GeoPackage holds several layers.
    layer : str
        Replaced if it is there.

    Yields
    ------
    part : Path
        Renamed to `path` if the block ends well.
    beside_others : bool
        Whether `part` is a copy of `path` without the layer; else it does not exist yet.

    Raises
    ------
    OutputError
        A database that is no GeoPackage, or no room for the copy.
    """
    others = path.suffix.lower() == ".gpkg" and holds_others(path, layer)
    with atomic_write(path) as part:
        if others:
            check_space(path.parent, path.stat().st_size)
            shutil.copyfile(path, part)
            _drop_styles(part, layer)
        yield part, others
        if path.suffix.lower() == ".gpkg":
            set_dates(part, layer)


def set_dates(path: str | os.PathLike[str], layer: str) -> None:
    """Set the dates of a layer and its style to ``SOURCE_DATE_EPOCH``, if the environment has it.

    Equal runs then give equal bytes (https://reproducible-builds.org/specs/source-date-epoch).

    Parameters
    ----------
    path : path
        A GeoPackage just written.
    layer : str

    Raises
    ------
    OutputError
        The variable is no number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return
    try:
        moment = datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise OutputError(
            f"SOURCE_DATE_EPOCH is {given!r}, seconds since 1970 were expected: correct or unset it"
        ) from error
    date = f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
    with closing(sqlite3.connect(path)) as database, database:
        for table, column, named in (
            ("gpkg_contents", "last_change", "table_name"),
            ("gpkg_metadata_reference", "timestamp", "table_name"),
            ("layer_styles", "update_time", "f_table_name"),
        ):
            query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
            if database.execute(query, (table,)).fetchone():
                database.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {named} IN (?, 'layer_styles')",
                    (date, layer),
                )


def _drop_styles(path: Path, layer: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        tables = "SELECT 1 FROM sqlite_master WHERE type='table' AND name='layer_styles'"
        if database.execute(tables).fetchone():
            database.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (layer,))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as database:
        yield database

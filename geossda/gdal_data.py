"""Keep the data files of other GDAL and PROJ installations out of this process.

PostGIS, GRASS, OSGeo4W or conda leave ``PROJ_LIB`` or ``GDAL_DATA`` in the environment. A database
of another version makes PROJ lose every CRS, and GDAL then writes a local one without an error. The
wheels of rasterio, pyogrio and pyproj bring data of their own.
"""

import contextlib
import importlib.util
import os
from collections.abc import MutableMapping
from pathlib import Path

PROJ_VARIABLES = ("PROJ_LIB", "PROJ_DATA")
# Plug-ins of another GDAL cannot be loaded either.
GDAL_VARIABLES = ("GDAL_DATA", "GDAL_DRIVER_PATH")
# Folders of data in wheels; packages of a distribution or of conda have none and need theirs.
_PROJ_FOLDERS = {
    "rasterio": "proj_data",
    "pyogrio": "proj_data",
    "pyproj": "proj_dir/share/proj",
}


def drop_foreign_data(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Remove variables that lead GDAL or PROJ to data they cannot use.

    Parameters
    ----------
    environment : mapping
        Changed in place.

    Returns
    -------
    list of str
        The variables removed: none where the libraries have no data of their own, and none whose
        database PROJ can use, which may hold more grids than its own.
    """
    given = [name for name in (*PROJ_VARIABLES, *GDAL_VARIABLES) if name in environment]
    bundled = _bundled_databases() if given else []
    if not bundled:
        return []
    foreign = []
    for name in given:
        if name in PROJ_VARIABLES:
            folders = environment[name].split(os.pathsep)
            if any(_usable(Path(folder) / "proj.db", bundled) for folder in folders if folder):
                continue
        foreign.append(name)
        del environment[name]
    return foreign


def _bundled_databases() -> list[Path]:
    """Return PROJ's databases in the wheels that are installed; rasterio's comes first."""
    databases = []
    for package, folder in _PROJ_FOLDERS.items():
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            path = Path(place) / folder / "proj.db"
            if path.is_file():
                databases.append(path)
    return databases if databases and "rasterio" in str(databases[0]) else []


def _usable(database: Path, bundled: list[Path]) -> bool:
    """Return whether a database has the layout of each bundled one, or a newer minor version."""
    version = _layout(database)
    if version is None:
        return False
    own = [known for known in map(_layout, bundled) if known is not None]
    return all(version[0] == known[0] and version[1] >= known[1] for known in own)


def _layout(database: Path) -> tuple[int, int] | None:
    import sqlite3

    if not database.is_file():
        return None
    query = "SELECT value FROM metadata WHERE key = 'DATABASE.LAYOUT.VERSION.' || ?"
    try:
        address = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            numbers = [connection.execute(query, [part]).fetchone() for part in ("MAJOR", "MINOR")]
        return int(numbers[0][0]), int(numbers[1][0])
    except (sqlite3.DatabaseError, TypeError, ValueError):
        return None

"""Footprints to a file: GeoPackage, FlatGeobuf, GeoParquet or GeoJSON, batch by batch."""

import importlib.util
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from geossda.errors import OutputError
from geossda.footprints import geopackage
from geossda.footprints.geopackage import LAYER, add_style
from geossda.footprints.records import Footprints
from geossda.footprints.stream import RecordStream
from geossda.formats import VECTOR_FORMATS, suffix_of, vector_suffixes
from geossda.layers import atomic_layer, holds_others, is_split, set_dates, split_layer
from geossda.raster.vector_files import PARQUET_EXTRA
from geossda.staging import atomic_write


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    output : Path
        The footprints.
    buildings : int
        Found now, what was there before not counted.
    area_m2 : float
        Sum of their areas.
    """

    output: Path
    buildings: int
    area_m2: float


def check_vector_output(path: str | os.PathLike[str], *, append: bool) -> None:
    """Check a vector output's name, and that no other program has it open.

    Parameters
    ----------
    path : path
        A layer of a GeoPackage may be named, as ``FILE|layername=NAME``.
    append : bool

    Raises
    ------
    OutputError
        A suffix no format goes with, a path that could not be read, a layer or appending where a
        file holds one layer only, a database that is no GeoPackage, a GeoPackage in use, or
        GeoParquet without what writes it.
    """
    path, layer = split_layer(path)
    suffixes = vector_suffixes(writes=True)
    if suffix_of(path) not in suffixes:
        raise OutputError(f"{path}: a name ending in {', '.join(suffixes)} was expected")
    if is_split(path):
        raise OutputError(f"{path} has ! or ; in its path: choose another output")
    if not VECTOR_FORMATS[suffix_of(path)].driver and not importlib.util.find_spec("pyarrow"):
        raise OutputError(f"{path} is GeoParquet: {PARQUET_EXTRA} to write it, or choose another")
    if append and not VECTOR_FORMATS[suffix_of(path)].layers:
        raise OutputError(f"{path}: only a GeoPackage (.gpkg) can be appended to")
    if layer is not None and not VECTOR_FORMATS[suffix_of(path)].layers:
        raise OutputError(f"{path} holds one layer, so none can be named: write a .gpkg for that")
    if path.suffix.lower() == ".gpkg" and path.exists():
        _require_unused(path)
        holds_others(path, layer or LAYER)


def check_append(path: str | os.PathLike[str], crs: str, *, probabilities: bool) -> None:
    """Check, before any work is done, that footprints can be appended to what is there.

    Parameters
    ----------
    path : path
        A GeoPackage, maybe with a layer's name; one that does not exist takes anything.
    crs : str
        WKT of what is appended.
    probabilities : bool
        Whether what is appended has confidences.

    Raises
    ------
    OutputError
        The layer is missing, lacks fields, or is of another CRS or kind of geometry.
    """
    file, layer = split_layer(path)
    if file.exists():
        from geossda.footprints.ogr import last_id

        last_id(file, crs, probabilities, layer or LAYER)


def _require_unused(path: Path) -> None:
    """Raise if another program has a GeoPackage open: its journal would spoil a new file."""
    journal = path.with_name(path.name + "-wal")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as database:
            # Taken only to see whether it can be.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
            database.rollback()
    except sqlite3.DatabaseError as error:
        if "locked" not in str(error):
            return  # no database at all; --overwrite may replace it
        raise OutputError(
            f"{path} is open in another program, such as QGIS: remove the layer there, or choose "
            "another output"
        ) from error
    if journal.exists() and journal.stat().st_size:
        raise OutputError(
            f"{path} has changes pending in {journal.name}: close the program that made them"
        )


def write_features(
    batches: Iterable[Footprints],
    path: str | os.PathLike[str],
    crs: str,
    metadata: Mapping[str, str],
    *,
    probabilities: bool,
    multi: bool = False,
    append: bool = False,
) -> Written:
    """Write a layer of footprints, ``buildings`` if none is named; whole or not at all.

    Parameters
    ----------
    batches : iterable of Footprints
        Drawn as the file grows, so that memory does not.
    path : path
        Its suffix says the format; GeoJSON is in longitude and latitude, whatever the CRS. A
        GeoPackage that exists keeps its other layers, tables and styles.
    crs : str
        WKT of the features.
    metadata : mapping
        Kept with the layer where the format can.
    probabilities : bool
        Whether there are confidences to write.
    multi : bool
        Whether shapes are MultiPolygons.
    append : bool
        Add to what a GeoPackage holds already.

    Raises
    ------
    OutputError
        The file cannot be written, or what it holds does not fit what is appended.
    """
    path, named = split_layer(path)
    layer = named or LAYER
    suffix = path.suffix.lower()
    append = append and path.exists()
    first = 0
    if append:
        from geossda.footprints.ogr import last_id

        first = last_id(path, crs, probabilities, layer)
    stream = RecordStream(batches, probabilities, first)
    # What is appended to keeps its style too; else the layer is replaced, and its style.
    target = atomic_write(path) if append else atomic_layer(path, layer)
    with target as given:
        part, beside_others = given if isinstance(given, tuple) else (given, False)
        write, failures = _writer(
            suffix, crs, layer, append=append, new_file=not (append or beside_others)
        )
        try:
            if append:
                shutil.copyfile(path, part)
            kind = "MultiPolygon" if multi else "Polygon"
            write(stream, part, crs, metadata, kind)
            if append:
                set_dates(part, layer)
            elif suffix == ".gpkg":
                add_style(part, layer)
        except failures as error:
            # An error of ours, on its way through Arrow's C interface, has lost its name.
            if stream.error is not None:
                raise stream.error from None
            reason = str(error).splitlines()[0]
            raise OutputError(f"cannot write {path}: {reason}") from error
    return Written(path, stream.count - stream.first, stream.area_m2)


def _writer(
    suffix: str, crs: str, layer: str, *, append: bool, new_file: bool
) -> tuple[Callable[..., None], tuple[type[Exception], ...]]:
    """Load what writes a format, and the errors it raises; batches drawn ahead go on meanwhile."""
    own = new_file and layer == LAYER
    if suffix == ".gpkg" and own and geopackage.srs_of(crs) is not None:
        return geopackage.write, geopackage.FAILURES
    if not VECTOR_FORMATS[suffix].driver:
        from geossda.footprints import geoparquet

        return geoparquet.write, geoparquet.FAILURES
    from geossda.footprints import ogr

    return partial(ogr.write, append=append, layer=layer), (*ogr.FAILURES, RuntimeError)

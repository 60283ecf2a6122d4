"""Footprints to a file: GeoPackage, FlatGeobuf, GeoParquet or GeoJSON, batch by batch."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely

from geossda.errors import OutputError
from geossda.staging import staged
from geossda.vector.features import Features
from geossda.vector.geopackage import LAYER, add_style

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON", ".parquet": ""}
# QGIS 3.22 warns of 1.4 and newer.
_GPKG = {"VERSION": "1.3"}
# So many footprints are encoded at a time, and are a row group of GeoParquet.
_BATCH = 2_000
_FAILURES = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    sqlite3.Error,
    pa.ArrowException,
)


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

    Raises
    ------
    OutputError
        A suffix no format goes with, appending to what takes none, or a GeoPackage in use.
    """
    path = Path(path)
    if path.suffix.lower() not in DRIVERS:
        raise OutputError(f"{path}: a name ending in {', '.join(DRIVERS)} was expected")
    if append and path.suffix.lower() != ".gpkg":
        raise OutputError(f"{path}: only a GeoPackage (.gpkg) can be appended to")
    if path.suffix.lower() == ".gpkg" and path.exists():
        _require_unused(path)


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
    batches: Iterable[Features],
    path: str | os.PathLike[str],
    crs: str,
    metadata: Mapping[str, str],
    *,
    probabilities: bool,
    multi: bool = False,
    append: bool = False,
) -> Written:
    """Write layer ``buildings``; whole or not at all.

    Parameters
    ----------
    batches : iterable of Features
        Drawn as the file grows, so that memory does not.
    path : path
        Its suffix says the format; GeoJSON is in longitude and latitude, whatever the CRS.
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
    path = Path(path)
    suffix = path.suffix.lower()
    append = append and path.exists()
    stream = _Stream(batches, probabilities, _last_id(path, crs, probabilities) if append else 0)
    with staged(path) as part:
        try:
            if append:
                shutil.copyfile(path, part)
            kind = "MultiPolygon" if multi else "Polygon"
            if suffix == ".parquet":
                _write_parquet(stream, part, crs, metadata, kind)
            else:
                _write_ogr(stream, part, crs, metadata, kind, append=append)
            if suffix == ".gpkg" and not append:
                add_style(part)
        except (*_FAILURES, RuntimeError) as error:
            # An error of ours, on its way through Arrow's C interface, has lost its name.
            if stream.error is not None:
                raise stream.error from None
            reason = str(error).splitlines()[0]
            raise OutputError(f"cannot write {path}: {reason}") from error
    return Written(path, stream.count - stream.first, stream.area_m2)


class _Stream:
    """Record batches of features, numbered, with their sums."""

    def __init__(self, batches: Iterable[Features], probabilities: bool, first: int) -> None:
        fields = [("id", pa.int64()), ("area_m2", pa.float64()), ("pixels", pa.int64())]
        if probabilities:
            fields += [
                (name, pa.float64()) for name in ("confidence", "confidence_min", "confidence_max")
            ]
        geometry = pa.field(
            "geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"}
        )
        self.schema = pa.schema([*(pa.field(*entry) for entry in fields), geometry])
        self.first = self.count = first
        self.area_m2 = 0.0
        self.error: BaseException | None = None
        self._batches, self._probabilities = batches, probabilities

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            waiting: list[Features] = []
            for batch in self._batches:
                waiting.append(batch)
                if sum(len(each.shapes) for each in waiting) >= _BATCH:
                    yield self._record(waiting)
                    waiting = []
            yield self._record(waiting)
        except BaseException as error:
            self.error = error
            raise

    def _record(self, waiting: list[Features]) -> pa.RecordBatch:
        if not waiting:
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        batch = Features(*(np.concatenate(column) for column in zip(*waiting, strict=True)))
        count = len(batch.shapes)
        numbers = np.arange(self.count + 1, self.count + count + 1)
        self.count += count
        areas = batch.area_m2.round(2)
        self.area_m2 += float(areas.sum())
        columns: list[Any] = [numbers, areas, batch.pixels]
        if self._probabilities:
            columns += [
                np.round(np.asarray(value, float), 4)
                for value in (batch.confidence, batch.lowest, batch.highest)
            ]
        columns.append(pa.array(shapely.to_wkb(batch.shapes), pa.binary()))
        return pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=self.schema)


def _write_ogr(
    stream: _Stream, part: Path, crs: str, metadata: Mapping[str, str], kind: str, *, append: bool
) -> None:
    suffix = part.suffix.lower()
    options: dict[str, Any] = {}
    if suffix == ".gpkg" and not append:
        options["layer_options"] = {
            "GEOMETRY_NAME": "geom",
            "DESCRIPTION": "Building footprints",
        }
        options["dataset_options"] = _GPKG
        options["layer_metadata"] = dict(metadata)
    elif suffix == ".geojson":
        # The standard's own order, precision, CRS and cut at the antimeridian.
        options["layer_options"] = {"RFC7946": "YES", "DESCRIPTION": "Building footprints"}
    pyogrio.raw.write_arrow(
        pa.RecordBatchReader.from_batches(stream.schema, iter(stream)),
        part,
        layer=LAYER,
        driver=DRIVERS[suffix],
        geometry_name="geometry",
        # Cut at the antimeridian polygons are several.
        geometry_type="Unknown" if suffix == ".geojson" else kind,
        crs=crs,
        append=append,
        **options,
    )


def _write_parquet(
    stream: _Stream, part: Path, crs: str, metadata: Mapping[str, str], kind: str
) -> None:
    about = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": [kind],
                "crs": json.loads(pyproj.CRS(crs).to_json()),
            }
        },
    }
    plain = stream.schema.set(
        len(stream.schema) - 1, pa.field("geometry", pa.binary())
    ).with_metadata({**metadata, "geo": json.dumps(about)})
    with pq.ParquetWriter(part, plain, compression="zstd") as writer:
        for batch in stream:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=plain))


def write_errors(frame: gpd.GeoDataFrame, path: str | os.PathLike[str]) -> None:
    """Write layer ``errors`` of a GeoPackage with its default style; whole or not at all."""
    with staged(path) as part:
        try:
            pyogrio.write_dataframe(
                frame,
                part,
                layer="errors",
                driver="GPKG",
                geometry_type="Polygon",
                dataset_options=_GPKG,
                layer_options={"GEOMETRY_NAME": "geom"},
            )
            add_style(part, "errors")
        except _FAILURES as error:
            raise OutputError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


def _last_id(path: Path, crs: str, probabilities: bool) -> int:
    """Give the highest id of the layer to append to, which must be one of ours."""
    try:
        about = pyogrio.read_info(path, layer=LAYER)
    except _FAILURES as error:
        raise OutputError(f"{path} has no layer {LAYER!r} to append to") from error
    expected = {"id", "area_m2", "pixels"} | ({"confidence"} if probabilities else set())
    if missing := sorted(expected - set(about["fields"].tolist())):
        raise OutputError(
            f"layer {LAYER!r} of {path} lacks the fields {', '.join(missing)}: append to a layer "
            "that geossda wrote in the same way"
        )
    if about["crs"] is None or pyproj.CRS(about["crs"]) != pyproj.CRS(crs):
        raise OutputError(
            f"layer {LAYER!r} of {path} is in {about['crs']}, what is appended in "
            f"{pyproj.CRS(crs).name}: choose another output"
        )
    frame = pyogrio.read_dataframe(path, layer=LAYER, columns=["id"], read_geometry=False)
    return int(frame["id"].max()) if len(frame) else 0

"""The features of a vector file with all their attributes, of which the geometries are replaced."""

import contextlib
import json
import sqlite3
import struct
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from geossda.errors import OutputError, VectorError
from geossda.footprints.geopackage import LAYER
from geossda.footprints.ogr import FAILURES
from geossda.formats import VECTOR_FORMATS, suffix_of
from geossda.layers import atomic_layer, split_layer
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import layer_to_read, read_parquet, vector_errors
from geossda.staging import PathLike

_GEOMETRY = "geometry_"  # of no field that would then be lost
_POLYGONAL = {shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON}


@dataclass(frozen=True)
class FeatureTable:
    """A copy of a layer in a GeoPackage of its own.

    OGR copies attributes of every type, and ids; SQL changes the copy, and OGR writes it in
    whatever format. Attributes are never held in memory.

    Attributes
    ----------
    path : Path
    id_column : str
        Of features' ids.
    crs : str or None
        CRS of the geometries, as OGR names it.
    source : path
        What it is a copy of, for messages.
    """

    path: Path
    id_column: str
    crs: str | None
    source: PathLike

    @classmethod
    @contextlib.contextmanager
    def copied(cls, source: PathLike, beside: Path) -> Iterator["FeatureTable"]:
        """Yield a copy of a layer, which lies beside an output and is removed in the end.

        Parameters
        ----------
        source : path
            As :func:`geossda.raster.vector_files.read_shapes` takes it.
        beside : Path

        Raises
        ------
        VectorError
            Missing, unreadable, without geometry, or with several layers that could be meant.
        """
        file, layer = layer_to_read(source)
        with tempfile.TemporaryDirectory(prefix=f".{beside.name}.", dir=beside.parent) as folder:
            path = Path(folder, "features.gpkg")
            with vector_errors(source), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # what OGR repairs as it reads
                about = _copy_parquet(file, path) if layer is None else _copy(file, layer, path)
            yield cls(path, *about, source)

    def geometry(self) -> Shapes:
        """Return the geometries, by their ids in ascending order; None where there is none.

        Raises
        ------
        VectorError
            One of them has a ring that is not closed, or has too few corners.
        """
        with vector_errors(self.source):
            _, _, encoded, _ = pyogrio.raw.read(self.path, layer=LAYER, columns=[])
            return Shapes(shapely.from_wkb(encoded), self.crs)

    def replace(self, geometry: NDArray[np.object_], fields: Mapping[str, NDArray[Any]]) -> None:
        """Replace all geometries, and add fields of numbers.

        Parameters
        ----------
        geometry : (n,) array of shapely geometries
            In the order of :meth:`geometry`.
        fields : mapping of str to (n,) float array
            Fields of these names are replaced.
        """
        geometry = _of_one_kind(geometry)
        with closing(sqlite3.connect(self.path)) as database, database:
            (srs,) = database.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchone()
            present = {
                row[1].lower(): row[1]
                for row in database.execute(f'PRAGMA table_info("{LAYER}")').fetchall()
            }
            for name in fields:
                if name in present:
                    database.execute(f'ALTER TABLE "{LAYER}" DROP COLUMN "{present[name]}"')
                database.execute(f'ALTER TABLE "{LAYER}" ADD COLUMN "{name}" REAL')
            order = f'SELECT "{self.id_column}" FROM "{LAYER}" ORDER BY "{self.id_column}"'
            ids = [id for (id,) in database.execute(order)]
            columns = [values.tolist() for values in fields.values()]
            values = ", ".join(f'"{name}" = ?' for name in (_GEOMETRY, *fields))
            database.executemany(
                f'UPDATE "{LAYER}" SET {values} WHERE "{self.id_column}" = ?',
                zip(_encoded(geometry, srs), *columns, ids, strict=True),
            )

    def has_field(self, name: str) -> bool:
        """Return whether there is a field of a name, in small or large letters."""
        fields = pyogrio.read_info(self.path, layer=LAYER)["fields"]
        return name in {field.lower() for field in fields}

    def write(self, output: PathLike, metadata: Mapping[str, str]) -> None:
        """Write the features as a layer, ``buildings`` if none is named; whole or not at all.

        Parameters
        ----------
        output : path
            Its suffix says the format; GeoJSON is in longitude and latitude. Other layers of a
            GeoPackage are kept.
        metadata : mapping
            Kept with a layer of a GeoPackage.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        file, named = split_layer(output)
        layer = named or LAYER
        with atomic_layer(file, layer) as (part, beside_others):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RuntimeWarning)
                    if not VECTOR_FORMATS[suffix_of(file)].driver:
                        frame = pyogrio.read_dataframe(self.path, layer=LAYER, use_arrow=True)
                        frame.to_parquet(part, compression="zstd")
                    else:
                        self._write(part, layer, metadata, beside_others=beside_others)
            except FAILURES as error:
                reason = str(error).splitlines()[0]
                raise OutputError(f"cannot write {output}: {reason}") from error

    def _write(
        self, part: Path, layer: str, metadata: Mapping[str, str], *, beside_others: bool
    ) -> None:
        form = VECTOR_FORMATS[suffix_of(part)]
        options: dict[str, Any] = {"layer_options": dict(form.layer_options)}
        # Ids of GeoJSON that are text are a field of their own.
        has_ids = form.driver == "GPKG" or (form.driver == "GeoJSON" and not self.has_field("id"))
        if form.driver == "GPKG":
            options["layer_options"]["FID"] = self.id_column
            if self.has_field("geom"):
                options["layer_options"]["GEOMETRY_NAME"] = _GEOMETRY
            options["layer_metadata"] = dict(metadata)
            if not beside_others:
                options["dataset_options"] = {"VERSION": "1.3"}  # QGIS 3.22 warns of newer
        elif has_ids:
            options["layer_options"]["ID_FIELD"] = self.id_column
        with pyogrio.raw.open_arrow(self.path, layer=LAYER, return_fids=has_ids) as (
            about,
            batches,
        ):
            pyogrio.raw.write_arrow(
                batches,
                part,
                layer=layer,
                driver=form.driver,
                geometry_name=about["geometry_name"],
                geometry_type=form.geometry_type or _kind_of(self.geometry().geometry),
                crs=self.crs,
                **options,
            )


def _copy(file: Path, layer: str, target: Path) -> tuple[str, str | None]:
    """Copy a layer by OGR; return the name of the ids' column, and the CRS."""
    with pyogrio.raw.open_arrow(file, layer=layer, return_fids=True) as (about, batches):
        names = {name.lower(): name for name in about["fields"]}
        for name in about["fields"]:
            if names[name.lower()] != name:
                raise VectorError(
                    f"{file} has the fields {name} and {names[name.lower()]}, which differ in case "
                    "only: rename one of them"
                )
        pyogrio.raw.write_arrow(
            batches,
            target,
            layer=LAYER,
            driver="GPKG",
            geometry_name=about["geometry_name"] or "wkb_geometry",
            geometry_type="Unknown",
            crs=about["crs"],
            layer_options=_options(about["fid_column"]),
        )
    return _with_plain_ids(target, about["fid_column"]), about["crs"]


def _copy_parquet(file: Path, target: Path) -> tuple[str, str | None]:
    frame = read_parquet(file)
    for name in frame.columns.drop(frame.geometry.name):
        if frame[name].map(lambda value: isinstance(value, dict | list | np.ndarray)).any():
            frame[name] = frame[name].map(_as_json)
    pyogrio.write_dataframe(
        frame,
        target,
        layer=LAYER,
        driver="GPKG",
        geometry_type="Unknown",
        layer_options=_options("OGC_FID"),
    )
    crs = None if frame.crs is None else frame.crs.to_wkt()
    return _with_plain_ids(target, "OGC_FID"), crs


def _as_json(value: Any) -> str | None:
    """Return a nested value, which other formats have no type for, as text."""
    return None if value is None else json.dumps(value, default=np.ndarray.tolist)


def _with_plain_ids(path: Path, column: str) -> str:
    """Name the column of ids as GeoPackages do, if no field has that name; return the name.

    OGR's own name for it, OGC_FID, is not written to GeoJSON.
    """
    fields = {name.lower() for name in pyogrio.read_info(path, layer=LAYER)["fields"]}
    name = next(name for name in ("fid", "feature_id", column) if name not in fields)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f'ALTER TABLE "{LAYER}" RENAME COLUMN "{column}" TO "{name}"')
    return name


def _options(id_column: str) -> dict[str, str]:
    # An index would have to be kept up to date by functions that SQLite lacks.
    return {"FID": id_column, "GEOMETRY_NAME": _GEOMETRY, "SPATIAL_INDEX": "NO"}


def _of_one_kind(geometry: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return polygons as MultiPolygons where both occur: layers are of one kind."""
    kinds = shapely.get_type_id(geometry)
    if set(kinds[kinds >= 0].tolist()) != _POLYGONAL:
        return geometry
    geometry = geometry.copy()
    alone = kinds == shapely.GeometryType.POLYGON
    geometry[alone] = [shapely.MultiPolygon([polygon]) for polygon in geometry[alone]]
    return geometry


def _kind_of(geometry: NDArray[np.object_]) -> str:
    """Return the geometry type of a layer of geometries."""
    given = geometry[~shapely.is_missing(geometry)]
    kinds = {shape.geom_type for shape in given}
    if len(kinds) != 1:
        return "Unknown"
    return f"{kinds.pop()}{' Z' if shapely.has_z(given).any() else ''}"


def _encoded(geometry: NDArray[np.object_], srs: int) -> Iterator[bytes | None]:
    """Yield geometries as the GeoPackage standard has them: a header, then WKB."""
    for shape, wkb in zip(geometry, shapely.to_wkb(geometry, flavor="iso"), strict=True):
        if shape is None:
            yield None
        else:
            flags = 0b10001 if shape.is_empty else 0b00001  # little-endian, no envelope
            yield struct.pack("<2sBBi", b"GP", 0, flags, srs) + wkb

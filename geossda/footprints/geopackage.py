"""GeoPackages by SQLite alone, and what makes them open looking right in QGIS.

OGR writes the same; but what loads it from Python, pyogrio, loads pandas and GeoPandas too where
they are installed, which takes as long as tracing a mask of 30 Mpx.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pyproj
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Geometries, bounds_of
from geossda.footprints.rtree import Index, insert
from geossda.footprints.stream import RecordStream
from geossda.footprints.wkb import to_wkb

LAYER = "buildings"
FAILURES = (sqlite3.Error,)
# Of coordinates in no CRS, which the standard has as a row of each file.
_NO_SRS = ("Undefined Cartesian SRS", -1, "NONE", -1, "undefined", None)
# Of a geometry: little-endian, with an envelope of x and y.
_HEADER = np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs_id", "<i4"),
                    ("envelope", "<f8", 4)])  # fmt: skip


def srs_of(crs: str) -> tuple[Any, ...] | None:
    """Return the row of a CRS in `gpkg_spatial_ref_sys`.

    None for a CRS without a number of EPSG or ESRI, or without WKT 1: OGR writes those.
    """
    known = pyproj.CRS(crs)
    number = known.to_json_dict().get("id", {})
    if number.get("authority") not in ("EPSG", "ESRI"):
        return None
    try:
        definition = known.to_wkt("WKT1_GDAL")
    except pyproj.exceptions.CRSError:
        return None
    return known.name, number["code"], number["authority"], number["code"], definition, None


def write(
    stream: RecordStream, part: Path, crs: str, metadata: Mapping[str, str], kind: str
) -> None:
    """Write a stream to a new file, in a CRS that :func:`srs_of` has a row for.

    Parameters
    ----------
    stream : RecordStream
        Footprints and their attributes.
    part : Path
        The file to write; it must not exist.
    crs : str
        WKT of the coordinates' CRS; empty for a file that is read again without one.
    metadata : mapping
        Tags of the layer.
    kind : str
        Geometry type of the layer, as ``Polygon``.

    Raises
    ------
    ValueError
        The CRS has no number of EPSG or ESRI; see :func:`srs_of`.
    """
    srs = srs_of(crs) if crs else _NO_SRS
    if srs is None:
        raise ValueError(f"a CRS without a number: {crs}")
    srs_id = srs[1]
    fields = "".join(
        f', "{name}" {"INTEGER" if kind is int else "REAL"}' for name, kind in stream.fields.items()
    )
    extent = np.array([np.inf, np.inf, -np.inf, -np.inf])
    with closing(sqlite3.connect(part, isolation_level=None)) as database:
        # The file is renamed when it is complete, so no journal is needed to roll back.
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        database.executescript("BEGIN;" + _script("geopackage"))
        database.execute(
            "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", srs
        )
        database.execute(
            f'CREATE TABLE {LAYER} ("fid" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, '
            f'"geom" {kind.upper()}{fields})'
        )
        index = Index(database, f"rtree_{LAYER}_geom")
        for shapes, columns in stream:
            first, bounds = columns[0].tolist(), bounds_of(shapes)
            rows = zip(first, _geometries(shapes, bounds, srs_id), first,
                       *(column.tolist() for column in columns[1:]), strict=True)  # fmt: skip
            insert(database, LAYER, list(rows))
            index.add(columns[0], bounds)
            if len(bounds):
                extent[:2] = np.minimum(extent[:2], bounds[:, :2].min(axis=0))
                extent[2:] = np.maximum(extent[2:], bounds[:, 2:].max(axis=0))
        index.finish()
        known = [None] * 4 if np.isinf(extent).any() else extent.tolist()
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, min_x, "
            "min_y, max_x, max_y, srs_id) VALUES (?, 'features', ?, 'Building footprints', "
            "?, ?, ?, ?, ?)",
            (LAYER, LAYER, *known, srs_id),
        )
        database.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)",
            (LAYER, kind.upper(), srs_id),
        )
        database.execute(
            "INSERT INTO gpkg_ogr_contents VALUES (?, ?)", (LAYER, stream.count - stream.first)
        )
        database.execute(
            "INSERT INTO gpkg_metadata (md_standard_uri, metadata) VALUES ('http://gdal.org', ?)",
            (_metadata_xml(metadata),),
        )
        database.execute(
            "INSERT INTO gpkg_metadata_reference (reference_scope, table_name, md_file_id) "
            "VALUES ('table', ?, 1)",
            (LAYER,),
        )
        database.executescript("BEGIN;" + _script("triggers") + "COMMIT;")


def _geometries(shapes: Geometries, bounds: NDArray[np.float64], srs_id: int) -> list[bytes]:
    """Encode geometries as the standard has them: a header, then WKB."""
    headers = np.zeros(len(bounds), _HEADER)
    headers["magic"], headers["flags"], headers["srs_id"] = b"GP", 3, srs_id
    headers["envelope"] = bounds[:, [0, 2, 1, 3]]
    return to_wkb(shapes, headers)


def _metadata_xml(metadata: Mapping[str, str]) -> str:
    """Write metadata as OGR does."""
    items = "".join(
        f"    <MDI key={quoteattr(key)}>{escape(value)}</MDI>\n" for key, value in metadata.items()
    )
    return (
        "<GDALMultiDomainMetadata>\n  <Metadata>\n"
        f"{items}  </Metadata>\n</GDALMultiDomainMetadata>\n"
    )


def _script(name: str) -> str:
    return (resources.files("geossda.footprints") / f"{name}.sql").read_text()


def add_style(path: str | os.PathLike[str], layer: str = LAYER, style: str | None = None) -> None:
    """Make the style of a layer its default in QGIS.

    Parameters
    ----------
    path : path
        A GeoPackage just written.
    layer : str
        Its layer.
    style : str, optional
        The QML file of that name beside this one; the layer's own by default.
    """
    style = style or LAYER
    qml = (resources.files("geossda.footprints") / f"{style}.qml").read_text()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous=OFF")  # as the file has its name yet to get
        database.execute(
            "CREATE TABLE IF NOT EXISTS layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT "
            "NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), "
            "f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, "
            "useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30), "
            "update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, 'geom', ?, ?, '', 1, 'Default of geossda', '')",
            (layer, f"geossda {style}", qml),
        )
        database.execute(
            "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description) "
            "VALUES ('layer_styles', 'attributes', 'layer_styles', 'QGIS styles')"
        )

"""What OGR writes and reads: GeoPackage, FlatGeobuf and GeoJSON.

pyogrio loads pandas and GeoPandas, which takes as long as a small raster: import this module where
a file is written, not before.
"""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyogrio
import pyproj

from geossda.errors import OutputError
from geossda.footprints.arrow import arrow_batches, schema_of
from geossda.footprints.geopackage import LAYER, add_style
from geossda.footprints.stream import RecordStream
from geossda.formats import VECTOR_FORMATS, suffix_of
from geossda.layers import atomic_layer, split_layer

_POLYGONS = ("Polygon", "MultiPolygon", "Polygon Z", "MultiPolygon Z")
# QGIS 3.22 warns of 1.4 and newer.
_GPKG = {"VERSION": "1.3"}
FAILURES = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
    sqlite3.Error,
    pa.ArrowException,
)


def write(
    stream: RecordStream,
    part: Path,
    crs: str,
    metadata: Mapping[str, str],
    kind: str,
    *,
    append: bool,
    layer: str = LAYER,
) -> None:
    """Write a stream to a new file, or to a GeoPackage: as a layer, or behind what it holds.

    Parameters
    ----------
    stream : RecordStream
    part : Path
        A GeoPackage that exists keeps its other layers.
    crs : str
        WKT.
    metadata : mapping
        Kept with a new layer of a GeoPackage.
    kind : {"Polygon", "MultiPolygon"}
    append : bool
        Whether to add to the features of the layer.
    layer : str
    """
    form = VECTOR_FORMATS[suffix_of(part)]
    options: dict[str, Any] = {}
    if not append:
        options["layer_options"] = dict(form.layer_options)
        if form.driver == "GPKG":
            options["layer_metadata"] = dict(metadata)
            if not part.exists():
                options["dataset_options"] = _GPKG
    schema = schema_of(stream)
    pyogrio.raw.write_arrow(
        pa.RecordBatchReader.from_batches(schema, arrow_batches(stream, schema)),
        part,
        layer=layer,
        driver=form.driver,
        geometry_name="geometry",
        geometry_type=form.geometry_type or kind,
        crs=crs,
        append=append,
        **options,
    )


def write_errors(frame: gpd.GeoDataFrame, path: str | os.PathLike[str]) -> None:
    """Write layer ``errors`` of a GeoPackage with its default style; whole or not at all.

    Parameters
    ----------
    frame : GeoDataFrame
        Of Polygons and MultiPolygons.
    path : path
        ``.gpkg``; another layer's name may follow ``|layername=``. Other layers are kept.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    file, named = split_layer(path)
    layer = named or "errors"
    multi = bool((frame.geom_type == "MultiPolygon").any())
    with atomic_layer(file, layer) as (part, beside_others):
        try:
            pyogrio.write_dataframe(
                frame,
                part,
                layer=layer,
                driver="GPKG",
                geometry_type="MultiPolygon" if multi else "Polygon",
                promote_to_multi=multi,
                dataset_options=None if beside_others else _GPKG,
                layer_options={"GEOMETRY_NAME": "geom"},
            )
            add_style(part, layer, "errors")
        except FAILURES as error:
            raise OutputError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


def last_id(path: Path, crs: str, probabilities: bool, layer: str = LAYER) -> int:
    """Return the highest id of the layer to append to.

    Parameters
    ----------
    path : Path
        A GeoPackage.
    crs : str
        WKT of what is appended.
    probabilities : bool
        Whether what is appended has confidences.
    layer : str

    Raises
    ------
    OutputError
        The layer is missing, not one of ours, not of polygons, or of another CRS.
    """
    try:
        about = pyogrio.read_info(path, layer=layer)
    except FAILURES as error:
        raise OutputError(
            f"{path} has no layer {layer!r} to append to: --overwrite adds it and keeps the others"
        ) from error
    if about["geometry_type"] not in (*_POLYGONS, "Unknown", "Geometry"):
        raise OutputError(
            f"layer {layer!r} of {path} is of {about['geometry_type']}, polygons are appended: "
            "choose another output or layer"
        )
    expected = {"id", "area_m2", "pixels"} | ({"confidence"} if probabilities else set())
    if missing := sorted(expected - set(about["fields"].tolist())):
        raise OutputError(
            f"layer {layer!r} of {path} lacks the fields {', '.join(missing)}: append to a layer "
            "that geossda wrote in the same way"
        )
    if about["crs"] is None or pyproj.CRS(about["crs"]) != pyproj.CRS(crs):
        raise OutputError(
            f"layer {layer!r} of {path} is in {about['crs']}, what is appended in "
            f"{pyproj.CRS(crs).name}: choose another output"
        )
    frame = pyogrio.read_dataframe(path, layer=layer, columns=["id"], read_geometry=False)
    return int(frame["id"].max()) if len(frame) else 0

"""What OGR writes and reads: GeoPackage, FlatGeobuf and GeoJSON.

pyogrio loads pandas and GeoPandas where they are installed, which takes as long as a small raster:
import this module where a file is written, not before.
"""

import os
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
from numpy.typing import NDArray

from geossda.errors import OutputError
from geossda.footprints import geopackage
from geossda.footprints.geopackage import LAYER, add_style
from geossda.footprints.stream import RecordStream
from geossda.formats import VECTOR_FORMATS, suffix_of
from geossda.layers import atomic_layer, split_layer
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import write_shapes

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

    OGR takes what it is to write as Arrow batches and gives them too, so it reads them from a
    GeoPackage that is written first: making them here would take pyarrow, as large as OGR itself.

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
    with tempfile.TemporaryDirectory(prefix=f".{part.name}.", dir=part.parent) as folder:
        between = Path(folder, "records.gpkg")
        geopackage.write(stream, between, "", {}, kind)
        with pyogrio.raw.open_arrow(between, layer=LAYER) as (about, batches):
            pyogrio.raw.write_arrow(
                batches,
                part,
                layer=layer,
                driver=form.driver,
                geometry_name=about["geometry_name"],
                geometry_type=form.geometry_type or kind,
                crs=crs,
                append=append,
                **options,
            )


def write_errors(
    shapes: Shapes, fields: Mapping[str, NDArray[Any]], path: str | os.PathLike[str]
) -> None:
    """Write layer ``errors`` of a GeoPackage with its default style; whole or not at all.

    Parameters
    ----------
    shapes : Shapes
        Polygons and MultiPolygons.
    fields : mapping of str to (n,) array
    path : path
        ``.gpkg``; another layer's name may follow ``|layername=``. Other layers are kept.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    file, named = split_layer(path)
    layer = named or "errors"
    with atomic_layer(file, layer) as (part, beside_others):
        try:
            write_shapes(
                shapes,
                part,
                layer,
                fields,
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
    _, _, _, (ids,) = pyogrio.raw.read(path, layer=layer, columns=["id"], read_geometry=False)
    return int(np.max(ids)) if len(ids) else 0

"""File formats by suffix: what is read, what is written, and by which driver."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class VectorFormat:
    """A format of vector files.

    Attributes
    ----------
    suffix : str
        In small letters, with the dot.
    driver : str
        Name of OGR's driver; empty for GeoParquet, which few builds of GDAL have.
    writes : bool
        Whether footprints are written in it; all formats are read.
    beside : bool
        Whether a file beside a raster is taken for its footprints without being named.
    layers : bool
        Whether a file holds several layers, to which features can be added.
    geometry_type : str
        Declared instead of the layer's own, where writing changes it.
    layer_options : mapping
        OGR's creation options of a new layer.
    """

    suffix: str
    driver: str
    writes: bool = True
    beside: bool = True
    layers: bool = False
    geometry_type: str = ""
    layer_options: Mapping[str, str] = field(default_factory=dict)


_FORMATS = (
    VectorFormat(
        ".gpkg",
        "GPKG",
        layers=True,
        layer_options={"GEOMETRY_NAME": "geom", "DESCRIPTION": "Building footprints"},
    ),
    VectorFormat(".fgb", "FlatGeobuf"),
    VectorFormat(
        ".geojson",
        "GeoJSON",
        # Polygons cut at the antimeridian are several.
        geometry_type="Unknown",
        # The standard's own order, precision, CRS and cut at the antimeridian.
        layer_options={"RFC7946": "YES", "DESCRIPTION": "Building footprints"},
    ),
    VectorFormat(".parquet", ""),
    # Read only: field names of ten letters, no UTF-8 and several files are no format to choose.
    # As truth: what is drawn in Google Earth, and what surveys and offices deliver.
    VectorFormat(".kml", "KML", writes=False),
    VectorFormat(".gml", "GML", writes=False),
    VectorFormat(".shp", "ESRI Shapefile", writes=False),
    VectorFormat(".zip", "ESRI Shapefile", writes=False, beside=False),
    VectorFormat(".gdb", "OpenFileGDB", writes=False),
    VectorFormat(".geojsonl", "GeoJSONSeq", writes=False),
)
VECTOR_FORMATS = {each.suffix: each for each in _FORMATS}
# In folders; a file that is named may be any raster that GDAL reads.
RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
ONNX_SUFFIX, WEIGHTS_SUFFIX = ".onnx", ".safetensors"
MODEL_SUFFIXES = (WEIGHTS_SUFFIX, ONNX_SUFFIX, ".pt", ".pth", ".ckpt")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
STYLE_SUFFIX = ".json"


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return a path's suffix in small letters."""
    return Path(path).suffix.lower()


def vector_suffixes(*, writes: bool = False, by_ogr: bool = False) -> tuple[str, ...]:
    """Return the suffixes of vector files.

    Parameters
    ----------
    writes : bool
        Only those that are written.
    by_ogr : bool
        Only those that every build of GDAL reads.
    """
    return tuple(
        each.suffix
        for each in VECTOR_FORMATS.values()
        if (each.writes or not writes) and (each.driver or not by_ogr)
    )

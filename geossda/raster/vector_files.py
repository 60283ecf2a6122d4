"""Few polygons with fields to a vector file, by OGR."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.formats import VECTOR_FORMATS, suffix_of
from geossda.raster.shapes import Shapes


def write_shapes(
    shapes: Shapes,
    part: Path,
    layer: str,
    fields: Mapping[str, NDArray[Any]] | None = None,
    **options: Any,
) -> None:
    """Write polygons as a layer of a file, whose suffix says the format.

    Parameters
    ----------
    shapes : Shapes
        Polygons and MultiPolygons.
    part : Path
        The file to write, or a GeoPackage to add the layer to.
    layer : str
    fields : mapping of str to (n,) array, optional
        Numbers, or objects that are text.
    **options
        Of :func:`pyogrio.raw.write`.
    """
    import pyogrio

    fields = fields or {}
    driver = VECTOR_FORMATS[suffix_of(part)].driver
    kinds = shapely.get_type_id(shapes.geometry)
    multi = bool((kinds == shapely.GeometryType.MULTIPOLYGON).any()) and driver != "GeoJSON"
    kind = "Unknown" if driver == "GeoJSON" else "MultiPolygon" if multi else "Polygon"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write(
            part,
            shapely.to_wkb(shapes.geometry),
            [np.asarray(values) for values in fields.values()],
            list(fields),
            layer=layer,
            driver=driver,
            geometry_type=kind,
            promote_to_multi=multi,
            crs=None if shapes.crs is None else shapes.crs.to_wkt(),
            **options,
        )

"""Outlines rounded to a lattice, so that no later rounding makes them cross, and kept valid."""

import numpy as np
import shapely
from numpy.typing import NDArray

# Spacing of the lattice in pixels.
GRAIN_PX = 2.0**-16


def on_grain(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Round outlines in pixels to a lattice of :data:`GRAIN_PX`, and keep them valid.

    Those that are not valid are made so in place.
    """
    rounded = shapely.set_precision(valid_polygons(polygons), GRAIN_PX)
    # A geometry that knows its lattice would be overlaid otherwise than one that came from another
    # process, which does not.
    return valid_polygons(np.asarray(shapely.set_precision(rounded, 0), object))


def valid_polygons(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make geometries valid in place, and keep the largest polygon of each.

    Parameters
    ----------
    geometries : (n,) array of shapely geometries

    Returns
    -------
    (n,) array of shapely.Polygon
        The same array; an empty polygon where nothing areal is left.
    """
    bad = ~shapely.is_valid(geometries)
    geometries[bad] = shapely.make_valid(geometries[bad])
    kinds = shapely.get_type_id(geometries)
    for index in np.flatnonzero(kinds != shapely.GeometryType.POLYGON):
        geometries[index] = _largest_polygon(geometries[index])
    return geometries


def areal_parts(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """Return the polygons of a geometry, without the lines and points of a collection."""
    # A collection can hold several polygons in one member.
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return [part for part in parts if part.geom_type == "Polygon"]


def _largest_polygon(geometry: shapely.Geometry) -> shapely.Polygon:
    polygons = areal_parts(geometry)
    return max(polygons, key=lambda part: part.area) if polygons else shapely.Polygon()

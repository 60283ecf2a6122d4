"""Metres on the ground around a point, whatever the CRS."""

from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geossda.errors import GeoreferenceError
from geossda.raster.shapes import Shapes


def ground_matrices(crs: Any, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the length and direction on the ground of one unit of a CRS.

    A short step along each axis is measured on the ellipsoid, so that degrees, the metres of Web
    Mercator and those of any projection are treated alike, the antimeridian included.

    Parameters
    ----------
    crs : CRS or WKT
    xy : (n, 2) float array
        Points, x and y in units of the CRS.

    Returns
    -------
    (n, 2, 2) float array
        Matrices from a step in x and y to metres east and north.

    Raises
    ------
    GeoreferenceError
        The CRS is local, or cannot be placed on the globe at these points.
    """
    crs = pyproj.CRS(crs)
    geod, globe = crs.get_geod(), crs.geodetic_crs
    if geod is None or globe is None:
        raise GeoreferenceError(f"CRS {crs.name} is local, so metres are unknown: reproject first")
    step = 1e-5 if crs.is_geographic else 1.0
    to_globe = pyproj.Transformer.from_crs(crs, globe, always_xy=True)
    start = to_globe.transform(xy[:, 0], xy[:, 1])
    matrices = np.empty((len(xy), 2, 2))
    for axis in (0, 1):
        end = xy + step * np.eye(2)[axis]
        azimuth, _, metres = geod.inv(*start, *to_globe.transform(end[:, 0], end[:, 1]))
        azimuth = np.radians(azimuth)
        matrices[:, :, axis] = np.column_stack([np.sin(azimuth), np.cos(azimuth)])
        matrices[:, :, axis] *= np.asarray(metres)[:, None] / step
    if not np.isfinite(matrices).all():
        raise GeoreferenceError(
            f"CRS {crs.name} cannot be placed on the globe at this raster: reproject first"
        )
    return matrices


def centres(geometries: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the centres of bounding boxes, (n, 2)."""
    bounds = shapely.bounds(geometries).reshape(-1, 4)
    return np.asarray((bounds[:, :2] + bounds[:, 2:]) / 2)


def ground_areas(polygons: Shapes) -> NDArray[np.float64]:
    """Compute the areas of polygons on the ellipsoid, whatever their CRS.

    The scale at the centre of each is used, which is exact enough for buildings.

    Parameters
    ----------
    polygons : Shapes
        n polygons.

    Returns
    -------
    (n,) float array
        In square metres.
    """
    geometries = polygons.geometry
    if not len(geometries):
        return np.zeros(0)
    matrices = ground_matrices(polygons.crs, centres(geometries))
    return np.asarray(shapely.area(geometries) * np.abs(np.linalg.det(matrices)))


def apply_affine(
    geometries: NDArray[np.object_], matrices: NDArray[np.float64]
) -> NDArray[np.object_]:
    """Apply an affine matrix of its own to each geometry, or one to all.

    Parameters
    ----------
    geometries : (n,) array of shapely geometries
    matrices : (n, 2, 3) or (1, 2, 3) float array

    Returns
    -------
    (n,) array of shapely geometries
    """
    points, owner = shapely.get_coordinates(geometries, return_index=True)
    if len(matrices) == 1:
        owner = np.zeros_like(owner)
    transformed = np.einsum("nij,nj->ni", matrices[owner, :, :2], points) + matrices[owner, :, 2]
    return np.asarray(shapely.set_coordinates(geometries.copy(), transformed), object)

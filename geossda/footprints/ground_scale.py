"""True metres around a place, whatever the CRS."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geossda.errors import GeoreferenceError

if TYPE_CHECKING:
    import geopandas as gpd  # a third of a second to load


def ground_frames(crs: Any, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Measure how far one unit of a CRS goes on the ground, at places given in it.

    Along the ellipsoid, by a short step each way: degrees, Web Mercator's metres and any
    projection's are told alike, the antimeridian included.

    Parameters
    ----------
    crs : CRS or WKT
    xy : (n, 2) float array
        Places, x and y.

    Returns
    -------
    (n, 2, 2) float array
        Matrices from a step in x and y to metres east and north.

    Raises
    ------
    GeoreferenceError
        A CRS that has no place on the globe.
    """
    crs = pyproj.CRS(crs)
    geod, globe = crs.get_geod(), crs.geodetic_crs
    if geod is None or globe is None:
        raise GeoreferenceError(f"CRS {crs.name} is local, so metres are unknown: reproject first")
    step = 1e-5 if crs.is_geographic else 1.0
    to_globe = pyproj.Transformer.from_crs(crs, globe, always_xy=True)
    here = to_globe.transform(xy[:, 0], xy[:, 1])
    frames = np.empty((len(xy), 2, 2))
    for axis in (0, 1):
        moved = xy + step * np.eye(2)[axis]
        azimuth, _, metres = geod.inv(*here, *to_globe.transform(moved[:, 0], moved[:, 1]))
        turn = np.radians(azimuth)
        frames[:, :, axis] = np.column_stack([np.sin(turn), np.cos(turn)])
        frames[:, :, axis] *= np.asarray(metres)[:, None] / step
    if not np.isfinite(frames).all():
        raise GeoreferenceError(
            f"CRS {crs.name} cannot be placed on the globe here: reproject first"
        )
    return frames


def centres(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the middles of bounding boxes, (n, 2)."""
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    return np.asarray((bounds[:, :2] + bounds[:, 2:]) / 2)


def ground_areas(shapes: "gpd.GeoSeries") -> NDArray[np.float64]:
    """Measure polygons in square metres on the ellipsoid, whatever their CRS.

    By the scale at the middle of each, which is exact for footprints.
    """
    polygons = shapes.to_numpy()
    if not len(polygons):
        return np.zeros(0)
    frames = ground_frames(shapes.crs, centres(polygons))
    return np.asarray(shapely.area(polygons) * np.abs(np.linalg.det(frames)))


def moved(shapes: NDArray[np.object_], matrices: NDArray[np.float64]) -> NDArray[np.object_]:
    """Apply to each geometry its own (2, 3) affine matrix, or to all the one given."""
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    if len(matrices) == 1:
        owner = np.zeros_like(owner)
    turned = np.einsum("nij,nj->ni", matrices[owner, :, :2], points) + matrices[owner, :, 2]
    return np.asarray(shapely.set_coordinates(shapes.copy(), turned), object)

"""Ground sample distance in true metres, whatever the CRS."""

import math

import numpy as np
import pyproj

from geossda.errors import GeoreferenceError
from geossda.raster.alignment import FARTHEST_DEG
from geossda.raster.grid import Grid


def ground_sample_distance(grid: Grid) -> tuple[float, float]:
    """Return the size of a pixel at the grid's centre along the ellipsoid.

    Web Mercator's metres are not metres on the ground, and degrees are no length at all; a
    geodesic is one everywhere.

    Parameters
    ----------
    grid : Grid
        With a CRS and a transform.

    Returns
    -------
    (float, float)
        Metres from a pixel to the next one along a row, and along a column.

    Raises
    ------
    GeoreferenceError
        No CRS, or a CRS that cannot be placed on the globe.
    """
    if grid.crs is None:
        raise GeoreferenceError("no CRS: the size of a pixel in metres is unknown")
    crs = pyproj.CRS(grid.crs.to_wkt())
    if crs.geodetic_crs is None:
        raise GeoreferenceError(f"CRS {crs.name} is local, so metres are unknown: reproject first")
    height, width = grid.shape.y, grid.shape.x
    points = [(width / 2, height / 2), (width / 2 + 1, height / 2), (width / 2, height / 2 + 1)]
    geod = crs.get_geod()
    try:
        to_globe = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
        places = np.array([to_globe.transform(*(grid.transform * p)) for p in points])
    except pyproj.exceptions.ProjError:
        places = np.full((3, 2), np.inf)
    if geod is None or not np.isfinite(places).all() or (np.abs(places) > FARTHEST_DEG).any():
        x, y = grid.transform * points[0]
        raise GeoreferenceError(
            f"CRS {crs.name} has no place on the globe for the raster's centre, {x:.9g}, {y:.9g}, "
            "so metres are unknown: declare the CRS its coordinates are in, with gdal_edit.py "
            "-a_srs"
        )
    (lon, lat), across, down = places.tolist()
    step_x, step_y = (float(geod.inv(lon, lat, *place)[2]) for place in (across, down))
    if not (step_x > 0 and step_y > 0 and math.isfinite(step_x + step_y)):
        raise GeoreferenceError(
            f"pixels of {step_x:g} x {step_y:g} m cannot be: check the raster's transform and CRS"
        )
    return step_x, step_y


def grid_at_gsd(grid: Grid, gsd_m: float) -> Grid:
    """Return the grid over the same rectangle whose pixels are nearest to `gsd_m` metres.

    The rectangle is kept exactly, so pixels miss `gsd_m` by at most half a pixel over the whole
    side; a grid within 2 % of `gsd_m` is returned as it is.

    Parameters
    ----------
    grid : Grid
    gsd_m : float
        Ground sample distance in metres, above 0.
    """
    step_x, step_y = ground_sample_distance(grid)
    if abs(step_x / gsd_m - 1) < 0.02 and abs(step_y / gsd_m - 1) < 0.02:
        return grid
    width = max(1, round(grid.shape.x * step_x / gsd_m))
    height = max(1, round(grid.shape.y * step_y / gsd_m))
    transform = grid.transform * grid.transform.scale(grid.shape.x / width, grid.shape.y / height)
    return Grid((height, width), transform, grid.crs)

"""The grid that two layers of buildings are compared on."""

import math

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from rasterio import Affine

from geossda.errors import InputError
from geossda.evaluation.building_layer import Layer
from geossda.raster.grid import Grid
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.polygons import placed
from geossda.raster.vector_files import vector_errors

# Pixel side in metres when both layers are vectors.
VECTOR_GSD_M = 0.3


def common_grid(detected: Layer, true: Layer, area: Layer | None) -> Grid:
    """Return the grid that two layers are compared on.

    That of a raster, the truth's first; else pixels of `VECTOR_GSD_M` on the ground, in a CRS of
    metres, over both layers where the area is.

    Parameters
    ----------
    detected, true : Layer
    area : Layer or None

    Raises
    ------
    InputError
        Both layers are empty, or the area does not overlap them.
    """
    for layer in (true, detected, area):
        if layer is not None and layer.raster is not None:
            return layer.raster.grid
    if true.shapes is None or detected.shapes is None:
        raise InputError("nothing to compare")
    leading = true if len(true.shapes) else detected
    if leading.shapes is None or not len(leading.shapes):
        raise InputError(
            f"{detected.name} and {true.name} are both empty: give at least one with buildings"
        )
    crs = leading.shapes.crs
    if crs is None or not crs.is_projected:
        # Of the middle one, which some that are far away do not move.
        middle = np.median(shapely.bounds(leading.shapes.geometry), axis=0)
        # Beyond the antimeridian longitudes may go on counting.
        middle[[0, 2]] -= 360 * np.round(middle[[0, 2]].mean() / 360)
        with vector_errors(leading.name):
            crs = _utm_around(middle, crs)
    bounds = [
        placed(layer.shapes, crs, layer.name).bounds
        for layer in (detected, true)
        if layer.shapes is not None and len(layer.shapes)
    ]
    left, bottom = np.min(bounds, axis=0)[:2]
    right, top = np.max(bounds, axis=0)[2:]
    if area is not None and area.shapes is not None:
        limits = placed(area.shapes, crs, area.name).bounds
        left, bottom = max(left, limits[0]), max(bottom, limits[1])
        right, top = min(right, limits[2]), min(top, limits[3])
        if right <= left or top <= bottom:
            raise InputError(f"{area.name} does not overlap {detected.name} or {true.name}")
    # Where the leading layer is, a pixel is as long on the ground as it is to be.
    middle = np.median(shapely.bounds(placed(leading.shapes, crs, leading.name).geometry), axis=0)
    x, y = (middle[0] + middle[2]) / 2, (middle[1] + middle[3]) / 2
    local = Grid((1, 1), Affine.translation(x, y) * Affine.scale(1, -1), crs)
    step = VECTOR_GSD_M / ground_sample_distance(local)[0]
    # Edges of pixels at multiples of their size, but for a hundredth of it.
    first_col, first_row = math.floor(left / step + 0.01), math.ceil(top / step - 0.01)
    last_col, last_row = math.ceil(right / step - 0.01), math.floor(bottom / step + 0.01)
    corner = Affine.translation(first_col * step, first_row * step)
    shape = max(1, first_row - last_row), max(1, last_col - first_col)
    return Grid(shape, corner * Affine.scale(step, -step), local.crs)


def _utm_around(bounds: NDArray[np.float64], crs: pyproj.CRS | None) -> pyproj.CRS:
    """Return the UTM zone, on WGS 84, that the middle of some bounds lies in."""
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    if crs is not None:
        x, y = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    zones = query_utm_crs_info("WGS 84", AreaOfInterest(x, y, x, y))
    if not zones:
        raise ValueError(f"no UTM zone holds {x:.6g}, {y:.6g}")
    return pyproj.CRS(f"{zones[0].auth_name}:{zones[0].code}")

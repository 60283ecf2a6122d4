"""Shifts of footprints, in metres, from a mosaic of building probabilities."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from geossda.errors import VectorError
from geossda.footprints.ground_scale import ground_matrices
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.gsd import grid_at_gsd, ground_sample_distance
from geossda.raster.mosaic import Mosaic
from geossda.raster.polygons import placed, polygon_parts, repaired, require_fit
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import vector_errors
from geossda.registration.correlation import score_shifts
from geossda.registration.shift_field import solve_shifts
from geossda.registration.touching import touching_groups
from geossda.staging import PathLike

# How far around footprints no building is expected, in metres.
_MARGIN_M = 2.0
# Metres between footprints that touch: less than a digitized wall is off by.
_GAP_M = 0.15
# Finer pixels than this add nothing to shifts that are sure to some tenths of a metre.
_FINEST_M = 0.3
# Steps from no shift to the largest; a wider search takes longer steps, so memory has a limit.
_MOST_STEPS = 24


@dataclass(frozen=True)
class FootprintShifts:
    """The shift of each footprint.

    Attributes
    ----------
    offsets : (n, 2) float64 array
        In units of the footprints' CRS; 0 for what is left as it is.
    metres : (n, 2) float64 array
        East and north on the ground.
    confidence : (n,) float64 array
        0..1: mean probability inside the shifted footprints of a group minus the mean within 2 m
        around them, and at least 0; 0 for what is left as it is.
    groups : int
        Groups of touching footprints.
    unmatched, out_of_sight : int
        Footprints left as they are: their group fits best at the border of the search, or few of
        it and its neighbours show a building; or no probability is known where they lie.
    """

    offsets: NDArray[np.float64]
    metres: NDArray[np.float64]
    confidence: NDArray[np.float64]
    groups: int
    unmatched: int
    out_of_sight: int


def shift_footprints(
    footprints: Shapes,
    crs: Any,
    probabilities: Mosaic,
    search_m: float,
    progress: Progress = SILENT,
) -> FootprintShifts:
    """Find the shift of each group of touching footprints.

    Parameters
    ----------
    footprints : Shapes
        n Polygons or MultiPolygons in the CRS of the probabilities.
    crs : pyproj.CRS or what one can be made from
        In which the footprints are to be shifted.
    probabilities : Mosaic
        One band, 0..1.
    search_m : float
        Largest shift along either axis, in metres.
    progress : Progress
        Receives one stage, of tiles.

    Raises
    ------
    InputError
        Values outside 0..1.
    """
    own = max(ground_sample_distance(probabilities.grid))
    grid = grid_at_gsd(probabilities.grid, max(own, _FINEST_M, search_m / _MOST_STEPS))
    step_m = max(ground_sample_distance(grid))
    polygons, owners = _in_pixels(footprints, grid)
    groups = touching_groups(polygons, owners, _GAP_M / step_m)
    scores = score_shifts(
        polygons,
        groups,
        probabilities.resampled(grid),
        radius=math.ceil(search_m / step_m) + 1,  # so that the border lies beyond the search
        margin=max(1, round(_MARGIN_M / step_m)),
        progress=progress,
    )
    centres = _centres(polygons, groups)
    shifts, trusted = solve_shifts(scores, centres, step_m)
    in_sight = scores.area_px > 0
    shifted = trusted & (np.abs(shifts).max(axis=1, initial=0) < scores.radius)
    confidence = np.where(shifted, np.clip(scores.at(shifts), 0, 1), 0)
    offsets, metres = _on_the_ground(shifts * shifted[:, None], centres, grid, crs)
    group_of = np.empty(len(footprints), np.int64)
    group_of[owners] = groups
    return FootprintShifts(
        offsets[group_of],
        metres[group_of],
        confidence[group_of],
        groups=len(centres),
        unmatched=int(np.sum((in_sight & ~shifted)[group_of])),
        out_of_sight=int(np.sum(~in_sight[group_of])),
    )


def polygons_by_row(
    layer: Shapes, path: PathLike, crs: Any, progress: Progress = SILENT
) -> tuple[Shapes, NDArray[np.int64]]:
    """Return the polygons of a layer in another CRS, made valid, and the row of each.

    Parameters
    ----------
    layer : Shapes
        Rows without geometry, or of points and lines, are left out.
    path : path
        Where it was read from, for messages.
    crs : pyproj.CRS or what one can be made from
    progress : Progress
        Warned of a transformation between datums that may be off by a building's width.

    Returns
    -------
    polygons : Shapes
        One MultiPolygon a row.
    rows : (n,) int64 array

    Raises
    ------
    VectorError
        No CRS, no polygons, or coordinates that do not fit the CRS.
    """
    if layer.crs is None:
        raise VectorError(f"{path} has no CRS: assign one first")
    rows = np.flatnonzero(~shapely.is_missing(layer.geometry) & ~shapely.is_empty(layer.geometry))
    with vector_errors(path):
        flat = shapely.force_2d(layer.geometry[rows])
        require_fit(flat, layer.crs, path)
        parts = [polygon_parts(np.array([shape], object)) for shape in repaired(flat, path)]
    if len(rows) and not any(map(len, parts)):
        kinds = ", ".join(sorted({shape.geom_type for shape in flat}))
        raise VectorError(f"{path} holds {kinds}, polygons were expected")
    rows = rows[[len(part) > 0 for part in parts]]
    whole = Shapes([shapely.multipolygons(part) for part in parts if len(part)], layer.crs)
    polygons = placed(whole, crs, path, progress)
    if len(polygons) != len(rows):
        raise VectorError(f"{path} holds polygons that vanish in {pyproj.CRS(crs).name}")
    return polygons, rows


def reaching(polygons: Shapes, grid: Grid, search_m: float) -> NDArray[np.bool_]:
    """Return whether each polygon reaches a raster within the search.

    Parameters
    ----------
    polygons : Shapes
        In the grid's CRS.
    grid : Grid
    search_m : float
        In metres.
    """
    across, down = ground_sample_distance(grid)
    shape = np.array([grid.width, grid.height])
    margin = np.array([search_m / across, search_m / down])
    parts, owners = _in_pixels(polygons, grid)
    bounds = shapely.bounds(parts).reshape(-1, 4)
    reach = ((bounds[:, :2] < shape + margin) & (bounds[:, 2:] > -margin)).all(axis=1)
    return np.isin(np.arange(len(polygons)), owners[reach])


def translated(geometry: NDArray[np.object_], offsets: NDArray[np.float64]) -> NDArray[np.object_]:
    """Translate each geometry by an offset of its own; heights are kept.

    Parameters
    ----------
    geometry : (n,) array of shapely geometries
    offsets : (n, 2) float array
        In units of their coordinates.
    """
    result = geometry.copy()
    moves = offsets.any(axis=1)
    for has_z in (False, True):
        which = np.flatnonzero(moves & (shapely.has_z(geometry) == has_z))
        points, owner = shapely.get_coordinates(geometry[which], include_z=has_z, return_index=True)
        points[:, :2] += offsets[which][owner]
        result[which] = shapely.set_coordinates(geometry[which].copy(), points)
    return result


def _in_pixels(footprints: Shapes, grid: Grid) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return the polygons of footprints in pixels of a grid, and the footprint of each."""
    to_pixel = ~grid.transform

    def transformed(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(to_pixel * (points[:, 0], points[:, 1]))

    parts, owners = shapely.get_parts(footprints.geometry, return_index=True)
    return np.asarray(shapely.transform(parts, transformed), object), owners


def _centres(polygons: NDArray[np.object_], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return column and row of the centre of each group: the mean of its polygons' centres."""
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2
    counts = np.bincount(groups)
    sums = [np.bincount(groups, middles[:, axis]) for axis in (0, 1)]
    return np.column_stack(sums) / counts[:, None]


def _on_the_ground(
    shifts: NDArray[np.float64], centres: NDArray[np.float64], grid: Grid, crs: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shifts in pixels as offsets in a CRS, and in metres east and north."""
    if not len(shifts):
        return shifts, shifts
    transform = grid.transform
    places = np.column_stack(transform * (centres[:, 0], centres[:, 1]))
    linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    metres = np.einsum("nij,nj->ni", ground_matrices(grid.crs, places), shifts @ linear.T)
    way = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True)
    there = np.column_stack(way.transform(places[:, 0], places[:, 1]))
    offsets = np.linalg.solve(ground_matrices(crs, there), metres[:, :, None])[:, :, 0]
    return offsets, metres

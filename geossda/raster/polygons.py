"""Polygons of vector files: repaired, and placed in the CRS of a raster."""

import itertools
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.aoi import AreaOfInterest

from geossda.errors import VectorError
from geossda.progress import SILENT, Progress
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import vector_errors
from geossda.staging import PathLike

# Corners from which a polygon that crosses itself is looked at, and crossings it may have: their
# number decides how long a repair takes, some ten seconds for so many.
_MANY_CORNERS, _MOST_CROSSINGS = 500, 100_000
# Corners up to which make_valid is fast however a polygon crosses itself.
_FEW_CORNERS = 16
POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
# Degrees that longitudes and latitudes may be off by rounding; longitudes may go round twice.
_LON, _LAT = 540.0, 90.001
# Units of a projected CRS: the Earth is 4e10 mm around, and 1e12 is stored to 0.1 mm.
_FARTHEST = 1e12
# Metres that polygons may be off by without a word: NAD83, which is 1 to 2 off, is given as 4.
_SURE_M = 5.0


def polygons_of(
    shapes: Shapes,
    path: PathLike,
    crs: Any,
    progress: Progress = SILENT,
    *,
    whole: bool = False,
) -> Shapes:
    """Return the valid polygons of a layer, each part by itself, in the wanted CRS.

    Parameters
    ----------
    shapes : Shapes
        As :func:`geossda.raster.vector_files.read_shapes` returns them.
    path : path
        Where it was read from, for messages.
    crs : CRS or WKT
        None keeps the layer's own.
    progress : Progress
        See :func:`placed`.
    whole : bool
        Whether the pieces into which a repair cuts one polygon stay together, as a MultiPolygon.

    Raises
    ------
    VectorError
        No CRS, no polygons, coordinates that do not fit the CRS, or a polygon that crosses itself
        too often to be repaired.
    """
    if shapes.crs is None:
        raise VectorError(f"{path} has no CRS: assign one first")
    given = shapes.geometry[~shapely.is_missing(shapes.geometry)]
    given = given[~shapely.is_empty(given)]
    with vector_errors(path):
        # Heights, which some sources give, are of no use here and trip make_valid.
        flat = shapely.force_2d(given)
        require_fit(flat, shapes.crs, path)
        parts = polygon_parts(flat if whole else repaired(flat, path))
        if whole:
            parts = _objects(piece for part in repaired(parts, path) for piece in _joined(part))
    if len(shapes) and not len(parts):
        kinds = ", ".join(sorted({shape.geom_type for shape in given}))
        raise VectorError(f"{path} holds {kinds or 'no geometry'}, polygons were expected")
    polygons = Shapes(parts, shapes.crs)
    return polygons if crs is None else placed(polygons, crs, path, progress)


def placed(shapes: Shapes, crs: Any, path: PathLike, progress: Progress = SILENT) -> Shapes:
    """Return polygons in another CRS, valid there; MultiPolygons stay whole.

    Parameters
    ----------
    shapes : Shapes
        Polygons, or MultiPolygons, with a CRS.
    crs : pyproj.CRS or what it can be made from
        The CRS to transform to.
    path : path
        For messages.
    progress : Progress
        Warned of a transformation between datums that may be off by a building's width.

    Raises
    ------
    VectorError
        Some of them cannot be placed there.
    """
    with vector_errors(path):
        moved = shapes.to_crs(crs)
        if progress is not SILENT and (metres := accuracy_m(shapes, crs)) > _SURE_M:
            progress.warn(
                f"{path} is in {pyproj.CRS(shapes.crs).name}, which can be transformed to "
                f"{pyproj.CRS(crs).name} within {metres:g} m only: check that it fits the imagery"
            )
    geometry = moved.geometry
    if not np.isfinite(shapely.bounds(geometry)).all():
        raise VectorError(
            f"{path} lies where {pyproj.CRS(crs).name} has no coordinates: check its CRS, or leave "
            "out what is far away"
        )
    if shapely.is_valid(geometry).all():
        return moved
    whole = shapely.get_type_id(geometry) == shapely.GeometryType.MULTIPOLYGON
    shapes_there = (
        _joined(shape) if kept else polygon_parts(np.array([shape], object))
        for shape, kept in zip(repaired(geometry, path), whole, strict=True)
    )
    return Shapes(itertools.chain(*shapes_there), moved.crs)


def _objects(shapes: Iterable[Any]) -> NDArray[np.object_]:
    listed = list(shapes)
    result = np.empty(len(listed), object)
    result[:] = listed
    return result


def _joined(shape: Any) -> list[Any]:
    """Return the polygons of a geometry as one Polygon or MultiPolygon, or none."""
    parts = polygon_parts(np.array([shape], object))
    return [shapely.multipolygons(parts)] if len(parts) > 1 else list(parts)


def accuracy_m(shapes: Shapes, crs: Any) -> float:
    """Return how far off polygons may be once transformed to another CRS, in metres.

    Between datums PROJ needs grids, of which those at hand decide. 0 where it does not know.

    Parameters
    ----------
    shapes : Shapes
        Polygons with a CRS.
    crs : pyproj.CRS or what it can be made from
    """
    if not len(shapes) or pyproj.CRS(shapes.crs) == pyproj.CRS(crs):
        return 0.0
    degrees = pyproj.Transformer.from_crs(shapes.crs, 4326, always_xy=True)
    bounds = degrees.transform_bounds(*shapes.bounds)
    if not np.isfinite(bounds).all():
        return 0.0
    near: Any = AreaOfInterest(*bounds)
    with warnings.catch_warnings():
        # Which grid is missing; not all of them make a difference.
        warnings.simplefilter("ignore", UserWarning)
        ways = pyproj.transformer.TransformerGroup(
            shapes.crs, crs, always_xy=True, area_of_interest=near
        ).transformers
    return max(0.0, float(ways[0].accuracy)) if ways else 0.0


def polygon_parts(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return all polygons in an array of geometries, however deep in collections they are."""
    shapes = np.asarray(shapes, object)
    while (shapely.get_type_id(shapes) > shapely.GeometryType.POLYGON).any():
        shapes = shapely.get_parts(shapes)
    kinds = shapely.get_type_id(shapes)
    polygons = shapes[kinds == shapely.GeometryType.POLYGON]
    return np.asarray(polygons[~shapely.is_empty(polygons)], object)


def repaired(shapes: NDArray[np.object_], path: PathLike) -> NDArray[np.object_]:
    """Return geometries made valid; what a repair leaves may be a collection.

    Parameters
    ----------
    shapes : array of shapely geometry
    path : path
        For the message.

    Raises
    ------
    VectorError
        One of them crosses itself so often that this would take minutes.
    """
    broken = ~shapely.is_valid(shapes)
    for shape in shapes[broken & (shapely.get_num_coordinates(shapes) > _MANY_CORNERS)]:
        crossings = _crossings(shape)
        if crossings > _MOST_CROSSINGS:
            raise VectorError(
                f"{path}: a polygon of {shapely.get_num_coordinates(shape):,} corners crosses "
                f"itself about {crossings:,} times: remove it, or draw it anew"
            )
    result = np.asarray(shapes, object).copy()
    tangled = broken & np.isin(shapely.get_type_id(shapes), POLYGONAL)
    tangled &= shapely.get_num_coordinates(shapes) > _FEW_CORNERS
    result[tangled] = [_even_odd(shape) for shape in result[tangled]]
    simple = broken & ~tangled
    result[simple] = shapely.make_valid(result[simple])
    return result


def _even_odd(shape: Any) -> Any:
    """Return what lies inside an odd number of a geometry's rings, as make_valid does.

    That takes 25 s for a polygon of 100 corners drawn at random, and this a twentieth of a second.
    """
    rings = shapely.get_rings(polygon_parts(np.array([shape], object)))
    lines = shapely.get_parts(shapely.unary_union(shapely.multilinestrings(rings)))
    faces = shapely.get_parts(shapely.polygonize(lines))
    sides = _sides(rings)
    (x0, y0), (x1, y1) = sides[:, 0].T, sides[:, 1].T
    slope = np.divide(x1 - x0, y1 - y0, out=np.zeros(len(sides)), where=y1 != y0)
    inside = np.zeros(len(faces), bool)
    middles = shapely.get_coordinates(shapely.point_on_surface(faces))
    for chunk in np.array_split(np.arange(len(faces)), len(faces) * len(sides) // 2**22 + 1):
        x, y = middles[chunk].T[:, :, None]
        # Sides that a ray to the right crosses.
        crossed = ((y0 <= y) != (y1 <= y)) & (x0 + (y - y0) * slope > x)
        inside[chunk] = crossed.sum(1) % 2 == 1
    return shapely.coverage_union_all(faces[inside])


def _sides(rings: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the sides of rings, (sides, 2 ends, 2)."""
    points, ring = shapely.get_coordinates(rings, return_index=True)
    return np.asarray(np.stack([points[:-1], points[1:]], axis=1)[ring[1:] == ring[:-1]])


def _crossings(shape: Any) -> int:
    """Estimate how often the outline of a geometry crosses itself, from some of its sides."""
    rings = shapely.get_rings(polygon_parts(np.array([shape], object)))
    sides = np.asarray(shapely.linestrings(_sides(rings)), object)
    sample = sides[:: max(1, len(sides) // 100)]
    hits = shapely.STRtree(sides).query(sample, predicate="crosses").shape[1]
    return int(hits / len(sample) * len(sides) / 2)


def require_fit(shapes: NDArray[np.object_], crs: Any, path: PathLike) -> None:
    """Raise VectorError unless coordinates are finite and can be such of their CRS.

    Parameters
    ----------
    shapes : array of shapely geometry
    crs : pyproj.CRS
        What they are said to be in.
    path : path
        For the message.

    Raises
    ------
    VectorError
        A coordinate is no number, no longitude and latitude in a geographic CRS, or nowhere on
        Earth in a projected one.
    """
    if not len(shapes):
        return
    coordinates = shapely.get_coordinates(shapes)
    if not np.isfinite(coordinates).all():
        raise VectorError(f"{path} holds coordinates that are not numbers: repair it first")
    known = pyproj.CRS(crs)
    limits = (_LON, _LAT) if known.is_geographic else (_FARTHEST, _FARTHEST)
    far = (np.abs(coordinates) > limits).any(axis=1)
    if not far.any():
        return
    x, y = coordinates[far][0]
    if known.is_geographic:
        raise VectorError(
            f"{path} holds the coordinates {x:.9g}, {y:.9g}, which are no longitude and latitude "
            f"as its CRS {known.name} has them: declare the CRS they are in"
        )
    raise VectorError(
        f"{path} holds the coordinates {x:.9g}, {y:.9g}, which are nowhere on Earth in its CRS "
        f"{known.name}: repair it first"
    )

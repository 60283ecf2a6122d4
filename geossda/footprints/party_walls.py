"""Party walls: touching buildings share straight walls."""

import math
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.runs import main_angle

# Tolerance of the last simplification of all pieces together, in tolerances: the walls between
# pieces leave corners behind.
_FINAL_SIMPLIFY = 2.0
# Share of a piece's pixels that its faces must cover; else no straight walls separate it.
_MIN_COVERED = 0.7


def shared_walls(pieces: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the lines along which pieces touch.

    Parameters
    ----------
    pieces : (n,) array of Polygon
        In pixels, where shared edges are equal to the last bit.

    Returns
    -------
    (m,) array of LineString
        In pixels; each between two pieces.
    """
    one, other = shapely.STRtree(pieces).query(pieces, predicate="intersects")
    one, other = one[one < other], other[one < other]
    boundaries = shapely.boundary(pieces)
    walls: list[shapely.LineString] = []
    for shared in shapely.intersection(boundaries[one], boundaries[other]):
        lines = [part for part in shapely.get_parts(shared) if part.geom_type == "LineString"]
        if lines:  # pieces can touch at points only
            merged = shapely.line_merge(shapely.multilinestrings(lines))
            walls += list(shapely.get_parts(merged))
    return np.array(walls, object)


def partition(
    outline: shapely.Polygon,
    pieces: NDArray[np.object_],
    walls: NDArray[np.object_],
    tolerance: float,
    simplified: Callable[[], NDArray[np.object_]],
) -> NDArray[np.object_]:
    """Divide an outline among its pieces by straight walls.

    The walls are straightened, extended to the outline and overlaid with it; each face of the
    result goes to the piece that it has most in common with.

    Parameters
    ----------
    outline : Polygon
        Regularized outline of all pieces together, in metres.
    pieces : (n,) array of Polygon
        The pieces along pixel edges, in metres.
    walls : (m,) array of LineString
        Lines between the pieces, in metres.
    tolerance : float
        Distance that walls may be moved by, in metres.
    simplified : callable
        Returns the pieces simplified together, in metres.

    Returns
    -------
    (n,) array of geometries
        They share their walls, and lie in the outline except for its smallest corners. A piece
        that no straight walls separate from its neighbours keeps its simplified outline.
    """
    main = _main_direction(outline)
    straight = _straightened(walls, main, tolerance)
    lines = shapely.union_all([shapely.boundary(outline), *straight])
    faces = shapely.get_parts(shapely.polygonize([*shapely.get_parts(lines)]))
    faces = faces[shapely.contains(outline.buffer(tolerance / 100), faces)]
    owner, common = _owners(faces, pieces)
    parts = np.array(
        [shapely.union_all(faces[owner == index]) for index in range(len(pieces))], object
    )
    parts = np.asarray(shapely.simplify(parts, tolerance / 100), object)
    covered = np.bincount(owner, common, len(pieces))
    astray = covered < _MIN_COVERED * shapely.area(pieces)
    if astray.any():
        parts[astray] = shapely.intersection(simplified()[astray], outline)
        parts[~astray] = shapely.difference(parts[~astray], shapely.union_all(parts[astray]))
    parts = _reassign_fragments(parts)
    areal = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    parts[areal] = shapely.coverage_simplify(parts[areal], _FINAL_SIMPLIFY * tolerance)
    return parts


def _owners(
    faces: NDArray[np.object_], pieces: NDArray[np.object_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the piece that each face has most in common with, and the area they have in common."""
    tree = shapely.STRtree(pieces)
    owner, common = np.zeros(len(faces), np.intp), np.zeros(len(faces))
    # The piece around a face's middle mostly has more than half of it, which no other can have.
    face, piece = tree.query(shapely.centroid(faces), predicate="intersects")
    owner[face] = piece
    common[face] = shapely.area(shapely.intersection(faces[face], pieces[owner[face]]))
    unsure = np.flatnonzero(common <= 0.501 * shapely.area(faces))
    face, piece = tree.query(faces[unsure], predicate="intersects")
    areas = np.zeros((len(unsure), len(pieces)))
    areas[face, piece] = shapely.area(shapely.intersection(faces[unsure[face]], pieces[piece]))
    owner[unsure], common[unsure] = areas.argmax(axis=1), areas.max(axis=1, initial=0)
    return owner, common


def _reassign_fragments(parts: NDArray[np.object_]) -> NDArray[np.object_]:
    """Merge all but the largest polygon of each part into the neighbour it borders most."""
    fragments: list[shapely.Polygon] = []
    for index, part in enumerate(parts):
        polygons = [each for each in shapely.get_parts(part) if each.geom_type == "Polygon"]
        polygons.sort(key=lambda polygon: -polygon.area)
        if polygons:
            parts[index] = polygons[0]
            fragments += polygons[1:]
    for fragment in fragments:
        border = shapely.length(shapely.intersection(parts, fragment))
        if border.max() > 0:
            index = int(border.argmax())
            parts[index] = shapely.union(parts[index], fragment)
    return parts


def _straightened(
    walls: NDArray[np.object_], main: float, tolerance: float
) -> list[shapely.LineString | shapely.LinearRing]:
    """Straighten walls, and extend them beyond the outline."""
    # A closed one is around a building in the courtyard of another.
    closed = shapely.is_closed(walls)
    straight = shapely.simplify(walls, np.where(closed, tolerance, 2 * tolerance))
    for index in np.flatnonzero(~closed).tolist():
        points = shapely.get_coordinates(straight[index])
        if len(points) == 2:
            points = _fit_wall(shapely.get_coordinates(walls[index]), main, 2 * tolerance)
        ends = np.stack([points[0] - points[1], points[-1] - points[-2]])
        longer = ends * (10 * tolerance / np.maximum(1e-9, np.hypot(*ends.T)))[:, None]
        straight[index] = shapely.linestrings(
            np.concatenate([points[:1] + longer[:1], points, points[-1:] + longer[1:]])
        )
    return list(straight)


def _main_direction(outline: shapely.Polygon) -> float:
    """Return the main direction of an outline's walls, in radians."""
    corners = shapely.get_coordinates(outline.exterior)
    walls = np.diff(corners, axis=0)
    return main_angle(walls, np.array([math.atan2(y, x) for x, y in walls.tolist()]))


def _fit_wall(points: NDArray[np.float64], main: float, tolerance: float) -> NDArray[np.float64]:
    """Fit a straight wall to points, at a right angle to a direction if that moves its ends little.

    Parameters
    ----------
    points : (n, 2) array
        Along pixel edges, in order.
    main : float
        The direction, in radians.
    tolerance : float
        Distance that the ends may be moved by, in the unit of the points.

    Returns
    -------
    (2, 2) array
        Ends of the wall.
    """
    middles = (points[:-1] + points[1:]) / 2 if len(points) > 2 else points
    angle = _direction(np.concatenate([points[:1], middles, points[-1:]]))
    square = main + round((angle - main) / (math.pi / 2)) * math.pi / 2
    length = math.dist(points[0], points[-1])
    if length / 2 * math.sin(abs(angle - square)) <= tolerance:
        angle = square
    along = np.array([math.cos(angle), math.sin(angle)])
    centre = middles.mean(axis=0)
    return np.array([centre + ((end - centre) @ along) * along for end in (points[0], points[-1])])


def _direction(points: NDArray[np.float64]) -> float:
    """Fit a direction, from first to last point, by total least squares; in radians."""
    chord = points[-1] - points[0]
    if len(points) > 3:
        spread = points - points.mean(axis=0)
        _, vectors = np.linalg.eigh(spread.T @ spread)
        axis = vectors[:, 1]
        chord = axis if axis @ chord >= 0 else -axis
    return math.atan2(chord[1], chord[0])

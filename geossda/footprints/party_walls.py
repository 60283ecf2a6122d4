"""Houses that touch keep their walls in common."""

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.wall_lines import main_angle

# Pieces are smoothed together by so many tolerances: walls that part them leave corners behind.
_SMOOTH = 2.0


def shared_walls(pieces: NDArray[np.object_]) -> NDArray[np.object_]:
    """Find the lines along which pieces touch.

    Parameters
    ----------
    pieces : (n,) array of Polygon
        In pixels, where what is one line is one to the last bit.

    Returns
    -------
    (m,) array of LineString
        In pixels; each between two pieces.
    """
    one, other = shapely.STRtree(pieces).query(pieces, predicate="intersects")
    walls: list[Any] = []
    for a, b in zip(one[one < other], other[one < other], strict=True):
        shared = shapely.intersection(pieces[a].boundary, pieces[b].boundary)
        lines = [part for part in shapely.get_parts(shared) if part.geom_type == "LineString"]
        if lines:  # they may touch at points only
            merged = shapely.line_merge(shapely.multilinestrings(lines))
            walls += list(shapely.get_parts(merged))
    return np.array(walls, object)


def partition(
    outline: Any,
    pieces: NDArray[np.object_],
    simple: NDArray[np.object_],
    walls: NDArray[np.object_],
    tolerance: float,
) -> NDArray[np.object_]:
    """Cut an outline into pieces by straight walls.

    The walls are straightened, carried on to the outline and laid over it; each face that comes of
    it goes to the piece it has most of.

    Parameters
    ----------
    outline : Polygon
        Of the pieces together, regular.
    pieces : (n,) array of Polygon
        Along pixels, in the same metres.
    simple : (n,) array of Polygon
        The same, simplified together.
    walls : (m,) array of LineString
        Between them.
    tolerance : float
        How far walls may be moved, in metres.

    Returns
    -------
    (n,) array of geometry
        They share their walls, and lie in the outline but for its smallest corners. A piece that
        no straight walls part from its neighbours keeps its own, simplified.
    """
    main = _main_direction(outline)
    straight = [_straight(wall, main, tolerance) for wall in walls]
    lines = shapely.union_all([shapely.boundary(outline), *straight])
    faces = shapely.get_parts(shapely.polygonize([*shapely.get_parts(lines)]))
    faces = faces[shapely.contains(outline.buffer(tolerance / 100), faces)]
    first, second = shapely.STRtree(pieces).query(faces, predicate="intersects")
    common = np.zeros((len(faces), len(pieces)))
    common[first, second] = shapely.area(shapely.intersection(faces[first], pieces[second]))
    owner = common.argmax(axis=1)
    made = np.array(
        [shapely.union_all(faces[owner == number]) for number in range(len(pieces))], object
    )
    made = np.asarray(shapely.simplify(made, tolerance / 100), object)
    astray = shapely.area(shapely.intersection(made, pieces)) < 0.7 * shapely.area(pieces)
    if astray.any():
        made[astray] = shapely.intersection(simple[astray], outline)
        made[~astray] = shapely.difference(made[~astray], shapely.union_all(made[astray]))
    made = _scraps_given(made)
    areal = shapely.get_type_id(made) == shapely.GeometryType.POLYGON
    made[areal] = shapely.coverage_simplify(made[areal], _SMOOTH * tolerance)
    return made


def _scraps_given(pieces: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give what walls cut off a piece to the neighbour it has the longest border with."""
    scraps: list[Any] = []
    for place, piece in enumerate(pieces):
        parts = [part for part in shapely.get_parts(piece) if part.geom_type == "Polygon"]
        parts.sort(key=lambda part: -part.area)
        if parts:
            pieces[place] = parts[0]
            scraps += parts[1:]
    for scrap in scraps:
        border = shapely.length(shapely.intersection(pieces, scrap))
        if border.max() > 0:
            place = int(border.argmax())
            pieces[place] = shapely.union(pieces[place], scrap)
    return pieces


def _straight(wall: Any, main: float, tolerance: float) -> Any:
    """Straighten a wall, and carry it on past the outline."""
    if shapely.is_closed(wall):  # one in the courtyard of another
        return shapely.simplify(wall, tolerance)
    points = shapely.get_coordinates(shapely.simplify(wall, 2 * tolerance))
    if len(points) == 2:
        points = _turned_square(shapely.get_coordinates(wall), main, 2 * tolerance)
    ends = [points[0] - points[1], points[-1] - points[-2]]
    ahead = [end * (10 * tolerance / max(1e-9, float(np.hypot(*end)))) for end in ends]
    return shapely.LineString([points[0] + ahead[0], *points, points[-1] + ahead[1]])


def _main_direction(outline: Any) -> float:
    """Give the main direction of an outline's walls, in radians."""
    corners = shapely.get_coordinates(outline.exterior)
    walls = np.diff(corners, axis=0)
    return main_angle(walls, np.array([math.atan2(y, x) for x, y in walls.tolist()]))


def _turned_square(
    points: NDArray[np.float64], main: float, tolerance: float
) -> NDArray[np.float64]:
    """Fit a straight wall to points, square to a direction if that moves no end by more.

    Parameters
    ----------
    points : (n, 2) array
        Along pixel edges, in order.
    main : float
        The direction, in radians.
    tolerance : float
        In the points' unit.

    Returns
    -------
    (2, 2) array
        Its ends.
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
    """Fit a direction to points in order (total least squares), walking from first to last."""
    chord = points[-1] - points[0]
    if len(points) > 3:
        spread = points - points.mean(axis=0)
        _, vectors = np.linalg.eigh(spread.T @ spread)
        axis = vectors[:, 1]
        chord = axis if axis @ chord >= 0 else -axis
    return math.atan2(chord[1], chord[0])

"""Streets of a synthetic town, and the smooth bend of their straight grid."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

Points = NDArray[np.float64]
Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class Street:
    """Street with its centre line (N, 2) and full width in metres."""

    line: Points
    width: float
    paved: bool


class Bend:
    """Smooth map from the straight grid (u, v) to the ground (x, y), both in metres.

    Parameters
    ----------
    rng : Generator
    centre : (float, float)
        Position of the grid's origin on the ground.
    """

    def __init__(self, rng: np.random.Generator, centre: tuple[float, float]) -> None:
        turn = rng.uniform(0.15, 1.4)
        self._turn = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        self._centre = np.array(centre)
        lengths = np.array([520.0, 400.0, 190.0, 95.0])
        headings = rng.uniform(0, 2 * np.pi, 4)
        self._waves = 2 * np.pi / lengths * np.array([np.cos(headings), np.sin(headings)])
        self._phases = rng.uniform(0, 2 * np.pi, 4)
        swing = rng.uniform(0, 2 * np.pi, 4)
        # Amplitudes are small relative to the wavelengths, so that no two streets cross.
        reach = np.array([17.0, 12.0, 3.0, 1.1])[:, None]
        self._shifts = reach * np.column_stack([np.cos(swing), np.sin(swing)])

    def __call__(self, points: Points) -> Points:
        """Return the positions on the ground of (N, 2) points of the grid."""
        bent = points + np.sin(points @ self._waves + self._phases) @ self._shifts
        ground: Points = bent @ self._turn + self._centre
        return ground

    def place(self, u: float, v: float) -> tuple[float, float, float]:
        """Return x, y and the angle of the u axis (radians) at a point.

        Parameters
        ----------
        u, v : float
            Coordinates on the grid, in metres.
        """
        origin, ahead = self(np.array([[u, v], [u + 1.0, v]]))
        step = ahead - origin
        return float(origin[0]), float(origin[1]), math.atan2(step[1], step[0])

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> Points:
        """Return a straight line of the grid on the ground, with a point about every 4 m.

        Parameters
        ----------
        start, end : (float, float)
            Coordinates on the grid, in metres.

        Returns
        -------
        (N, 2) array
        """
        count = max(2, int(math.dist(start, end) / 4) + 1)
        return self(np.linspace(start, end, count))

    def outline(self, rect: Rect) -> Points:
        """Return the outline of a rectangle of the grid on the ground, not closed."""
        u0, v0, u1, v1 = rect
        corners = [(u0, v0), (u1, v0), (u1, v1), (u0, v1), (u0, v0)]
        sides = [self.line(a, b)[:-1] for a, b in itertools.pairwise(corners)]
        return np.concatenate(sides)


def dry(street: Street, wet: BaseGeometry) -> list[Street]:
    """Return the parts of a street on dry land: paved streets have bridges, tracks end.

    Parameters
    ----------
    street : Street
    wet : Polygon or MultiPolygon
        Water, in metres.
    """
    if street.paved:
        return [street]
    rest = LineString(street.line).difference(wet)
    pieces = getattr(rest, "geoms", [rest])
    return [
        Street(np.asarray(piece.coords), street.width, False)
        for piece in pieces
        if piece.length > 6
    ]

"""Streets of the made-up town, and the bend that gives their straight grid its curves."""

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
    """A street's centre line (N, 2) and full width, in metres."""

    line: Points
    width: float
    paved: bool


class Bend:
    """The smooth map from the straight grid (u, v) to the ground (x, y), both in metres.

    Parameters
    ----------
    rng : Generator
    centre : (float, float)
        Where the grid's origin comes to lie.
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
        # Amplitudes stay small against the lengths, so that no two streets ever fold together.
        reach = np.array([17.0, 12.0, 3.0, 1.1])[:, None]
        self._shifts = reach * np.column_stack([np.cos(swing), np.sin(swing)])

    def __call__(self, points: Points) -> Points:
        """Bend points, an (N, 2) array."""
        bent = points + np.sin(points @ self._waves + self._phases) @ self._shifts
        ground: Points = bent @ self._turn + self._centre
        return ground

    def place(self, u: float, v: float) -> tuple[float, float, float]:
        """Give x, y and the angle of the grid's u axis there."""
        here, ahead = self(np.array([[u, v], [u + 1.0, v]]))
        step = ahead - here
        return float(here[0]), float(here[1]), math.atan2(step[1], step[0])

    def line(self, start: tuple[float, float], end: tuple[float, float]) -> Points:
        """Bend a straight line, a point every 4 m or so."""
        count = max(2, int(math.dist(start, end) / 4) + 1)
        return self(np.linspace(start, end, count))

    def outline(self, rect: Rect) -> Points:
        """Bend a rectangle's outline, not closed."""
        u0, v0, u1, v1 = rect
        corners = [(u0, v0), (u1, v0), (u1, v1), (u0, v1), (u0, v0)]
        sides = [self.line(a, b)[:-1] for a, b in itertools.pairwise(corners)]
        return np.concatenate(sides)


def dry(street: Street, wet: BaseGeometry) -> list[Street]:
    """Give what is left of a street at the water: paved ones have bridges, tracks end."""
    if street.paved:
        return [street]
    rest = LineString(street.line).difference(wet)
    pieces = getattr(rest, "geoms", [rest])
    return [
        Street(np.asarray(piece.coords), street.width, False)
        for piece in pieces
        if piece.length > 6
    ]

"""Outlines along pixels cut into runs, and the lines fitted to them, for many outlines at once.

An outline is cut into runs by the rule of Douglas and Peucker, and a line is fitted to the
midpoints of the pixel edges of each run: they scatter evenly about the true wall, as corners of
pixels do not. Most runs are so short that a call of NumPy for each takes longer than its work.
"""

import math
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import index_ranges

# Directions within this angle of each other vote together for the main direction, in radians.
_VOTE_WIDTH_RAD = math.radians(12)
# Number of the longest lines that vote: all pairs are compared.
_MAX_VOTERS = 256
# Least number of corners of a ring with an area, the first one counted twice.
_LEAST_CORNERS = 5


class Rings(NamedTuple):
    """Midpoints of the pixel edges along rings.

    Attributes
    ----------
    points : (m, 2) float array
        Ring by ring, each in order from a far corner; the first point is not repeated.
    first, counts : (r,) int arrays
        Place of the first point of each ring, and number of its points.
    polygon : (r,) int array
        Polygon of each ring, ascending; its outer ring comes first.
    """

    points: NDArray[np.float64]
    first: NDArray[np.intp]
    counts: NDArray[np.intp]
    polygon: NDArray[np.intp]

    def outer(self) -> "Rings":
        """Return the outer ring of each polygon."""
        ring = np.flatnonzero(np.append(True, self.polygon[1:] != self.polygon[:-1]))
        count = self.counts[ring]
        points = self.points[index_ranges(self.first[ring], self.first[ring] + count)]
        return Rings(points, np.cumsum(count) - count, count, self.polygon[ring])


class Runs(NamedTuple):
    """The points of rings, cut into runs; a point where two runs meet is in both.

    Attributes
    ----------
    points : (n, 2) float array
        Run by run.
    first, last : (k,) int arrays
        Place of the first and of the last point of each run.
    ring : (k,) int array
        Ring of each run, ascending.
    """

    points: NDArray[np.float64]
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    ring: NDArray[np.intp]

    @property
    def owner(self) -> NDArray[np.intp]:
        """Run of each point, (n,)."""
        return np.repeat(np.arange(len(self.first)), self.last - self.first + 1)

    def take(self, runs: slice) -> "Runs":
        """Return some consecutive runs."""
        first, last = self.first[runs], self.last[runs]
        if not len(first):
            return Runs(self.points[:0], first, last, self.ring[runs])
        return Runs(
            self.points[first[0] : last[-1] + 1], first - first[0], last - first[0], self.ring[runs]
        )

    def of_rings(self, rings: NDArray[np.intp]) -> "Runs":
        """Return the runs of some rings, ascending, which are numbered from 0 then."""
        kept = np.isin(self.ring, rings)
        first, last = self.first[kept], self.last[kept]
        ends = np.cumsum(last - first + 1)
        points = self.points[index_ranges(first, last + 1)]
        return Runs(
            points, ends - (last - first + 1), ends - 1, np.searchsorted(rings, self.ring[kept])
        )

    def medians(self, points: NDArray[np.float64], axis: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the median of one coordinate of each run's points, which may have been turned."""
        counts, run = self.last - self.first + 1, self.owner
        values = points[np.arange(len(run)), axis[run]]
        values = values[np.lexsort((values, run))]
        lower, upper = values[self.first + (counts - 1) // 2], values[self.first + counts // 2]
        return np.asarray((lower + upper) / 2)


class FittedRuns(NamedTuple):
    """Lines fitted to runs by total least squares, directed from first to last point.

    Attributes
    ----------
    runs : Runs
    angle : (k,) float array
        Direction of each line, in radians.
    centre : (k, 2) float array
        Mean of its points.
    """

    runs: Runs
    angle: NDArray[np.float64]
    centre: NDArray[np.float64]

    def take(self, runs: slice) -> "FittedRuns":
        """Return some consecutive ones."""
        return FittedRuns(self.runs.take(runs), self.angle[runs], self.centre[runs])

    def residuals(self) -> NDArray[np.float64]:
        """Return the signed distance of each point from its line, (n,)."""
        run = self.runs.owner
        off = self.runs.points - self.centre[run]
        return np.asarray(np.cos(self.angle)[run] * off[:, 1] - np.sin(self.angle)[run] * off[:, 0])

    def main_direction(self) -> float:
        """Return the direction most lines are parallel or at right angles to, in radians."""
        points = self.runs.points
        return main_angle(points[self.runs.last] - points[self.runs.first], self.angle)

    def correlated_points(self) -> float:
        """Return how many neighbouring points count as one independent observation.

        It follows from the correlation of neighbouring residuals: those of a mask scatter, those of
        a model's outline wander.
        """
        distance, run = self.residuals(), self.runs.owner
        products = float((distance[1:] * distance[:-1])[run[1:] == run[:-1]].sum())
        correlation = min(max(products / max(float(distance @ distance), 1e-12), 0.0), 0.95)
        return (1 + correlation) / (1 - correlation)


def edge_midpoints(polygons: NDArray[np.object_], pixels: NDArray[np.float64]) -> Rings:
    """Return the midpoints of the pixel edges along the rings of polygons.

    Parameters
    ----------
    polygons : (n,) array of shapely.Polygon
        Along pixel edges.
    pixels : (n,) float array
        Pixel size at each, in the unit of the polygons.

    Returns
    -------
    Rings
    """
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    along = ring[1:] == ring[:-1]
    steps, ring = np.diff(corners, axis=0)[along], ring[:-1][along]
    edges = np.maximum(1, np.rint(np.hypot(*steps.T) / pixels[polygon[ring]])).astype(np.intp)
    step = np.repeat(np.arange(len(steps)), edges)
    number = np.arange(len(step)) - np.repeat(np.cumsum(edges) - edges, edges)
    points = corners[:-1][along][step] + steps[step] * ((number + 0.5) / edges[step])[:, None]
    owner = ring[step]
    count = np.bincount(owner, minlength=len(rings))
    first = np.cumsum(count) - count
    if not len(rings):
        return Rings(points, first, count, polygon)
    middle = np.add.reduceat(points, first, axis=0) / count[:, None]
    away = ((points - middle[owner]) ** 2).sum(axis=1)
    farthest = np.flatnonzero(away == np.maximum.reduceat(away, first)[owner])
    start = farthest[np.searchsorted(farthest, first)]
    rolled = np.arange(len(points)) + (start - first)[owner]
    rolled -= np.where(rolled >= (first + count)[owner], count[owner], 0)
    return Rings(points[rolled], first, count, polygon)


def split_runs(rings: Rings, tolerances: NDArray[np.float64]) -> Runs:
    """Cut rings into runs where Douglas and Peucker keep a point.

    Parameters
    ----------
    rings : Rings
    tolerances : (r,) float array
        One for each ring, in the unit of the points.

    Returns
    -------
    Runs
    """
    count = rings.counts + 1
    ring = np.repeat(np.arange(len(count)), count)
    begin = np.cumsum(count) - count
    number = np.arange(len(ring)) - begin[ring]
    closed = rings.points[rings.first[ring] + number % rings.counts[ring]]
    # Each point carries its index as z, which simplifying keeps.
    lines = np.asarray(shapely.linestrings(np.column_stack([closed, number]), indices=ring), object)
    kept = shapely.simplify(lines, tolerances * 0.75, preserve_topology=False)
    # Only what preserves topology leaves small rings an area.
    flat = shapely.get_num_coordinates(kept) < _LEAST_CORNERS
    kept[flat] = shapely.simplify(lines[flat], tolerances[flat] * 0.75)
    ends, ring = shapely.get_coordinates(kept, include_z=True, return_index=True)
    place = ends[:, 2].astype(np.intp) + begin[ring]
    along = ring[1:] == ring[:-1]
    start, stop = place[:-1][along], place[1:][along]
    last = np.cumsum(stop - start + 1) - 1
    points = closed[index_ranges(start, stop + 1)]
    return Runs(points, last - (stop - start), last, ring[:-1][along])


def fit_lines(runs: Runs) -> FittedRuns:
    """Fit a line to each run of points (total least squares), directed from first to last."""
    points, begins, ends = runs.points, runs.first, runs.last
    counts = ends - begins + 1
    centres = np.add.reduceat(points, begins) / counts[:, None]
    x, y = (points - np.repeat(centres, counts, axis=0)).T
    xx, xy, yy = np.add.reduceat(np.stack([x * x, x * y, y * y]), begins, axis=1)
    chords = points[ends] - points[begins]
    angles = np.arctan2(2 * xy, xx - yy) / 2  # of the longer principal axis
    backward = np.cos(angles) * chords[:, 0] + np.sin(angles) * chords[:, 1] < 0
    angles += np.where(backward, np.where(angles > 0, -math.pi, math.pi), 0)
    angles = np.where(counts > 3, angles, np.arctan2(chords[:, 1], chords[:, 0]))
    return FittedRuns(runs, angles, centres)


def main_angle(chords: NDArray[np.float64], angles: NDArray[np.float64]) -> float:
    """Return the main direction of lines, right angles to it included.

    Parameters
    ----------
    chords : (n, 2) float array
        Last point of each line less its first.
    angles : (n,) float array
        Direction of each line in radians.

    Returns
    -------
    float
        In radians.
    """
    lengths = np.hypot(*chords.T)
    longest = np.lexsort((angles, lengths))[::-1][:_MAX_VOTERS]
    lengths, angles = lengths[longest], angles[longest]
    apart = (angles[:, None] - angles[None]) / (math.pi / 2)
    apart = np.abs(apart - np.rint(apart)) * (math.pi / 2)
    votes = np.maximum(0, 1 - apart / _VOTE_WIDTH_RAD) @ lengths**2
    near = apart[np.argmax(votes)] < _VOTE_WIDTH_RAD
    weights = lengths[near] ** 2
    fourfold = (weights * np.exp(4j * angles[near])).sum()
    return float(np.angle(fourfold) / 4)

"""Overlaps of outlines that were moved off their pixels, cut off the smaller of two."""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.ground_scale import apply_affine
from geossda.footprints.lattice import GRAIN_PX, areal_parts, valid_polygons
from geossda.footprints.records import Footprints, OpenComponents
from geossda.footprints.rectilinear import MIN_WALL
from geossda.footprints.shaping import Shaping

# Distance in pixels beyond an overlap that is cut off with it, so that no rounding leaves some.
_MARGIN_PX = 4 * GRAIN_PX
# Greatest share of an outline that a straight cut may take besides the overlap.
_MOST_BESIDES = 0.03


class OverlapResolver:
    """Hold footprints back until all their neighbours are known, then cut overlaps off.

    Of two outlines that overlap, the one of fewer pixels loses the overlap (of equal ones the
    later), but for slivers as wide as the lattice's spacing. This depends on the two alone, and
    footprints leave in the order they came in, so the result does not depend on the blocks of the
    raster.

    Parameters
    ----------
    reach_px : float
        Greatest distance of an outline from its pixels, in pixels.
    shaping : Shaping, optional
        Where it draws straight walls, what is cut off is a rectangle along those of the smaller
        outline, so that its angles stay right; elsewhere only the overlap is.
    """

    def __init__(self, reach_px: float, shaping: Shaping | None = None) -> None:
        self._reach_px, self._shaping = reach_px, shaping
        self._footprints: Footprints | None = None
        self._polygons: NDArray[np.object_] = np.zeros(0, object)
        self._released = 0  # number of the first footprints that left, and are still neighbours

    def add(
        self,
        footprints: Footprints,
        polygons: NDArray[np.object_],
        open_components: OpenComponents,
    ) -> tuple[Footprints, NDArray[np.object_]]:
        """Add footprints, and return those whose neighbours are all known.

        Parameters
        ----------
        footprints : Footprints
        polygons : (n,) array of shapely.Polygon
            Their new outlines, in pixels.
        open_components : OpenComponents
            Components that are not complete yet.

        Returns
        -------
        footprints : Footprints
        polygons : (k,) array of shapely.Polygon
            Their outlines without overlaps.
        """
        if self._footprints is not None:
            footprints = Footprints.concatenate([self._footprints, footprints])
        self._footprints = footprints
        self._polygons = np.concatenate([self._polygons, polygons])
        waiting = shapely.bounds(self._polygons[self._released :]).reshape(-1, 4)
        held = self._within_reach(waiting, open_components)
        count = int(np.argmax(held)) if held.any() else len(held)
        leaving = np.arange(self._released, self._released + count)
        resolved = footprints.take(leaving), self._without_overlaps(footprints, leaving)
        self._released += count
        self._forget(footprints, open_components)
        return resolved

    def _within_reach(
        self, bounds: NDArray[np.float64], open_components: OpenComponents
    ) -> NDArray[np.bool_]:
        """Return which boxes a component to come, or one not yet complete, may reach into."""
        near = bounds[:, 3] + self._reach_px > open_components.row
        if len(open_components.boxes) and len(bounds):
            grown = open_components.boxes + self._reach_px * np.array([-1, -1, 1, 1])
            tree = shapely.STRtree(_boxes(grown))
            near[np.unique(tree.query(_boxes(bounds))[0])] = True
        return near

    def _without_overlaps(
        self, footprints: Footprints, leaving: NDArray[np.int64]
    ) -> NDArray[np.object_]:
        polygons = self._polygons[leaving]
        if not len(leaving):
            return polygons
        one, other = shapely.STRtree(self._polygons).query(polygons, predicate="intersects")
        pixels = footprints.pixels
        own = leaving[one]
        loses = (pixels[other] > pixels[own]) | ((pixels[other] == pixels[own]) & (other < own))
        order = np.lexsort((other[loses], one[loses]))
        one, other = one[loses][order], other[loses][order]
        losers, winners = polygons[one], self._polygons[other]
        cuts = self._cuts(losers, winners)
        overlap = ~shapely.is_empty(cuts)
        one, cuts = one[overlap], cuts[overlap]
        # One cut of each loser at a time.
        turn = np.arange(len(one)) - np.searchsorted(one, one)
        for number in range(int(turn.max(initial=-1)) + 1):
            now = turn == number
            left = shapely.difference(polygons[one[now]], cuts[now], grid_size=GRAIN_PX)
            polygons[one[now]] = valid_polygons(left)
        return polygons

    def _cuts(
        self, losers: NDArray[np.object_], winners: NDArray[np.object_]
    ) -> NDArray[np.object_]:
        """Return what is cut off each loser; nothing where the two only touch."""
        overlaps = shapely.intersection(losers, winners)
        size = shapely.area(overlaps)
        cuts = winners.copy()  # where nothing straight will do, all that the winner covers
        cuts[size == 0] = shapely.Polygon()
        # What only touches is no part of an overlap.
        mixed = shapely.get_type_id(overlaps) == shapely.GeometryType.GEOMETRYCOLLECTION
        for index in np.flatnonzero(mixed & (size > 0)).tolist():
            overlaps[index] = shapely.multipolygons(areal_parts(overlaps[index]))
        straight = np.flatnonzero(size > 0)
        if self._shaping is None or self._shaping.regularity != "rectilinear" or not len(straight):
            return cuts
        losing, overlaps = losers[straight], overlaps[straight]
        matrices = self._shaping.pixel_matrices(losing)
        most = size[straight] + _MOST_BESIDES * shapely.area(losing)
        least_m = MIN_WALL * max(self._shaping.tolerance_m, self._shaping.gsd_m)
        # A whole wall rather than part of one, if that does not take too much.
        for cut in _straight_cuts(overlaps, losing, matrices, least_m):
            kept = shapely.area(shapely.intersection(cut, losing)) <= most
            cuts[straight[kept]] = cut[kept]
        return cuts

    def _forget(self, footprints: Footprints, open_components: OpenComponents) -> None:
        """Drop footprints that left and that nothing to come can overlap."""
        if not self._released:
            return
        bounds = shapely.bounds(self._polygons).reshape(-1, 4)
        needed = self._within_reach(bounds, open_components)
        needed[self._released :] = True
        if self._released < len(bounds):
            tree = shapely.STRtree(_boxes(bounds[self._released :]))
            needed[np.unique(tree.query(_boxes(bounds))[0])] = True
        self._footprints, self._polygons = footprints.take(needed), self._polygons[needed]
        self._released = int(needed[: self._released].sum())


def _boxes(bounds: NDArray[np.float64]) -> NDArray[np.object_]:
    return np.asarray(shapely.box(*bounds.T), object)


def _straight_cuts(
    overlaps: NDArray[np.object_],
    outlines: NDArray[np.object_],
    matrices: NDArray[np.float64],
    min_wall_m: float,
) -> Iterator[NDArray[np.object_]]:
    """Yield rectangles around overlaps, along the walls of the outlines that lose them, in pixels.

    The first ones leave no strip that would be narrower than a wall. Those that follow are as long
    as the outline, so that a whole wall moves back.
    """
    turned = _along_longest_walls(outlines, matrices)
    to_walls, back = _linear(turned), _linear(np.linalg.inv(turned))
    margin = _MARGIN_PX * np.sqrt(np.abs(np.linalg.det(turned)))[:, None]
    inner, outer = (
        shapely.bounds(apply_affine(each, to_walls)) + margin * np.array([-1, -1, 1, 1])
        for each in (overlaps, outlines)
    )
    narrow = np.abs(inner - outer) < min_wall_m
    box = np.where(narrow, outer, inner)
    yield apply_affine(_boxes(box), back)
    length = inner[:, 2:] - inner[:, :2]
    along = np.tile(length == length.max(axis=1, keepdims=True), 2)
    yield apply_affine(_boxes(np.where(along, outer, box)), back)


def _linear(matrices: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n, 2, 2) matrices as affine ones that move nothing, (n, 2, 3)."""
    return np.concatenate([matrices, np.zeros((len(matrices), 2, 1))], axis=2)


def _along_longest_walls(
    polygons: NDArray[np.object_], matrices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (n, 2, 2) matrices from pixels to metres along and across the longest wall of each."""
    points, owner = shapely.get_coordinates(shapely.get_exterior_ring(polygons), return_index=True)
    along = owner[1:] == owner[:-1]
    owner = owner[:-1][along]
    walls = np.einsum("nij,nj->ni", matrices[owner], np.diff(points, axis=0)[along])
    length = np.hypot(*walls.T)
    order = np.lexsort((length, owner))
    longest = order[np.searchsorted(owner, np.arange(len(polygons)), side="right") - 1]
    cos, sin = (walls[longest] / length[longest, None]).T
    turn = np.stack([np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)], axis=1)
    return np.asarray(turn @ matrices)

"""Overlaps of outlines that were moved off their pixels, cut off the smaller of two."""

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.records import Footprints, OpenComponents

# Spacing in pixels of the lattice that outlines are rounded to, so that no rounding makes them
# cross.
GRAIN_PX = 2.0**-16


class OverlapResolver:
    """Hold footprints back until all their neighbours are known, then cut overlaps off.

    Of two outlines that overlap, the one of fewer pixels loses the overlap (of equal ones the
    later). This depends on the two alone, and footprints leave in the order they came in, so the
    result does not depend on the blocks of the raster.

    Parameters
    ----------
    reach_px : float
        Greatest distance of an outline from its pixels, in pixels.
    """

    def __init__(self, reach_px: float) -> None:
        self._reach_px = reach_px
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
        one, other = one[loses], other[loses]
        order = np.lexsort((other, one))
        for loser, winner in zip(one[order], other[order], strict=True):
            if not shapely.touches(polygons[loser], self._polygons[winner]):
                polygons[loser] = shapely.difference(
                    polygons[loser], self._polygons[winner], grid_size=GRAIN_PX
                )
        return polygons

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

"""Outlines that were moved must not lie over each other: the smaller gives way."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.records import OpenComponents, Parts

# Outlines keep to a lattice this fine, in pixels, so that no rounding makes them cross.
GRAIN_PX = 2.0**-16


class OverlapResolver:
    """Holds footprints back until all their neighbours are known, then cuts overlaps off.

    Where two outlines overlap the part with fewer pixels loses the overlap (of equal ones the
    later). That depends on the two alone, and footprints leave in the order they came, so how the
    raster was cut changes nothing.

    Parameters
    ----------
    reach : float
        How far outlines can have moved from the pixels, in pixels.
    """

    def __init__(self, reach: float) -> None:
        self._reach = reach
        self._parts: Parts | None = None
        self._shapes: NDArray[np.object_] = np.zeros(0, object)
        self._gone = 0  # so many at the front have left, and are still somebody's neighbours

    def add(
        self, parts: Parts, shapes: NDArray[np.object_], still: OpenComponents
    ) -> tuple[Parts, Any]:
        """Take footprints with their new outlines; give those that are settled.

        Parameters
        ----------
        parts : Parts
            As they came.
        shapes : (n,) array of Polygon
            Their outlines now.
        still : OpenComponents
            The parts that are not whole yet.
        """
        self._parts = parts if self._parts is None else self._parts.followed_by(parts)
        self._shapes = np.concatenate([self._shapes, shapes])
        waiting = shapely.bounds(self._shapes[self._gone :]).reshape(-1, 4)
        held = self._near(waiting, still)
        count = int(np.argmax(held)) if held.any() else len(held)
        leaving = np.arange(self._gone, self._gone + count)
        settled = self._parts.take(leaving), self._cut(leaving)
        self._gone += count
        self._forget(still)
        return settled

    def _near(self, bounds: NDArray[np.float64], still: OpenComponents) -> NDArray[np.bool_]:
        """Tell which boxes something to come, or not yet whole, may reach into."""
        near = bounds[:, 3] + self._reach > still.row
        if len(still.boxes) and len(bounds):
            grown = still.boxes + self._reach * np.array([-1, -1, 1, 1])
            tree = shapely.STRtree(_boxes(grown))
            near[np.unique(tree.query(_boxes(bounds))[0])] = True
        return near

    def _cut(self, leaving: NDArray[np.int64]) -> NDArray[np.object_]:
        shapes = self._shapes[leaving]
        if not len(leaving) or self._parts is None:
            return shapes
        mine, theirs = shapely.STRtree(self._shapes).query(shapes, predicate="intersects")
        pixels = self._parts.pixels
        own = leaving[mine]
        weaker = (pixels[theirs] > pixels[own]) | ((pixels[theirs] == pixels[own]) & (theirs < own))
        mine, theirs = mine[weaker], theirs[weaker]
        order = np.lexsort((theirs, mine))
        for one, other in zip(mine[order], theirs[order], strict=True):
            if not shapely.touches(shapes[one], self._shapes[other]):
                shapes[one] = shapely.difference(
                    shapes[one], self._shapes[other], grid_size=GRAIN_PX
                )
        return shapes

    def _forget(self, still: OpenComponents) -> None:
        """Drop those that left and are nobody's neighbours any more."""
        if not self._gone or self._parts is None:
            return
        bounds = shapely.bounds(self._shapes).reshape(-1, 4)
        needed = self._near(bounds, still)
        needed[self._gone :] = True
        if self._gone < len(bounds):
            tree = shapely.STRtree(_boxes(bounds[self._gone :]))
            needed[np.unique(tree.query(_boxes(bounds))[0])] = True
        self._parts, self._shapes = self._parts.take(needed), self._shapes[needed]
        self._gone = int(needed[: self._gone].sum())


def _boxes(bounds: NDArray[np.float64]) -> NDArray[np.object_]:
    return np.asarray(shapely.box(*bounds.T), object)

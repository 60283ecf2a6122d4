"""Outlines of many polygons as plain arrays, without one object for each.

Creating, transforming and encoding geometries one by one takes as long as tracing them, and holds
the interpreter's lock meanwhile.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray


class Outlines(NamedTuple):
    """Polygons or MultiPolygons as arrays of points, rings and shapes.

    Attributes
    ----------
    xy : (m, 2) array
        Points, x and y; each ring ends with its first point.
    begin, end : (r,) int arrays
        Range of the points of each ring.
    outer : (r,) bool array
        True for the outer ring of a polygon; its holes follow it.
    first, last : (n,) int arrays
        Range of the rings of each shape.
    box : (n, 4) array
        Bounding boxes: left, top, right, bottom in pixels; least x, least y, greatest x and
        greatest y in a CRS.
    multi : bool
        Whether shapes are MultiPolygons.
    """

    xy: NDArray[Any]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    outer: NDArray[np.bool_]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    box: NDArray[Any]
    multi: bool = False

    @classmethod
    def empty(cls) -> "Outlines":
        """Return no shapes."""
        none = np.zeros(0, np.int64)
        box, xy = np.zeros((0, 4), np.int64), np.zeros((0, 2), np.int32)
        return cls(xy, none, none, np.zeros(0, bool), none, none, box)

    @classmethod
    def concatenate(cls, batches: "Sequence[Outlines]") -> "Outlines":
        """Concatenate several batches."""
        points = np.cumsum([0, *(len(batch.xy) for batch in batches)])
        rings = np.cumsum([0, *(len(batch.begin) for batch in batches)])
        return cls(
            np.concatenate([batch.xy for batch in batches]),
            np.concatenate([each.begin + at for each, at in zip(batches, points, strict=False)]),
            np.concatenate([each.end + at for each, at in zip(batches, points, strict=False)]),
            np.concatenate([batch.outer for batch in batches]),
            np.concatenate([each.first + at for each, at in zip(batches, rings, strict=False)]),
            np.concatenate([each.last + at for each, at in zip(batches, rings, strict=False)]),
            np.concatenate([batch.box for batch in batches]),
            any(batch.multi for batch in batches),
        )

    def take(self, selection: NDArray[np.generic]) -> "Outlines":
        """Return the shapes that an index array or a mask selects; points are not copied."""
        return self._replace(
            first=self.first[selection], last=self.last[selection], box=self.box[selection]
        )

    def to_multipolygons(self, order: NDArray[np.int64], begins: NDArray[np.int64]) -> "Outlines":
        """Combine runs of polygons into MultiPolygons.

        Parameters
        ----------
        order : (n,) int array
            Indices of the polygons, those of one MultiPolygon side by side.
        begins : (k,) int array
            Where in `order` each MultiPolygon begins.

        Returns
        -------
        Outlines
            k MultiPolygons.
        """
        rings = index_ranges(self.first[order], self.last[order])
        counts = np.add.reduceat((self.last - self.first)[order], begins)
        last, box = np.cumsum(counts), self.box[order]
        least = np.minimum.reduceat(box[:, :2], begins)
        greatest = np.maximum.reduceat(box[:, 2:], begins)
        return Outlines(
            self.xy, self.begin[rings], self.end[rings], self.outer[rings],
            last - counts, last, np.hstack([least, greatest]), multi=True,
        )  # fmt: skip

    def to_crs(self, transform: Affine) -> "Outlines":
        """Return the outlines in the CRS of a grid, from its pixels."""
        col, row = self.xy.T
        xy = np.empty((len(col), 2))
        xy[:, 0], xy[:, 1] = transform * (col, row)
        box = np.zeros((len(self.first), 4))
        if len(box):
            rings = index_ranges(self.first, self.last)
            order = np.argsort(self.begin[rings])
            # reduceat takes (begin, end) pairs; the results between the pairs are discarded.
            pairs = np.column_stack([self.begin[rings], self.end[rings] - 1])[order].ravel()
            begins = np.cumsum(self.last - self.first) - (self.last - self.first)
            for side, extreme in ((slice(2), np.minimum), (slice(2, 4), np.maximum)):
                per_ring = np.empty((len(rings), 2))
                per_ring[order] = extreme.reduceat(xy, pairs)[::2]
                box[:, side] = extreme.reduceat(per_ring, begins)
        return self._replace(xy=xy, box=box)

    @property
    def first_points(self) -> NDArray[Any]:
        """First point of each shape, (n, 2)."""
        return np.asarray(self.xy[self.begin[self.first]])

    def to_shapely(self) -> NDArray[np.object_]:
        """Return an (n,) array of shapely.Polygon or shapely.MultiPolygon."""
        if not len(self.first):
            return np.zeros(0, object)
        rings = index_ranges(self.first, self.last)
        begin, end = self.begin[rings], self.end[rings]
        points = self.xy[index_ranges(begin, end)].astype(np.float64)
        offsets = [_offsets(end - begin), _offsets(self.last - self.first)]
        kind = shapely.GeometryType.POLYGON
        if self.multi:
            kind = shapely.GeometryType.MULTIPOLYGON
            polygons = np.append(np.flatnonzero(self.outer[rings]), len(rings))
            offsets[1:] = polygons, np.searchsorted(polygons, offsets[1])
        return np.asarray(shapely.from_ragged_array(kind, points, tuple(offsets)), object)


Geometries = Outlines | NDArray[np.object_]


def index_ranges(begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate the ranges from each `begin` up to, not including, its `end`.

    Parameters
    ----------
    begin, end : (n,) int arrays

    Returns
    -------
    (sum of end - begin,) int64 array
    """
    counts = end - begin
    total = np.cumsum(counts)
    shift = np.repeat(begin - total + counts, counts)
    return np.asarray(np.arange(len(shift)) + shift)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])


def bounds_of(geometry: Geometries) -> NDArray[np.float64]:
    """Return (n, 4) bounding boxes: least x, least y, greatest x, greatest y."""
    if isinstance(geometry, Outlines):
        return geometry.box
    return np.asarray(shapely.bounds(geometry).reshape(-1, 4))

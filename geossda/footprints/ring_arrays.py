"""Outlines of many shapes as plain arrays, without an object for each.

Making, moving and encoding geometries one by one takes as long as tracing them, and lets no other
thread on meanwhile.
"""

from typing import Any, NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray


class Outlines(NamedTuple):
    """Polygons, or MultiPolygons.

    Attributes
    ----------
    xy : (m, 2) array
        Points; each ring ends where it began.
    begin, end : (r,) int arrays
        The points of each ring.
    outer : (r,) bool array
        Whether a ring begins a polygon; its holes follow.
    first, last : (n,) int arrays
        The rings of each shape.
    box : (n, 4) array
        Left, top, right and bottom in pixels; the least x and y and the greatest on the ground.
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
    def none(cls) -> "Outlines":
        """Give no shapes at all."""
        none = np.zeros(0, np.int64)
        box, xy = np.zeros((0, 4), np.int64), np.zeros((0, 2), np.int32)
        return cls(xy, none, none, np.zeros(0, bool), none, none, box)

    @classmethod
    def joined(cls, pieces: "list[Outlines]") -> "Outlines":
        """Put several together."""
        points = np.cumsum([0, *(len(piece.xy) for piece in pieces)])
        rings = np.cumsum([0, *(len(piece.begin) for piece in pieces)])
        return cls(
            np.concatenate([piece.xy for piece in pieces]),
            np.concatenate([each.begin + at for each, at in zip(pieces, points, strict=False)]),
            np.concatenate([each.end + at for each, at in zip(pieces, points, strict=False)]),
            np.concatenate([piece.outer for piece in pieces]),
            np.concatenate([each.first + at for each, at in zip(pieces, rings, strict=False)]),
            np.concatenate([each.last + at for each, at in zip(pieces, rings, strict=False)]),
            np.concatenate([piece.box for piece in pieces]),
            any(piece.multi for piece in pieces),
        )

    def take(self, chosen: NDArray[np.generic]) -> "Outlines":
        """Choose some by index or mask; points stay where they are."""
        return self._replace(first=self.first[chosen], last=self.last[chosen], box=self.box[chosen])

    def together(self, order: NDArray[np.int64], begins: NDArray[np.int64]) -> "Outlines":
        """Make MultiPolygons of runs of polygons, put in `order`, that begin at `begins`."""
        rings = spread(self.first[order], self.last[order])
        counts = np.add.reduceat((self.last - self.first)[order], begins)
        last, box = np.cumsum(counts), self.box[order]
        least = np.minimum.reduceat(box[:, :2], begins)
        most = np.maximum.reduceat(box[:, 2:], begins)
        return Outlines(
            self.xy, self.begin[rings], self.end[rings], self.outer[rings],
            last - counts, last, np.hstack([least, most]), multi=True,
        )  # fmt: skip

    def placed(self, transform: Affine) -> "Outlines":
        """Put outlines in pixels into a CRS."""
        col, row = self.xy.T
        xy = np.empty((len(col), 2))
        xy[:, 0], xy[:, 1] = transform * (col, row)
        box = np.zeros((len(self.first), 4))
        if len(box):
            rings = spread(self.first, self.last)
            order = np.argsort(self.begin[rings])
            # Of pairs of begin and end, what lies between the pairs is passed over.
            pairs = np.column_stack([self.begin[rings], self.end[rings] - 1])[order].ravel()
            begins = np.cumsum(self.last - self.first) - (self.last - self.first)
            for side, extreme in ((slice(2), np.minimum), (slice(2, 4), np.maximum)):
                each = np.empty((len(rings), 2))
                each[order] = extreme.reduceat(xy, pairs)[::2]
                box[:, side] = extreme.reduceat(each, begins)
        return self._replace(xy=xy, box=box)

    @property
    def start(self) -> NDArray[Any]:
        """The first point of each shape, (n, 2)."""
        return np.asarray(self.xy[self.begin[self.first]])

    @property
    def shapes(self) -> NDArray[np.object_]:
        """The shapes as Shapely has them."""
        if not len(self.first):
            return np.zeros(0, object)
        rings = spread(self.first, self.last)
        begin, end = self.begin[rings], self.end[rings]
        points = self.xy[spread(begin, end)].astype(np.float64)
        offsets = [_offsets(end - begin), _offsets(self.last - self.first)]
        kind = shapely.GeometryType.POLYGON
        if self.multi:
            kind = shapely.GeometryType.MULTIPOLYGON
            polygons = np.append(np.flatnonzero(self.outer[rings]), len(rings))
            offsets[1:] = polygons, np.searchsorted(polygons, offsets[1])
        return np.asarray(shapely.from_ragged_array(kind, points, tuple(offsets)), object)


def spread(begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count from each beginning to its end, one behind the other."""
    counts = end - begin
    total = np.cumsum(counts)
    shift = np.repeat(begin - total + counts, counts)
    return np.asarray(np.arange(len(shift)) + shift)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])


Shapes = Outlines | NDArray[np.object_]


def bounds_of(shapes: Shapes) -> NDArray[np.float64]:
    """Give least x and y and greatest of shapes on the ground, (n, 4)."""
    if isinstance(shapes, Outlines):
        return shapes.box
    return np.asarray(shapely.bounds(shapes).reshape(-1, 4))

"""Encoding of polygons as well-known binary (WKB)."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Geometries, Outlines

# WKB of a polygon with one ring: byte order, geometry type, number of rings, number of points.
_POLYGON_HEADER = np.dtype([("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4")])


def to_wkb(geometry: Geometries, prefix: NDArray[Any] | None = None) -> list[bytes]:
    """Encode geometries as :func:`shapely.to_wkb` does, byte for byte.

    Shapely takes several times as long for outlines along pixels, and holds the interpreter's lock.

    Parameters
    ----------
    geometry : Outlines or (n,) array of shapely geometries
    prefix : (n,) structured array, optional
        Records whose bytes precede the WKB of each geometry.

    Returns
    -------
    list of n bytes
    """
    if isinstance(geometry, Outlines):
        simple = (geometry.last - geometry.first == 1) & (not geometry.multi)
        rings = geometry.first[simple]
        points, begin, end = geometry.xy, geometry.begin[rings], geometry.end[rings]
        others = geometry.take(~simple).to_shapely()
    else:
        polygons = shapely.get_type_id(geometry) == shapely.GeometryType.POLYGON
        simple = polygons & (shapely.get_num_interior_rings(geometry) == 0)
        simple &= ~shapely.is_empty(geometry)
        points, owner = shapely.get_coordinates(geometry[simple], return_index=True)
        end = np.cumsum(np.bincount(owner, minlength=int(simple.sum())))
        begin = np.concatenate([[0], end[:-1]])[: len(end)]
        others = geometry[~simple]
    headers = np.zeros(len(begin), _POLYGON_HEADER)
    headers["order"], headers["kind"], headers["rings"] = 1, 3, 1
    headers["points"] = end - begin
    prefix = np.zeros(len(simple), []) if prefix is None else prefix
    heads = _row_bytes(np.hstack([_as_bytes(prefix[simple]), _as_bytes(headers)]))
    body = np.ascontiguousarray(points).reshape(-1).view(np.uint8).data
    step = points.itemsize * 2
    ranges = zip((begin * step).tolist(), (end * step).tolist(), strict=True)
    encoded = np.empty(len(simple), object)
    encoded[simple] = [
        head + body[first:last] for head, (first, last) in zip(heads, ranges, strict=True)
    ]
    encoded[~simple] = [
        head + wkb
        for head, wkb in zip(
            _row_bytes(_as_bytes(prefix[~simple])),
            shapely.to_wkb(others, byte_order=1),
            strict=True,
        )
    ]
    return list(encoded)


def _as_bytes(records: NDArray[Any]) -> NDArray[np.uint8]:
    size = records.itemsize
    return np.frombuffer(records.tobytes(), np.uint8).reshape(len(records), size)


def _row_bytes(rows: NDArray[np.uint8]) -> list[bytes]:
    size, data = rows.shape[1], rows.tobytes()
    return [data[i * size : (i + 1) * size] for i in range(len(rows))]

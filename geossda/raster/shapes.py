"""Geometries in one CRS: what is read from vector files, and laid over rasters."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

# Share of its box that a group of polygons fills at least.
_LEAST_FILLED = 0.25


class Shapes:
    """Geometries in one CRS.

    Parameters
    ----------
    geometry : iterable of shapely geometries
        None where a feature has none.
    crs : pyproj.CRS or what one can be made from
        None if unknown.

    Attributes
    ----------
    geometry : (n,) array of shapely geometries
    crs : pyproj.CRS or None
    """

    def __init__(self, geometry: Iterable[Any], crs: Any = None) -> None:
        listed = geometry if isinstance(geometry, np.ndarray) else list(geometry)
        self.geometry = np.empty(len(listed), object)
        self.geometry[:] = listed
        self.crs = None if crs is None else pyproj.CRS(crs)

    def __len__(self) -> int:
        return len(self.geometry)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.geometry)

    def __getitem__(self, which: slice | NDArray[Any]) -> "Shapes":
        """Return some of the geometries, by a slice, places or truth values."""
        return Shapes(self.geometry[which], self.crs)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """Left, bottom, right and top of all; NaN if there are none."""
        if not len(self.geometry):  # which shapely 2.2 raises ValueError for
            return np.full(4, np.nan)
        return np.asarray(shapely.total_bounds(self.geometry))

    def near(self, left: float, bottom: float, right: float, top: float) -> NDArray[np.object_]:
        """Return the geometries whose bounds intersect a box, in their order.

        Parameters
        ----------
        left, bottom, right, top : float
            Of the box.
        """
        places = self._tree.query(shapely.box(left, bottom, right, top))
        return np.asarray(self.geometry[np.sort(places)], object)

    @functools.cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.geometry)

    def to_crs(self, crs: Any) -> "Shapes":
        """Return the geometries with their corners transformed to another CRS.

        Parameters
        ----------
        crs : pyproj.CRS or what one can be made from

        Raises
        ------
        pyproj.exceptions.ProjError
            There is no way from one CRS to the other.
        """
        target = pyproj.CRS(crs)
        if self.crs is None or self.crs.is_exact_same(target):
            return Shapes(self.geometry, target)
        way = pyproj.Transformer.from_crs(self.crs, target, always_xy=True)

        def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(way.transform(points[:, 0], points[:, 1]))

        return Shapes(np.asarray(shapely.transform(self.geometry, moved), object), target)

    def to_geopandas(self) -> Any:
        """Return a GeoSeries; GeoPandas has to be installed."""
        import geopandas

        return geopandas.GeoSeries(self.geometry, crs=self.crs)


def close_together(shapes: Shapes) -> list[Shapes]:
    """Return polygons in groups whose boxes overlap, in the order of their first ones.

    A group that fills too little of its box, as along a river, is returned polygon by polygon.

    Parameters
    ----------
    shapes : Shapes
        Polygons.
    """
    if not len(shapes):
        return []
    boxes = shapely.box(*shapely.bounds(shapes.geometry).T)
    blocks = shapely.STRtree(shapely.get_parts(shapely.union_all(boxes)))
    index, block = blocks.query(shapely.centroid(boxes), "intersects")
    block_of = np.empty(len(shapes), int)
    block_of[index] = block
    groups: list[Shapes] = []
    for number in dict.fromkeys(block_of.tolist()):
        members = np.flatnonzero(block_of == number)
        filled = shapely.area(shapes.geometry[members]).sum()
        dense = filled >= _LEAST_FILLED * shapely.box(*shapes[members].bounds).area
        groups += [shapes[each] for each in ([members] if dense else members[:, None])]
    return groups

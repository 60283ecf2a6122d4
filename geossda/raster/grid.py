"""Grids of pixels: shape, transform and CRS."""

import functools
import math
from typing import Any, NamedTuple

import pyproj
import shapely
from affine import Affine


class Shape(NamedTuple):
    """Numbers of rows and columns."""

    y: int
    x: int


class Grid:
    """Where the pixels of a raster lie.

    Grids are equal if their pixels are, and can be keys.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    transform : Affine
        From columns and rows to coordinates.
    crs : pyproj.CRS or what one can be made from
        None if unknown.

    Attributes
    ----------
    shape : Shape
    transform : Affine
    crs : pyproj.CRS or None
    """

    __slots__ = ("crs", "shape", "transform")
    shape: Shape
    transform: Any
    crs: Any

    def __init__(self, shape: tuple[int, int], transform: Affine, crs: Any) -> None:
        rows, cols = shape
        self.shape = Shape(int(rows), int(cols))
        self.transform = transform
        self.crs = None if crs is None else _crs(crs) if isinstance(crs, str) else pyproj.CRS(crs)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.shape.y

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.shape.x

    @property
    def extent(self) -> shapely.Polygon:
        """The outline of all pixels, in the grid's CRS."""
        rows, cols = self.shape
        corners = ((0, 0), (0, rows), (cols, rows), (cols, 0))
        return shapely.Polygon([self.transform * corner for corner in corners])

    def __getitem__(self, part: tuple[slice, slice]) -> "Grid":
        """Return the grid of some rows and columns, counted from the corner; beyond it too."""
        (top, bottom), (left, right) = (
            (run.start or 0, size if run.stop is None else run.stop)
            for run, size in zip(part, self.shape, strict=True)
        )
        corner = Affine.translation(left, top)
        return Grid((bottom - top, right - left), self.transform * corner, self.crs)

    def zoom_out(self, factor: float) -> "Grid":
        """Return the grid over the same ground whose pixels are larger.

        Parameters
        ----------
        factor : float
            How many times as long their sides are; the last ones may reach beyond this grid.
        """
        rows, cols = (max(1, math.ceil(size / factor)) for size in self.shape)
        return Grid((rows, cols), self.transform * Affine.scale(factor, factor), self.crs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        same = self.shape == other.shape and self.transform == other.transform
        return same and (self.crs is other.crs or self.crs == other.crs)

    def __hash__(self) -> int:
        return hash((self.shape, tuple(self.transform)))

    def __repr__(self) -> str:
        name = "no CRS" if self.crs is None else self.crs.name
        return f"Grid({self.width} x {self.height} px, {tuple(self.transform)[:6]}, {name})"


@functools.lru_cache(256)
def _crs(text: str) -> pyproj.CRS:
    """Return a CRS, which takes a while to make, from its name or WKT."""
    return pyproj.CRS(text)

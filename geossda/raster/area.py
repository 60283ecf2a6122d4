"""An area of interest: polygons in any CRS, outside which a raster counts as nodata."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.errors import GeoreferenceError, VectorError
from geossda.raster.alignment import turns_towards
from geossda.raster.grid import Grid
from geossda.raster.rasterize import burn
from geossda.raster.shapes import Shapes
from geossda.raster.windows import Window
from geossda.staging import PathLike


@dataclass(frozen=True)
class Area:
    """Polygons within which pixels are wanted: those whose centres they hold.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    polygons : tuple of shapely Polygon
    crs : str
        WKT.
    """

    name: str
    polygons: tuple[Any, ...] = field(repr=False)
    crs: str = field(repr=False)
    _placed: dict[Grid, NDArray[np.object_]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def in_pixels(self, grid: Grid) -> NDArray[np.object_]:
        """Return the polygons in pixels of a grid, columns right and rows down.

        Raises
        ------
        GeoreferenceError
            The grid has no CRS.
        """
        if grid not in self._placed:
            from geossda.raster.polygons import placed

            if grid.crs is None:
                raise GeoreferenceError(f"{self.name}: the raster it is laid over has no CRS")
            shapes = Shapes(self.polygons, self.crs)
            polygons = placed(shapes, grid.crs.to_wkt(), self.name).geometry
            # A grid over the antimeridian counts on beyond 180 degrees.
            east = turns_towards(grid, shapely.bounds(polygons)[:, ::2].mean(axis=1))
            by = np.repeat(east, shapely.get_num_coordinates(polygons))
            x, y = shapely.get_coordinates(polygons).T
            moved = np.column_stack(~grid.transform * (x + by, y))
            self._placed[grid] = shapely.set_coordinates(polygons.copy(), moved)
        return self._placed[grid]

    def window(self, grid: Grid) -> Window:
        """Return the smallest window of a grid that holds all of the area in it.

        Raises
        ------
        GeoreferenceError
            The area does not overlap the grid, or the grid has no CRS.
        """
        height, width = int(grid.shape.y), int(grid.shape.x)
        inside = shapely.intersection(self.in_pixels(grid), shapely.box(0, 0, width, height))
        bounds = shapely.bounds(inside[shapely.area(inside) > 0])
        if not len(bounds):
            raise GeoreferenceError(
                f"the area {self.name} does not overlap the raster: choose other polygons"
            )
        left, top = np.floor(bounds[:, :2].min(axis=0) + 1e-3).astype(int).tolist()
        right, bottom = np.ceil(bounds[:, 2:].max(axis=0) - 1e-3).astype(int).tolist()
        return Window(top, left, max(1, bottom - top), max(1, right - left))

    def mask(self, window: Window, grid: Grid) -> NDArray[np.bool_]:
        """Return which pixels have their centres in the area.

        Parameters
        ----------
        window : Window
            Pixels of `grid`.
        grid : Grid

        Returns
        -------
        (height, width) bool array
        """
        corner = grid.transform.translation(window.col, window.row)
        near = [(shape, 1) for shape in self._near(window, grid)]
        return burn(near, (window.height, window.width), corner).astype(np.bool_)

    def touches(self, window: Window, grid: Grid) -> bool:
        """Return whether the area reaches into a window.

        Parameters
        ----------
        window : Window
            Pixels of `grid`.
        grid : Grid
        """
        return len(self._near(window, grid)) > 0

    def _near(self, window: Window, grid: Grid) -> NDArray[np.object_]:
        shapes = self.in_pixels(grid)
        left, top = window.col, window.row
        box = shapely.box(left, top, left + window.width, top + window.height)
        return np.asarray(shapes[shapely.intersects(shapes, box)], object)


def read_area(path: PathLike) -> Area:
    """Read the polygons of a vector file as an area.

    Parameters
    ----------
    path : path
        A layer may be named, as ``FILE|layername=NAME``.

    Raises
    ------
    VectorError
        No vector file, no CRS, or no polygon in it.
    """
    from geossda.raster.polygons import polygons_of
    from geossda.raster.vector_files import read_shapes

    shapes = polygons_of(read_shapes(path), path, None)
    if not len(shapes):
        raise VectorError(f"area {path} contains no polygon: at least one was expected")
    return Area(str(path), tuple(shapes), shapes.crs.to_wkt() if shapes.crs else "")


def tiles_in(area: Area, grid: Grid, windows: Sequence[Window]) -> list[Window]:
    """Return the windows that an area reaches into.

    Parameters
    ----------
    area : Area
    grid : Grid
    windows : sequence of Window
        Pixels of `grid`.
    """
    return [window for window in windows if area.touches(window, grid)]

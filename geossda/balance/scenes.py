"""Scenes of a mosaic: their outlines and the borders between them."""

import functools
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import rasterio.warp
import shapely
import shapely.affinity
from numpy.typing import NDArray
from rasterio import Affine
from shapely.geometry.base import BaseGeometry

from geossda.errors import GeoreferenceError, OutputError, VectorError
from geossda.layers import atomic_layer, split_layer
from geossda.raster.grid import Grid
from geossda.raster.polygons import POLYGONAL, polygon_parts, repaired, require_fit
from geossda.raster.rasterize import burn
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import read_shapes, vector_errors, write_shapes
from geossda.raster.windows import Window


class SharedBorder(NamedTuple):
    """Border between two scenes.

    Attributes
    ----------
    first, second : int
        Indices of the scenes, first < second.
    line : LineString or MultiLineString
        In pixels of the scenes' grid.
    """

    first: int
    second: int
    line: BaseGeometry


@dataclass(frozen=True)
class Scenes:
    """Outlines of scenes on a raster; where they overlap, the first one is on top.

    Attributes
    ----------
    polygons : tuple of Polygon or MultiPolygon
        In pixels (column, row) from the raster's upper left corner.
    """

    polygons: tuple[BaseGeometry, ...]

    @property
    def count(self) -> int:
        """Number of scenes, including the scene of all pixels outside the polygons."""
        return len(self.polygons) + 1

    @functools.cached_property
    def _mappings(self) -> list[dict[str, Any]]:
        """The polygons as they are burnt, which takes longer to make than to burn."""
        return [shapely.geometry.mapping(polygon) for polygon in self.polygons]

    def labels(self, window: Window) -> NDArray[np.int32]:
        """Return the index of the scene that contains the centre of each pixel of a window.

        Returns
        -------
        (height, width) int32 array
            ``len(polygons)`` outside all polygons.
        """
        rest = len(self.polygons)
        box = shapely.box(
            window.col, window.row, window.col + window.width, window.row + window.height
        )
        shapes = [
            (self._mappings[number], number)
            for number in reversed(range(rest))
            if shapely.intersects(self.polygons[number], box)
        ]
        corner = Affine.translation(window.col, window.row)
        return burn(shapes, (window.height, window.width), corner, rest, np.int32)

    def on(self, own: Grid, other: Grid) -> "Scenes":
        """Return the scenes in pixels of another grid.

        Parameters
        ----------
        own, other : Grid
            Grid of these scenes' pixels, and that of the result's.
        """
        if own == other:
            return self

        def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = own.transform * (points[:, 0], points[:, 1])
            if own.crs != other.crs:
                x, y = rasterio.warp.transform(own.crs.to_wkt(), other.crs.to_wkt(), x, y)
            return np.stack(~other.transform * (np.asarray(x), np.asarray(y)), axis=1)

        # Straight lines of one CRS bend in another, so they get points every 256 pixels.
        bends = own.crs != other.crs
        return Scenes(
            tuple(
                shapely.transform(shapely.segmentize(shape, 256.0) if bends else shape, move)
                for shape in self.polygons
            )
        )

    def clipped(self, area: NDArray[np.object_]) -> "Scenes":
        """Return the parts of the scenes inside polygons; without scenes, the polygons as one.

        Parameters
        ----------
        area : array of Polygon
            In pixels of the scenes' grid.
        """
        within = shapely.union_all(area)
        parts = [shapely.intersection(polygon, within) for polygon in self.polygons or (within,)]
        shapes = [polygon_parts(np.array([part], object)) for part in parts]
        return Scenes(tuple(shapely.MultiPolygon(list(each)) for each in shapes if len(each)))

    def borders(self, shape: tuple[int, int]) -> list[SharedBorder]:
        """Return the borders between scenes inside a raster of `shape` (height, width)."""
        box = shapely.box(0, 0, shape[1], shape[0])
        visible: list[BaseGeometry] = []
        covered: BaseGeometry = shapely.Polygon()
        for polygon in self.polygons:
            visible.append(shapely.difference(shapely.intersection(polygon, box), covered))
            covered = shapely.union(covered, polygon)
        visible.append(shapely.difference(box, covered))
        tree = shapely.STRtree(visible)
        pairs = tree.query(visible, predicate="intersects")
        borders = []
        for first, second in pairs.T.tolist():
            if first >= second:
                continue
            line = shapely.intersection(visible[first].boundary, visible[second].boundary)
            if shapely.length(line) > 0:
                borders.append(SharedBorder(first, second, shapely.line_merge(_lines(line))))
        return borders


def read_scenes(path: str | os.PathLike[str], grid: Grid) -> Scenes:
    """Read the outlines of scenes from a vector file, in any CRS.

    Parameters
    ----------
    path : path
        Polygons, the first one on top.
    grid : Grid
        Grid of the raster they belong to.

    Returns
    -------
    Scenes
        Those that intersect the raster.

    Raises
    ------
    VectorError
        The file is not a vector file, or has no polygon.
    GeoreferenceError
        Only one of scenes and raster has a CRS, or no scene intersects the raster.
    """
    layer = read_shapes(path, "scenes")
    polygonal = np.isin(shapely.get_type_id(layer.geometry), POLYGONAL)
    if not polygonal.any():
        raise VectorError(f"scenes {path} contains no polygon: one for each scene was expected")
    if (layer.crs is None) != (grid.crs is None):
        raise GeoreferenceError(
            f"scenes {path} and the raster must both have a CRS: only one of them has"
        )
    shapes = shapely.force_2d(layer.geometry[polygonal])
    with vector_errors(path):
        if layer.crs is not None and grid.crs is not None:
            require_fit(shapes, layer.crs, path)
            shapes = Shapes(shapes, layer.crs).to_crs(grid.crs).geometry
        if not np.isfinite(shapely.get_coordinates(shapes)).all():
            raise VectorError(f"scenes {path} cannot be placed in the CRS of the raster")
        back = ~grid.transform

        def to_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack(back * (points[:, 0], points[:, 1]), axis=1)

        whole = repaired(shapely.transform(shapes, to_pixels), path)
        parts = [polygon_parts(np.array([shape], object)) for shape in whole]
        moved: list[BaseGeometry] = [
            each[0] if len(each) == 1 else shapely.MultiPolygon(list(each)) for each in parts
        ]
    box = shapely.box(0, 0, grid.shape.x, grid.shape.y)
    inside = tuple(shape for shape in moved if shapely.intersects(shape, box))
    if not inside:
        raise GeoreferenceError(
            f"scenes {path} do not overlap the raster: check the file and its CRS"
        )
    return Scenes(inside)


def write_scenes(scenes: Scenes, path: str | os.PathLike[str], grid: Grid) -> None:
    """Write outlines of scenes as polygons in the CRS of their raster, completely or not at all.

    Parameters
    ----------
    scenes : Scenes
        Without polygons if there is a single scene: then the raster's outline is written.
    path : path
        With one of the suffixes that OGR writes; a GeoPackage that exists keeps its other layers.
    grid : Grid
        Grid of the raster.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    shapes = scenes.polygons or (shapely.box(0, 0, grid.shape.x, grid.shape.y),)
    forth = grid.transform
    matrix = [forth.a, forth.b, forth.d, forth.e, forth.c, forth.f]
    placed = (shapely.affinity.affine_transform(shape, matrix) for shape in shapes)
    file, named = split_layer(path)
    layer = named or "scenes"
    with atomic_layer(file, layer) as (part, _):
        try:
            numbers = {"scene": np.arange(1, len(shapes) + 1)}
            write_shapes(Shapes(placed, grid.crs), part, layer, numbers)
        except (OSError, RuntimeError, ValueError) as error:
            raise OutputError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


def _lines(geometry: BaseGeometry) -> shapely.MultiLineString:
    """Return the lines of a geometry without its points."""
    parts = shapely.get_parts(geometry)
    lines: shapely.MultiLineString = shapely.multilinestrings(
        list(parts[shapely.get_dimensions(parts) == 1])
    )
    return lines

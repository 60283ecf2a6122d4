"""The scenes a mosaic was made of: where each lies, and where they meet."""

import os
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import rasterio.warp
import shapely
import shapely.affinity
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import Affine

from geossda.errors import GeoreferenceError, OutputError, VectorError
from geossda.formats import VECTOR_FORMATS, suffix_of
from geossda.layers import atomic_layer, split_layer
from geossda.raster.polygons import (
    polygon_parts,
    read_frame,
    repaired,
    require_fit,
    vector_errors,
)
from geossda.raster.rasterize import burn
from geossda.raster.windows import Window


class SharedBorder(NamedTuple):
    """Where two scenes meet.

    Attributes
    ----------
    first, second : int
    line : shapely (Multi)LineString
        In pixels of the scenes' grid.
    """

    first: int
    second: int
    line: Any


@dataclass(frozen=True)
class Scenes:
    """Polygons that share out a raster's pixels; the first one on top where they overlap.

    Attributes
    ----------
    polygons : tuple of shapely geometries
        In pixels (column, row) from the raster's upper left corner.
    """

    polygons: tuple[Any, ...]

    @property
    def count(self) -> int:
        """Number of scenes, with the one of all pixels that are in no polygon."""
        return len(self.polygons) + 1

    def labels(self, window: Window) -> NDArray[np.int32]:
        """Say of every pixel of a window in which scene its centre lies.

        Returns
        -------
        (height, width) int32 array
            The last number stands for no polygon.
        """
        rest = len(self.polygons)
        box = shapely.box(
            window.col, window.row, window.col + window.width, window.row + window.height
        )
        shapes = [
            (polygon, number)
            for number, polygon in reversed(list(enumerate(self.polygons)))
            if shapely.intersects(polygon, box)
        ]
        corner = Affine.translation(window.col, window.row)
        return burn(shapes, (window.height, window.width), corner, rest, np.int32)

    def on(self, own: GeoBox, other: GeoBox) -> "Scenes":
        """Give the scenes in pixels of another grid than their own."""
        if own == other:
            return self

        def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = own.transform * (points[:, 0], points[:, 1])
            if own.crs != other.crs:
                x, y = rasterio.warp.transform(own.crs.to_wkt(), other.crs.to_wkt(), x, y)
            return np.stack(~other.transform * (np.asarray(x), np.asarray(y)), axis=1)

        # What is straight in one CRS bends in another.
        bends = own.crs != other.crs
        return Scenes(
            tuple(
                shapely.transform(shapely.segmentize(shape, 256.0) if bends else shape, move)
                for shape in self.polygons
            )
        )

    def meetings(self, shape: tuple[int, int]) -> list[SharedBorder]:
        """Give the borders between scenes inside a raster of `shape`."""
        box = shapely.box(0, 0, shape[1], shape[0])
        own = []
        taken: Any = shapely.Polygon()
        for polygon in self.polygons:  # what is seen of each
            own.append(shapely.difference(shapely.intersection(polygon, box), taken))
            taken = shapely.union(taken, polygon)
        own.append(shapely.difference(box, taken))
        tree = shapely.STRtree(own)
        pairs = tree.query(own, predicate="intersects")
        found = []
        for first, second in pairs.T.tolist():
            if first >= second:
                continue
            line = shapely.intersection(own[first].boundary, own[second].boundary)
            if shapely.length(line) > 0:
                found.append(SharedBorder(first, second, shapely.line_merge(_lines(line))))
        return found


def read_scenes(path: str | os.PathLike[str], grid: GeoBox) -> Scenes:
    """Read the footprints of scenes from a vector file, in any CRS.

    Parameters
    ----------
    path : path
        Polygons, the first one on top.
    grid : GeoBox
        Of the raster they belong to.

    Raises
    ------
    VectorError
        No vector file, or no polygon in it.
    GeoreferenceError
        One of them has a CRS and the other has none, or all lie beside the raster.
    """
    frame = read_frame(path, "scenes")
    frame = frame[frame.geometry.notna() & frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if frame.empty:
        raise VectorError(f"scenes {path} holds no polygon: one for each scene was expected")
    if (frame.crs is None) != (grid.crs is None):
        raise GeoreferenceError(
            f"scenes {path} and the raster must both have a CRS: only one of them has"
        )
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    with vector_errors(path):
        if frame.crs is not None and grid.crs is not None:
            require_fit(shapes, frame.crs, path)
            frame = frame.set_geometry(shapes, crs=frame.crs).to_crs(grid.crs.to_wkt())
            shapes = frame.geometry.to_numpy()
        if not np.isfinite(shapely.get_coordinates(shapes)).all():
            raise VectorError(f"scenes {path} cannot be placed in the CRS of the raster")
        back = ~grid.transform

        def to_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack(back * (points[:, 0], points[:, 1]), axis=1)

        whole = repaired(shapely.transform(shapes, to_pixels), path)
        parts = [polygon_parts(np.array([shape], object)) for shape in whole]
        moved = [each[0] if len(each) == 1 else shapely.multipolygons(each) for each in parts]
    box = shapely.box(0, 0, grid.shape.x, grid.shape.y)
    inside = tuple(shape for shape in moved if shapely.intersects(shape, box))
    if not inside:
        raise GeoreferenceError(f"scenes {path} lie beside the raster: is it the right file?")
    return Scenes(inside)


def write_scenes(scenes: Scenes, path: str | os.PathLike[str], grid: GeoBox) -> None:
    """Write outlines of scenes as polygons in the CRS of their raster, whole or not at all.

    Parameters
    ----------
    scenes : Scenes
        Of no polygon where there is one scene only: then the raster's outline is written.
    path : path
        With one of the suffixes that OGR writes; a GeoPackage that exists keeps its other layers.
    grid : GeoBox
        Of the raster.
    """
    import geopandas

    shapes = scenes.polygons or (shapely.box(0, 0, grid.shape.x, grid.shape.y),)
    forth = grid.transform
    matrix = [forth.a, forth.b, forth.d, forth.e, forth.c, forth.f]
    frame = geopandas.GeoDataFrame(
        {"scene": range(1, len(shapes) + 1)},
        geometry=[shapely.affinity.affine_transform(shape, matrix) for shape in shapes],
        crs=grid.crs.to_wkt() if grid.crs else None,
    )
    file, named = split_layer(path)
    layer = named or "scenes"
    with warnings.catch_warnings(), atomic_layer(file, layer) as (part, _):
        warnings.filterwarnings("ignore", "'crs' was not provided")
        try:
            frame.to_file(
                part, layer=layer, engine="pyogrio", driver=VECTOR_FORMATS[suffix_of(part)].driver
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise OutputError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


def _lines(shape: Any) -> Any:
    """Give the lines of what two outlines have in common; points are dropped."""
    parts = shapely.get_parts(shape)
    return shapely.multilinestrings(list(parts[shapely.get_dimensions(parts) == 1]))

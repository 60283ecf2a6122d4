"""A layer of buildings, or of an area: a raster, or polygons."""

import dataclasses
import os

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.data.labels import is_vector, rasterize
from geossda.errors import GeoreferenceError, InputError
from geossda.footprints.building_raster import open_buildings
from geossda.raster.grid import Grid
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.polygons import polygons_of
from geossda.raster.shapes import Shapes
from geossda.raster.vector_files import read_shapes
from geossda.raster.windows import Window


@dataclasses.dataclass(frozen=True)
class Layer:
    """Buildings as a raster or as polygons.

    Attributes
    ----------
    name : str
    raster : Mosaic or None
        Integers: every value but 0 is a building. Floats: probabilities.
    shapes : Shapes or None
    threshold : float
        For probabilities.
    invalid : int
        Geometries that were not valid as they came.
    """

    name: str
    raster: Mosaic | None
    shapes: Shapes | None
    threshold: float
    invalid: int = 0

    def mask(self, grid: Grid, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return (building, known) in a window of `grid`.

        Parameters
        ----------
        grid : Grid
        window : Window
            In pixels of the grid.

        Raises
        ------
        InputError
            The layer has neither raster nor polygons.
        """
        if self.shapes is not None:
            burnt = rasterize(self.shapes, grid, window)
            return burnt.astype(bool), np.ones(burnt.shape, bool)
        if self.raster is None:
            raise InputError(f"{self.name} has neither raster nor polygons")
        pixels, valid = self.raster.resampled(grid).read(window)
        limit = self.threshold if self.raster.dtype.kind == "f" else 0.5
        return (pixels[0] >= limit) & valid, valid


def open_layer(path: str | os.PathLike[str], threshold: float) -> Layer:
    """Open a raster or a vector file of buildings.

    Parameters
    ----------
    path : path
        A layer of a vector file may be named, as ``FILE|layername=NAME``.
    threshold : float
        For probabilities.

    Raises
    ------
    GeoreferenceError
        A raster without CRS.
    VectorError
        Polygons that cannot be read.
    """
    name = os.fspath(path)
    if is_vector(name):
        shapes = read_shapes(name)
        given = shapes.geometry[~shapely.is_missing(shapes.geometry)]
        invalid = int((~shapely.is_valid(given)).sum())
        return Layer(name, None, polygons_of(shapes, name, None, whole=True), threshold, invalid)
    mosaic = open_buildings(name, threshold, bands=(1,)).mosaic
    if mosaic.grid.crs is None:
        raise GeoreferenceError(mosaic.sources[0].lacks_crs)
    return Layer(name, mosaic, None, threshold)


def open_area(path: str | os.PathLike[str]) -> Layer:
    """Open what to stay within: a raster, whose valid pixels count, or polygons.

    Raises
    ------
    GeoreferenceError
        A raster without CRS.
    VectorError
        Polygons that cannot be read.
    """
    if is_vector(path):
        return open_layer(path, 0.5)
    mosaic = open_mosaic(path)
    if mosaic.grid.crs is None:
        raise GeoreferenceError(mosaic.sources[0].lacks_crs)
    return Layer(os.fspath(path), mosaic, None, 0.5)

"""Building footprints as labels of pixels."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasterio import Affine

from geossda.errors import VectorError
from geossda.formats import RASTER_SUFFIXES, VECTOR_FORMATS, suffix_of
from geossda.layers import split_layer
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.handles import open_dataset
from geossda.raster.polygons import placed, polygons_of
from geossda.raster.rasterize import burn
from geossda.raster.shapes import Shapes
from geossda.raster.source import GDAL_ERRORS, gdal_environment, gdal_reason
from geossda.raster.vector_files import read_shapes
from geossda.raster.windows import Window


def is_vector(path: str | os.PathLike[str]) -> bool:
    """Return whether a path, which may name a layer, is that of a vector file by its suffix."""
    return suffix_of(split_layer(path)[0]) in VECTOR_FORMATS


def read_footprints(path: str | os.PathLike[str], crs: Any, progress: Progress = SILENT) -> Shapes:
    """Read polygons from a vector file, made valid, in the wanted CRS.

    Parameters
    ----------
    path : path
        GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile, whose layer may be named as
        ``FILE|layername=NAME``; see :func:`geossda.raster.vector_files.read_shapes`. Or a GeoTIFF
        mask, whose every value but 0 is a building.
    crs : CRS or WKT
        Of the rasters; None keeps the file's own.
    progress : Progress
        Warned of a transformation between datums that may be off by a building's width.

    Raises
    ------
    VectorError
        Missing, unreadable, without CRS, or without polygons.
    """
    file, _ = split_layer(path)
    if suffix_of(file) in RASTER_SUFFIXES and file.exists():
        return trace(file, crs)
    return polygons_of(read_shapes(path), path, crs, progress)


def trace(path: Path, crs: Any) -> Shapes:
    """Trace the buildings of a mask raster, whose every value but 0 is one, pixel by pixel.

    Parameters
    ----------
    path : Path
        Mask raster.
    crs : pyproj.CRS or what it can be made from
        CRS of the polygons that are returned.

    Raises
    ------
    VectorError
        Not a raster, or without CRS.
    """
    # Masks often declare one of their classes as nodata, so what is declared does not count.
    try:
        with gdal_environment(), open_dataset(str(path)) as source:
            if source.crs is None:
                raise VectorError(f"mask {path} has no CRS: assign one first")
            own = source.crs.to_wkt()
            mask = (source.read(1) != 0).astype(np.uint8)
            outlines = [
                shapely.geometry.shape(outline)
                for outline, _ in rasterio.features.shapes(
                    mask, mask == 1, transform=source.transform
                )
            ]
    except GDAL_ERRORS as error:
        raise VectorError(f"mask {path} cannot be read ({gdal_reason(error)})") from error
    shapes = Shapes(outlines, own)
    return shapes if crs is None else placed(shapes, crs, path)


def vector_files(folder: Path) -> list[Path]:
    """Return the vector files of a folder that labels are searched for in."""
    suffixes = {each.suffix for each in VECTOR_FORMATS.values() if each.beside}
    return sorted(f for f in folder.glob("*") if suffix_of(f) in suffixes)


def find_footprints(raster: str) -> Path:
    """Return the one vector file beside a raster (or in the folder given).

    Raises
    ------
    VectorError
        There is no vector file, or more than one.
    """
    folder = Path(raster) if os.path.isdir(raster) else Path(raster).parent
    files = vector_files(folder)
    if len(files) != 1:
        many = "no vector file" if not files else f"{len(files)} vector files"
        raise VectorError(f"{folder} has {many}: name the footprints with --footprints")
    return files[0]


def rasterize(shapes: Shapes, grid: Grid, window: Window) -> NDArray[np.uint8]:
    """Burn polygons into a window of a grid: 1 where a pixel's centre is inside, else 0.

    Parameters
    ----------
    shapes : Shapes
        Polygons in the grid's CRS.
    grid : Grid
    window : Window
        In pixels of the grid; it may reach beyond it.
    """
    near, transform = within(shapes, grid, window)
    return burn(((shape, 1) for shape in near), (window.height, window.width), transform)


def within(shapes: Shapes, grid: Grid, window: Window) -> tuple[list[Any], Affine]:
    """Return the polygons near a window of a grid, and the transform of its pixels.

    Parameters
    ----------
    shapes : Shapes
        Polygons in the grid's CRS.
    grid : Grid
    window : Window
        In pixels of the grid; it may reach beyond it.
    """
    transform = grid.transform * grid.transform.translation(window.col, window.row)
    corners = [transform * (x, y) for x in (0, window.width) for y in (0, window.height)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    return list(shapes.near(*low, *high)), transform

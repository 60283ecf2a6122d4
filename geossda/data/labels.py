"""Building footprints as labels of pixels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geossda.errors import VectorError
from geossda.raster.rasterize import burn
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

if TYPE_CHECKING:
    import geopandas as gpd  # a third of a second to load, for those who read footprints

# Read as masks.
MASK_SUFFIXES = (".tif", ".tiff")
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".fgb", ".parquet", ".shp")


def read_footprints(path: str | os.PathLike[str], crs: Any) -> "gpd.GeoSeries":
    """Read polygons from a vector file, made valid, in the wanted CRS.

    Parameters
    ----------
    path : path
        GeoPackage, GeoJSON, FlatGeobuf, GeoParquet or Shapefile; a layer called ``buildings`` if
        there is one, else the first. Or a GeoTIFF mask, whose every value but 0 is a building.
    crs : CRS or WKT
        Of the rasters; None keeps the file's own.

    Raises
    ------
    VectorError
        Missing, unreadable, without CRS, or without polygons.
    """
    path = Path(path)
    if path.suffix.lower() in MASK_SUFFIXES and path.exists():
        return trace(path, crs)
    return polygons_of(read_frame(path), path, crs)


def polygons_of(frame: "gpd.GeoDataFrame", path: Path, crs: Any) -> "gpd.GeoSeries":
    """Make polygons of a frame that was read from `path`, as :func:`read_footprints` does."""
    if frame.crs is None:
        raise VectorError(f"{path} has no CRS: assign one first")
    # Heights, which some sources give, are of no use here and trip make_valid.
    flat = frame.geometry.dropna().force_2d()
    shapes = flat.make_valid().explode(index_parts=False)
    shapes = shapes[shapes.geom_type == "Polygon"]
    if len(frame) and not len(shapes):
        kinds = ", ".join(sorted(set(frame.geom_type.dropna())))
        raise VectorError(f"{path} holds {kinds or 'no geometry'}, polygons were expected")
    return (shapes if crs is None else shapes.to_crs(crs)).reset_index(drop=True)


def read_frame(path: Path) -> "gpd.GeoDataFrame":
    """Read the geometries of a vector file as they are.

    Raises
    ------
    VectorError
        Missing or unreadable.
    """
    import geopandas as gpd
    import pyogrio

    if not path.exists():
        raise VectorError(f"vector file {path} does not exist")
    try:
        if path.suffix.lower() == ".parquet":
            return gpd.read_parquet(path)
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        layer = "buildings" if "buildings" in layers else layers[0]
        return gpd.read_file(path, layer=layer, columns=[])
    except (pyogrio.errors.DataSourceError, OSError, ValueError, IndexError) as error:
        raise VectorError(f"{path} is not a vector file that can be read ({error})") from error


def trace(path: Path, crs: Any) -> "gpd.GeoSeries":
    """Trace the buildings of a mask raster, whose every value but 0 is one, pixel by pixel."""
    import geopandas as gpd

    # Masks often declare one of their classes as nodata, so what is declared is passed over.
    with gdal_environment(), rasterio.open(path) as source:
        if source.crs is None:
            raise VectorError(f"mask {path} has no CRS: assign one first")
        mask = (source.read(1) != 0).astype(np.uint8)
        outlines = [
            shapely.geometry.shape(outline)
            for outline, _ in rasterio.features.shapes(mask, mask == 1, transform=source.transform)
        ]
        shapes = gpd.GeoSeries(outlines, crs=source.crs.to_wkt())
    return shapes if crs is None else shapes.to_crs(crs)


def find_footprints(raster: str) -> Path:
    """Find the one vector file beside a raster (or in the folder given)."""
    folder = Path(raster) if os.path.isdir(raster) else Path(raster).parent
    found = sorted(f for f in folder.glob("*") if f.suffix.lower() in VECTOR_SUFFIXES)
    if len(found) != 1:
        many = "no vector file" if not found else f"{len(found)} vector files"
        raise VectorError(f"{folder} has {many}: name the footprints with --footprints")
    return found[0]


def rasterize(shapes: "gpd.GeoSeries", grid: GeoBox, window: Window) -> NDArray[np.uint8]:
    """Burn polygons into a window of a grid: 1 where a pixel's centre is inside, else 0."""
    transform = grid.transform * grid.transform.translation(window.col, window.row)
    corners = [transform * (x, y) for x in (0, window.width) for y in (0, window.height)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    near = shapes.sindex.query(_box(*low, *high))
    return burn(
        ((shape, 1) for shape in shapes.iloc[near]), (window.height, window.width), transform
    )


def _box(left: float, bottom: float, right: float, top: float) -> Any:
    from shapely import box

    return box(left, bottom, right, top)

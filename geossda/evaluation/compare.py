"""Compare two layers of buildings, rasters or vectors, pixel by pixel and one by one."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geossda.data.labels import VECTOR_SUFFIXES, rasterize, read_footprints
from geossda.errors import GeoreferenceError, InputError
from geossda.evaluation.metrics import Confusion, match_objects
from geossda.progress import SILENT, Progress
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.reading import Mosaic, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles
from geossda.vector.polygons import StripPolygonizer

# Pixel side in metres when both layers are vectors.
VECTOR_GSD_M = 0.3
_TILE = 1024


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Agreement of two layers.

    Attributes
    ----------
    pixels : Confusion
        In pixels of the grid compared on.
    objects : Confusion
        In buildings.
    """

    pixels: Confusion
    objects: Confusion


@dataclasses.dataclass(frozen=True)
class Layer:
    """Buildings as a raster or as polygons.

    Attributes
    ----------
    name : str
    raster : Mosaic or None
        Integers: every value but 0 is a building. Floats: probabilities.
    shapes : GeoSeries or None
    threshold : float
        For probabilities.
    """

    name: str
    raster: Mosaic | None
    shapes: gpd.GeoSeries | None
    threshold: float

    def mask(self, grid: GeoBox, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Give (building, known) in a window of `grid`."""
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

    Masks often declare 0 or even 1 as nodata; in a layer of buildings both are classes, so such a
    declaration is passed over.
    """
    path = Path(path)
    if path.suffix.lower() in VECTOR_SUFFIXES:
        return Layer(str(path), None, read_footprints(path, None), threshold)
    mosaic = open_mosaic(path, bands=(1,))
    source = mosaic.sources[0]
    if source.validity == "nodata" and source.nodata in (0, 1) and source.dtype.kind != "f":
        mosaic = Mosaic((dataclasses.replace(source, validity="all", nodata=None),), mosaic.grid)
    if mosaic.grid.crs is None:
        raise GeoreferenceError(f"{path} has no CRS, so it cannot be laid over the other layer")
    return Layer(str(path), mosaic, None, threshold)


def open_area(path: str | os.PathLike[str]) -> Layer:
    """Open what to stay within: a raster, whose valid pixels count, or polygons."""
    if Path(path).suffix.lower() in VECTOR_SUFFIXES:
        return open_layer(path, 0.5)
    mosaic = open_mosaic(path)
    if mosaic.grid.crs is None:
        raise GeoreferenceError(f"{path} has no CRS, so it cannot be laid over the layers")
    return Layer(str(path), mosaic, None, 0.5)


def compare(
    found: Layer,
    true: Layer,
    *,
    iou: float = 0.5,
    area: Layer | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare two layers where both are known.

    On the raster's grid if one is a raster (the truth's if both are), else on a grid of 0.3 m
    pixels over both.

    Parameters
    ----------
    found, true : Layer
    iou : float
        From which two footprints are the same building.
    area : Layer, optional
        A raster (its valid pixels) or polygons to stay within.
    progress : Progress
    """
    grid = _common_grid(found, true, area)
    crs = grid.crs.to_wkt()
    found, true = _in_crs(found, crs), _in_crs(true, crs)
    within = None if area is None else _in_crs(area, crs)
    counts = Confusion()
    everywhere = True
    every = list(tiles((int(grid.shape.y), int(grid.shape.x)), _TILE))
    progress.stage("comparing", len(every))
    polygonizers = {id(layer): StripPolygonizer(0.5) for layer in (found, true)}
    shapes: dict[int, list[Any]] = {id(found): [], id(true): []}
    rows: dict[int, list[NDArray[np.float32]]] = {id(found): [], id(true): []}
    for window in every:
        with gdal_environment():
            a, known = found.mask(grid, window)
            b, known_b = true.mask(grid, window)
            known &= known_b
            if within is not None:
                inside, valid = within.mask(grid, window)
                known &= valid if within.raster is not None else inside
        everywhere &= bool(known.all())
        counts += Confusion.of(a & known, b & known)
        for layer, mask in ((found, a), (true, b)):
            rows[id(layer)].append((mask & known).astype(np.float32))
            if window.col + window.width == grid.shape.x:
                strip = np.concatenate(rows[id(layer)], axis=1)
                shapes[id(layer)] += polygonizers[id(layer)].add(strip)
                rows[id(layer)] = []
        progress.advance()
    objects = []
    for layer in (found, true):
        shapes[id(layer)] += polygonizers[id(layer)].finish()
        objects.append(_objects(layer, grid, shapes[id(layer)], everywhere))
    return Comparison(counts, match_objects(objects[0], objects[1], iou))


def _objects(layer: Layer, grid: GeoBox, traced: list[Any], everywhere: bool) -> gpd.GeoSeries:
    """Give a layer's buildings in pixels of the grid, which are alike in ground area.

    Polygons are kept as they are, but for those outside the grid or, unless all pixels are
    compared, those of which no pixel is; masks are traced.
    """
    if layer.shapes is None:
        return gpd.GeoSeries([footprint.shape for footprint in traced])
    to_pixel = ~grid.transform
    placed = shapely.transform(
        layer.shapes.to_numpy(), lambda xy: np.column_stack(to_pixel * (xy[:, 0], xy[:, 1]))
    )
    inside = shapely.area(shapely.intersection(placed, shapely.box(0, 0, *grid.shape.xy)))
    kept = placed[inside > 0.5 * shapely.area(placed)]
    if not everywhere and len(kept):
        traced_shapes = np.array([footprint.shape for footprint in traced], object)
        tree = shapely.STRtree(traced_shapes)
        near, _ = tree.query(kept, predicate="intersects")
        kept = kept[np.unique(near)]
    return gpd.GeoSeries(kept)


def _common_grid(found: Layer, true: Layer, area: Layer | None) -> GeoBox:
    for layer in (true, found, area):
        if layer is not None and layer.raster is not None:
            return layer.raster.grid
    if true.shapes is None or found.shapes is None:
        raise InputError("nothing to compare")
    metric = true.shapes.crs
    everything = gpd.GeoSeries(list(true.shapes) + list(found.shapes.to_crs(metric)), crs=metric)
    if everything.empty:
        raise InputError(f"{found.name} and {true.name} are both empty: nothing to compare")
    if not pyproj.CRS(metric).is_projected:
        everything = everything.to_crs(everything.estimate_utm_crs())
    left, bottom, right, top = everything.total_bounds
    box = GeoBox.from_bbox(
        (left, bottom, right, top), crs=everything.crs.to_wkt(), resolution=VECTOR_GSD_M
    )
    scale = VECTOR_GSD_M / ground_sample_distance(box)[0]
    return GeoBox.from_bbox(
        (left, bottom, right, top), crs=everything.crs.to_wkt(), resolution=VECTOR_GSD_M * scale
    )


def _in_crs(layer: Layer, crs: str) -> Layer:
    if layer.shapes is None:
        return layer
    return dataclasses.replace(layer, shapes=layer.shapes.to_crs(crs).make_valid())

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

from geossda.data.labels import VECTOR_SUFFIXES, polygons_of, rasterize, read_frame
from geossda.errors import GeoreferenceError, InputError
from geossda.evaluation.buildings import ShapeScores, match, meet, score
from geossda.evaluation.metrics import Confusion
from geossda.footprints.building_raster import open_buildings
from geossda.footprints.polygonize import polygonize
from geossda.footprints.records import BuildingWindow
from geossda.progress import SILENT, Progress
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

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
    shapes : ShapeScores
        Of the buildings found.
    errors : GeoDataFrame
        Hits (as found), misses (as they truly are) and false alarms: ``kind``, ``iou``.
    """

    pixels: Confusion
    objects: Confusion
    shapes: ShapeScores
    errors: gpd.GeoDataFrame = dataclasses.field(repr=False, compare=False)


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
    invalid : int
        Geometries that were not valid as they came.
    """

    name: str
    raster: Mosaic | None
    shapes: gpd.GeoSeries | None
    threshold: float
    invalid: int = 0

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
    """Open a raster or a vector file of buildings."""
    path = Path(path)
    if path.suffix.lower() in VECTOR_SUFFIXES:
        frame = read_frame(path)
        invalid = int((~frame.geometry.dropna().is_valid).sum())
        return Layer(str(path), None, polygons_of(frame, path, None), threshold, invalid)
    mosaic = open_buildings(path, threshold, bands=(1,)).mosaic
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

    def both(window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Read a window: found, true, and where both are known."""
        with gdal_environment():
            a, known = found.mask(grid, window)
            b, known_b = true.mask(grid, window)
            known = known & known_b
            if within is not None:
                inside, valid = within.mask(grid, window)
                known &= valid if within.raster is not None else inside
        return a & known, b & known, known

    shape = (int(grid.shape.y), int(grid.shape.x))
    every = list(tiles(shape, _TILE))
    progress.stage("comparing", len(every))
    counts, everywhere = Confusion(), True
    for window in every:
        a, b, known = both(window)
        counts += Confusion.of(a, b)
        everywhere &= bool(known.all())
        progress.advance()

    def objects(layer: Layer, which: int) -> NDArray[np.object_]:
        if layer.shapes is not None and everywhere:
            return _inside(layer.shapes, grid)
        parts = polygonize(lambda window: BuildingWindow(both(window)[which]), shape, block=_TILE)
        traced = np.concatenate([ended.polygons for ended, _ in parts])
        if layer.shapes is None:
            return traced
        # Polygons are kept as they are, but for those of which no pixel is compared.
        kept = _inside(layer.shapes, grid)
        near, _ = shapely.STRtree(traced).query(kept, predicate="intersects")
        return np.asarray(kept[np.unique(near)], object)

    ours, theirs = objects(found, 0), objects(true, 1)
    pairs = meet(ours, theirs)
    hits = match(pairs, iou)
    scores = score(
        ours,
        theirs,
        pairs,
        hits,
        metres=float(np.mean(ground_sample_distance(grid))),
        invalid=found.invalid,
    )
    matched = pairs.found[hits], pairs.true[hits]
    missed = np.setdiff1d(np.arange(len(theirs)), matched[1])
    false = np.setdiff1d(np.arange(len(ours)), matched[0])
    errors = gpd.GeoDataFrame(
        {
            "kind": ["hit"] * len(hits) + ["miss"] * len(missed) + ["false alarm"] * len(false),
            "iou": np.concatenate([pairs.iou[hits], np.full(len(missed) + len(false), np.nan)]),
        },
        geometry=list(
            _moved(np.concatenate([ours[matched[0]], theirs[missed], ours[false]]), grid.transform)
        ),
        crs=crs,
    )
    return Comparison(counts, Confusion(len(hits), len(false), len(missed)), scores, errors)


def _inside(shapes: gpd.GeoSeries, grid: GeoBox) -> NDArray[np.object_]:
    """Give polygons that are inside the grid in its pixels, which are alike in ground area."""
    placed = _moved(shapes.to_numpy(), ~grid.transform)
    inside = shapely.area(shapely.intersection(placed, shapely.box(0, 0, *grid.shape.xy)))
    return np.asarray(placed[inside > 0.5 * shapely.area(placed)], object)


def _moved(shapes: NDArray[np.object_], transform: Any) -> NDArray[np.object_]:
    return np.asarray(
        shapely.transform(shapes, lambda xy: np.column_stack(transform * (xy[:, 0], xy[:, 1]))),
        object,
    )


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

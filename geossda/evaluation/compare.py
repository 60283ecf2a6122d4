"""Compare two layers of buildings, rasters or vectors, pixel by pixel and one by one."""

import dataclasses
import os
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import rasterio.features
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import Affine

from geossda.data.labels import is_vector, rasterize
from geossda.errors import GeoreferenceError, InputError
from geossda.evaluation.buildings import ShapeScores, intersecting_pairs, match, score
from geossda.evaluation.metrics import Confusion
from geossda.footprints.building_raster import open_buildings
from geossda.footprints.polygonize import polygonize
from geossda.footprints.records import BuildingWindow
from geossda.progress import SILENT, Progress
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import LARGEST_SIDE_PX, Mosaic, open_mosaic
from geossda.raster.polygons import placed, polygon_parts, polygons_of, read_frame, vector_errors
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

# Pixel side in metres when both layers are vectors.
VECTOR_GSD_M = 0.3
_TILE = 1024
# Tiles that polygons may touch: more take hours.
_MOST_TILES = 200_000


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
        """Return (building, known) in a window of `grid`.

        Parameters
        ----------
        grid : GeoBox
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
        frame = read_frame(name)
        invalid = int((~frame.geometry.dropna().is_valid).sum())
        return Layer(name, None, polygons_of(frame, name, None, whole=True), threshold, invalid)
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


def compare(
    detected: Layer,
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
    detected, true : Layer
    iou : float
        From which two footprints are the same building.
    area : Layer, optional
        A raster (its valid pixels) or polygons to stay within.
    progress : Progress
    """
    grid = _common_grid(detected, true, area)
    crs = grid.crs.to_wkt()
    detected, true = _in_crs(detected, crs, progress), _in_crs(true, crs, progress)
    within = None if area is None else _in_crs(area, crs, progress)

    def both(window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Read a window: detected, true, and where both are known."""
        with gdal_environment():
            a, known = detected.mask(grid, window)
            b, known_b = true.mask(grid, window)
            known = known & known_b
            if within is not None:
                inside, valid = within.mask(grid, window)
                known &= valid if within.raster is not None else inside
        return a & known, b & known, known

    shape = (int(grid.shape.y), int(grid.shape.x))
    windows = _windows(grid, detected, true)
    progress.stage("comparing", len(windows))
    counts, regions = Confusion(), []
    for window in windows:
        a, b, known = both(window)
        counts += Confusion.of(a, b)
        if any(layer.shapes is not None for layer in (detected, true)):
            regions += _outlines(known, window)
        progress.advance()
    region = shapely.union_all(regions)

    def objects(layer: Layer, which: int) -> NDArray[np.object_]:
        if layer.shapes is not None:
            return _clipped(layer.shapes, grid, region)
        parts = polygonize(lambda window: BuildingWindow(both(window)[which]), shape, block=_TILE)
        return np.concatenate([ended.polygons for ended, _ in parts])

    ours, theirs = objects(detected, 0), objects(true, 1)
    pairs = intersecting_pairs(ours, theirs)
    hits = match(pairs, iou)
    scores = score(
        ours,
        theirs,
        pairs,
        hits,
        metres=ground_sample_distance(grid),
        invalid=detected.invalid,
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


def _windows(grid: GeoBox, detected: Layer, true: Layer) -> list[Window]:
    """Return the tiles of the grid that are compared.

    All of them if one layer is a raster, whose grid it is; of polygons, those they touch: one far
    away adds a tile, not all the tiles between.
    """
    shape = (int(grid.shape.y), int(grid.shape.x))
    if detected.shapes is None or true.shapes is None:
        return list(tiles(shape, _TILE))
    if max(shape) > LARGEST_SIDE_PX:
        raise InputError(
            f"{detected.name} and {true.name} hold polygons {max(shape):.3g} pixels apart: remove "
            "those that are far away, or compare within an --area"
        )
    bounds = [
        shapely.bounds(_moved(layer.shapes.to_numpy(), ~grid.transform))
        for layer in (detected, true)
        if layer.shapes is not None and len(layer.shapes)
    ]
    if not bounds:
        return []
    ends = np.concatenate(bounds) // _TILE
    last = np.array([(shape[1] - 1) // _TILE, (shape[0] - 1) // _TILE])
    low = np.clip(ends[:, :2], 0, last).astype(np.int64)
    high = np.clip(ends[:, 2:], 0, last).astype(np.int64)
    touched = int(np.prod(high - low + 1, axis=1).sum())
    if touched > _MOST_TILES:
        raise InputError(
            f"{detected.name} and {true.name} hold polygons over {touched * _TILE**2 / 1e6:,.0f} "
            "megapixels: remove polygons that are too large, or compare within an --area"
        )
    places = {
        (row, col)
        for (left, top), (right, bottom) in zip(low.tolist(), high.tolist(), strict=True)
        for row in range(top, bottom + 1)
        for col in range(left, right + 1)
    }
    whole = Window(0, 0, *shape)
    boxes = (
        Window(row * _TILE, col * _TILE, _TILE, _TILE).intersection(whole)
        for row, col in sorted(places)
    )
    return [window for window in boxes if window is not None]


def _outlines(known: NDArray[np.bool_], window: Window) -> list[Any]:
    """Return the region of a window in which both layers are known, in pixels of the grid."""
    if known.all():
        left, top = window.col, window.row
        return [shapely.box(left, top, left + window.width, top + window.height)]
    corner = Affine.translation(window.col, window.row)
    traced = rasterio.features.shapes(known.view(np.uint8), known, transform=corner)
    return [shapely.geometry.shape(outline) for outline, _ in traced]


def _clipped(shapes: gpd.GeoSeries, grid: GeoBox, region: Any) -> NDArray[np.object_]:
    """Return what lies of polygons in a region, in pixels, which are alike in ground area.

    Parameters
    ----------
    shapes : GeoSeries
        In the grid's CRS.
    grid : GeoBox
    region : shapely (Multi)Polygon
        Where both layers are known, in pixels of the grid. A building that its border cuts is
        compared by its part inside, as a raster shows it.
    """
    in_pixels = _moved(shapes.to_numpy(), ~grid.transform)
    shapely.prepare(region)
    inside = shapely.covers(region, in_pixels)
    cut = in_pixels[~inside & shapely.intersects(region, in_pixels)]
    pieces = polygon_parts(shapely.intersection(cut, region))
    # Less than a pixel is no building to a raster either.
    pieces = pieces[shapely.area(pieces) >= 1]
    return np.concatenate([np.asarray(in_pixels[inside], object), pieces])


def _moved(shapes: NDArray[np.object_], transform: Any) -> NDArray[np.object_]:
    return np.asarray(
        shapely.transform(shapes, lambda xy: np.column_stack(transform * (xy[:, 0], xy[:, 1]))),
        object,
    )


def _common_grid(detected: Layer, true: Layer, area: Layer | None) -> GeoBox:
    for layer in (true, detected, area):
        if layer is not None and layer.raster is not None:
            return layer.raster.grid
    if true.shapes is None or detected.shapes is None:
        raise InputError("nothing to compare")
    leading = true if len(true.shapes) else detected
    if leading.shapes is None or not len(leading.shapes):
        raise InputError(
            f"{detected.name} and {true.name} are both empty: give at least one with buildings"
        )
    crs = leading.shapes.crs
    if not pyproj.CRS(crs).is_projected:
        # Of the middle one, which some that are far away do not move.
        middle = np.median(shapely.bounds(leading.shapes.to_numpy()), axis=0)
        # Beyond the antimeridian longitudes may go on counting.
        middle[[0, 2]] -= 360 * np.round(middle[[0, 2]].mean() / 360)
        with vector_errors(leading.name):
            crs = gpd.GeoSeries([shapely.box(*middle)], crs=crs).estimate_utm_crs()
    bounds = [
        placed(layer.shapes, crs, layer.name).total_bounds
        for layer in (detected, true)
        if layer.shapes is not None and len(layer.shapes)
    ]
    left, bottom = np.min(bounds, axis=0)[:2]
    right, top = np.max(bounds, axis=0)[2:]
    if area is not None and area.shapes is not None:
        limits = placed(area.shapes, crs, area.name).total_bounds
        left, bottom = max(left, limits[0]), max(bottom, limits[1])
        right, top = min(right, limits[2]), min(top, limits[3])
        if right <= left or top <= bottom:
            raise InputError(f"{area.name} does not overlap {detected.name} or {true.name}")
    # Where the leading layer is, a pixel is as long on the ground as it is to be.
    middle = np.median(shapely.bounds(placed(leading.shapes, crs, leading.name)), axis=0)
    x, y = (middle[0] + middle[2]) / 2, (middle[1] + middle[3]) / 2
    local = GeoBox.from_bbox((x, y, x + 10, y + 10), crs=pyproj.CRS(crs).to_wkt(), resolution=1)
    step = VECTOR_GSD_M / ground_sample_distance(local)[0]
    return GeoBox.from_bbox((left, bottom, right, top), crs=local.crs, resolution=step)


def _in_crs(layer: Layer, crs: str, progress: Progress) -> Layer:
    if layer.shapes is None:
        return layer
    return dataclasses.replace(layer, shapes=placed(layer.shapes, crs, layer.name, progress))

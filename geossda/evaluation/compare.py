"""Compare two layers of buildings, rasters or vectors, pixel by pixel and one by one."""

import dataclasses
import math
import os
from typing import Any

import numpy as np
import pyproj
import rasterio.features
import shapely
from numpy.typing import NDArray
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from rasterio import Affine

from geossda.data.labels import is_vector, rasterize
from geossda.errors import GeoreferenceError, InputError
from geossda.evaluation.buildings import ShapeScores, intersecting_pairs, match, score
from geossda.evaluation.metrics import Confusion
from geossda.footprints.building_raster import open_buildings
from geossda.footprints.polygonize import polygonize
from geossda.footprints.records import BuildingWindow
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import LARGEST_SIDE_PX, Mosaic, open_mosaic
from geossda.raster.polygons import placed, polygon_parts, polygons_of
from geossda.raster.shapes import Shapes
from geossda.raster.source import gdal_environment
from geossda.raster.vector_files import read_shapes, vector_errors
from geossda.raster.windows import Window, tiles

# Pixel side in metres when both layers are vectors.
VECTOR_GSD_M = 0.3
_TILE = 1024
# Tiles that polygons may touch: more take hours.
_MOST_TILES = 200_000


@dataclasses.dataclass(frozen=True)
class Errors:
    """Buildings of a comparison: hits as found, misses as they truly are, and false alarms.

    Attributes
    ----------
    shapes : Shapes
        n Polygons or MultiPolygons, in the CRS compared in.
    kind : (n,) array of str
        ``"hit"``, ``"miss"`` or ``"false alarm"``.
    iou : (n,) float64 array
        Of hits; NaN of others.
    """

    shapes: Shapes
    kind: NDArray[np.object_]
    iou: NDArray[np.float64]


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
    errors : Errors
    """

    pixels: Confusion
    objects: Confusion
    shapes: ShapeScores
    errors: Errors = dataclasses.field(repr=False, compare=False)


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
        Warned of layers that lie apart.
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
    counts, regions, any_known = Confusion(), [], False
    for window in windows:
        a, b, known = both(window)
        any_known |= bool(known.any())
        counts += Confusion.of(a, b)
        if any(layer.shapes is not None for layer in (detected, true)):
            regions += _outlines(known, window)
        progress.advance()
    if not any_known or _are_apart(detected, true, grid):
        where = "" if area is None else f" within {area.name}"
        progress.warn(
            f"{detected.name} and {true.name} have no place in common{where}: check their CRS and "
            "the order of their coordinates"
        )
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
    buildings = np.concatenate([ours[matched[0]], theirs[missed], ours[false]])
    kinds = np.array(["hit", "miss", "false alarm"], object)
    errors = Errors(
        Shapes(_moved(buildings, grid.transform), crs),
        np.repeat(kinds, [len(hits), len(missed), len(false)]),
        np.concatenate([pairs.iou[hits], np.full(len(missed) + len(false), np.nan)]),
    )
    return Comparison(counts, Confusion(len(hits), len(false), len(missed)), scores, errors)


def _windows(grid: Grid, detected: Layer, true: Layer) -> list[Window]:
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
        shapely.bounds(_moved(layer.shapes.geometry, ~grid.transform))
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


def _clipped(shapes: Shapes, grid: Grid, region: Any) -> NDArray[np.object_]:
    """Return what lies of polygons in a region, in pixels, which are alike in ground area.

    Parameters
    ----------
    shapes : Shapes
        In the grid's CRS.
    grid : Grid
    region : shapely (Multi)Polygon
        Where both layers are known, in pixels of the grid. A building that its border cuts is
        compared by its part inside, as a raster shows it.
    """
    in_pixels = _moved(shapes.geometry, ~grid.transform)
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


def _are_apart(detected: Layer, true: Layer, grid: Grid) -> bool:
    """Return whether two layers that hold something, in the grid's CRS, do not overlap at all."""
    extents = [
        grid.extent if layer.shapes is None else shapely.box(*layer.shapes.bounds)
        for layer in (detected, true)
        if layer.shapes is None or len(layer.shapes)
    ]
    return len(extents) == 2 and not extents[0].intersects(extents[1])


def _common_grid(detected: Layer, true: Layer, area: Layer | None) -> Grid:
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
    if crs is None or not crs.is_projected:
        # Of the middle one, which some that are far away do not move.
        middle = np.median(shapely.bounds(leading.shapes.geometry), axis=0)
        # Beyond the antimeridian longitudes may go on counting.
        middle[[0, 2]] -= 360 * np.round(middle[[0, 2]].mean() / 360)
        with vector_errors(leading.name):
            crs = _utm_around(middle, crs)
    bounds = [
        placed(layer.shapes, crs, layer.name).bounds
        for layer in (detected, true)
        if layer.shapes is not None and len(layer.shapes)
    ]
    left, bottom = np.min(bounds, axis=0)[:2]
    right, top = np.max(bounds, axis=0)[2:]
    if area is not None and area.shapes is not None:
        limits = placed(area.shapes, crs, area.name).bounds
        left, bottom = max(left, limits[0]), max(bottom, limits[1])
        right, top = min(right, limits[2]), min(top, limits[3])
        if right <= left or top <= bottom:
            raise InputError(f"{area.name} does not overlap {detected.name} or {true.name}")
    # Where the leading layer is, a pixel is as long on the ground as it is to be.
    middle = np.median(shapely.bounds(placed(leading.shapes, crs, leading.name).geometry), axis=0)
    x, y = (middle[0] + middle[2]) / 2, (middle[1] + middle[3]) / 2
    local = Grid((1, 1), Affine.translation(x, y) * Affine.scale(1, -1), crs)
    step = VECTOR_GSD_M / ground_sample_distance(local)[0]
    # Edges of pixels at multiples of their size, but for a hundredth of it.
    first_col, first_row = math.floor(left / step + 0.01), math.ceil(top / step - 0.01)
    last_col, last_row = math.ceil(right / step - 0.01), math.floor(bottom / step + 0.01)
    corner = Affine.translation(first_col * step, first_row * step)
    shape = max(1, first_row - last_row), max(1, last_col - first_col)
    return Grid(shape, corner * Affine.scale(step, -step), local.crs)


def _utm_around(bounds: NDArray[np.float64], crs: pyproj.CRS | None) -> pyproj.CRS:
    """Return the UTM zone, on WGS 84, that the middle of some bounds lies in."""
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    if crs is not None:
        x, y = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    zones = query_utm_crs_info("WGS 84", AreaOfInterest(x, y, x, y))
    if not zones:
        raise ValueError(f"no UTM zone holds {x:.6g}, {y:.6g}")
    return pyproj.CRS(f"{zones[0].auth_name}:{zones[0].code}")


def _in_crs(layer: Layer, crs: str, progress: Progress) -> Layer:
    if layer.shapes is None:
        return layer
    return dataclasses.replace(layer, shapes=placed(layer.shapes, crs, layer.name, progress))

"""Compare two layers of buildings, rasters or vectors, pixel by pixel and one by one."""

import dataclasses
from typing import Any

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasterio import Affine

from geossda.errors import InputError
from geossda.evaluation.building_layer import Layer
from geossda.evaluation.buildings import ShapeScores, intersecting_pairs, match, score
from geossda.evaluation.comparison_grid import common_grid
from geossda.evaluation.metrics import Confusion
from geossda.footprints.polygonize import polygonize
from geossda.footprints.records import BuildingWindow
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import LARGEST_SIDE_PX
from geossda.raster.polygons import placed, polygon_parts
from geossda.raster.shapes import Shapes
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

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
    grid = common_grid(detected, true, area)
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


def _in_crs(layer: Layer, crs: str, progress: Progress) -> Layer:
    if layer.shapes is None:
        return layer
    return dataclasses.replace(layer, shapes=placed(layer.shapes, crs, layer.name, progress))

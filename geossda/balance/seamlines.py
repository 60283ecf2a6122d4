"""Seamlines: where overlapping sources are cut so that the change between them is least seen.

Watershed of the differences between sources, flooded from where only one of them is valid, after
Soille, "Morphological Image Compositing", IEEE TPAMI 28(5), 2006.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio.features
import shapely
import shapely.affinity
from numpy.typing import NDArray

from geossda.balance.scenes import Scenes
from geossda.errors import GeoreferenceError, InputError, OutputError, VectorError, counted
from geossda.layers import atomic_layer
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.polygons import placed, polygon_parts
from geossda.raster.shapes import Shapes
from geossda.raster.source import gdal_environment
from geossda.raster.vector_files import layer_to_read, read_parquet, vector_errors, write_shapes
from geossda.raster.windows import Window, tiles
from geossda.urls import file_name

# Accepted in place of a file of seamlines.
SEAMLINE_KEYWORDS = ("auto", "none")
# Pixels of the overview that seamlines are found in.
OVERVIEW_PX = 2**21
_TILE = 512
# Differences are smoothed over so many pixels of the overview, so that lines do not follow grain,
# and edges of either source count for so much of a difference.
_SMOOTHING_PX, _EDGE_SHARE = 1.5, 0.25
# Differences below this percentile are all alike: lines run straight through them.
_ALIKE_PERCENT = 10
# Pixels of the overview by which outlines reach beyond the valid pixels seen there.
_BEYOND_PX = 2


@dataclass(frozen=True)
class Seamlines:
    """Which source is on top where: one polygon, or several, for each.

    Attributes
    ----------
    scenes : Scenes
        Polygons in pixels of the mosaic; where they overlap, the first one counts.
    owners : tuple of int
        Index of the source of each polygon.
    """

    scenes: Scenes
    owners: tuple[int, ...]

    def sources_at(self, window: Window) -> NDArray[np.int32]:
        """Return the source of each pixel of a window, -1 outside all polygons."""
        owners = np.array([*self.owners, -1], np.int32)
        return owners[self.scenes.labels(window)]

    def to_state(self) -> dict[str, Any]:
        """Return the state that :meth:`from_state` restores."""
        shapes = [shape.wkb_hex for shape in self.scenes.polygons]
        return {"polygons": shapes, "owners": list(self.owners)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Seamlines":
        """Restore seamlines from their state.

        Parameters
        ----------
        state : dict
            As :meth:`to_state` returns it.
        """
        shapes = tuple(shapely.from_wkb(text) for text in state["polygons"])
        return cls(Scenes(shapes), tuple(state["owners"]))


def seamlines_for(mosaic: Mosaic, given: str, *, progress: Progress = SILENT) -> Seamlines | None:
    """Return the seamlines that a setting asks for.

    Parameters
    ----------
    mosaic : Mosaic
    given : str
        ``"none"``, ``"auto"``, or a vector file as :func:`write_seamlines` writes it.
    progress : Progress

    Returns
    -------
    Seamlines or None
        None for ``"none"``.

    Raises
    ------
    VectorError, GeoreferenceError
        As :func:`read_seamlines`.
    """
    if given == "none":
        return None
    if given == "auto":
        return find_seamlines(mosaic, progress=progress)
    return read_seamlines(given, mosaic)


def check_seamlines(mosaic: Mosaic, given: str) -> None:
    """Check, without reading pixels, that a mosaic can be cut along seamlines.

    Parameters
    ----------
    mosaic : Mosaic
        What one output is made from.
    given : str
        See :func:`seamlines_for`.

    Raises
    ------
    InputError
        There is one source only.
    VectorError, GeoreferenceError
        As :func:`read_seamlines`.
    """
    if given == "none":
        return
    if len(mosaic.sources) == 1:
        raise InputError(
            f"{mosaic.name} is the one source of its output: --seamlines cuts several that become "
            "one mosaic; give several, and -o FILE"
        )
    if given != "auto":
        read_seamlines(given, mosaic)


def find_seamlines(mosaic: Mosaic, *, progress: Progress = SILENT) -> Seamlines:
    """Find the lines along which overlapping sources differ least.

    Sources are added one by one to an overview of at most `OVERVIEW_PX` pixels.

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress
        Advanced by one for each source; warned where no two of them overlap.
    """
    height, width = mosaic.shape
    factor = max(1, int(np.ceil(np.sqrt(height * width / OVERVIEW_PX))))
    coarse = mosaic.resampled(mosaic.grid.zoom_out(factor))
    progress.stage("finding seamlines", len(mosaic.sources))
    owner = np.full(coarse.shape, -1, np.int16)
    on_top = np.zeros((min(mosaic.count, 3), *coarse.shape), np.float32)
    overlap = False
    for index, source in enumerate(mosaic.sources):
        window = source.covered(coarse.grid)
        if window is not None:
            # What lies around it is where the others' floods begin.
            window = window.grown(1, coarse.shape)
            pixels, valid = _read(coarse, index, window)
            part = np.s_[window.rows, window.cols]
            overlap |= _add(owner[part], on_top[:, *part], pixels, valid, index)
        progress.advance()
    if not overlap:
        progress.warn(
            f"no two of {counted(len(mosaic.sources), 'source')} have pixels of the same ground, "
            "so there is nothing to cut along seamlines"
        )
    # Beyond what the overview shows of valid pixels, outlines are the nearest one's.
    known = (owner + 1).astype(np.uint16)
    for _ in range(_BEYOND_PX):
        known = np.where(known > 0, known, cv2.dilate(known, np.ones((3, 3), np.uint8)))
    return Seamlines(*_polygons(known.astype(np.int16) - 1, factor, (height, width)))


def _read(coarse: Mosaic, index: int, window: Window) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Read a window of the overview of one source, tile by tile; at most three bands."""
    bands = min(coarse.count, 3)
    pixels = np.zeros((bands, window.height, window.width), np.float32)
    valid = np.zeros((window.height, window.width), np.bool_)
    with gdal_environment():
        for tile in tiles(valid.shape, _TILE):
            there = tile._replace(row=tile.row + window.row, col=tile.col + window.col)
            read, known = coarse.read_source(index, there)
            pixels[:, tile.rows, tile.cols] = np.where(known, read[:bands], 0)
            valid[tile.rows, tile.cols] = known
    return pixels, valid


def _add(
    owner: NDArray[np.int16],
    on_top: NDArray[np.float32],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    index: int,
) -> bool:
    """Add a source to what is on top so far, within its window; return whether they overlap."""
    before = owner >= 0
    both = before & valid
    taken = valid & ~before
    # Without pixels of its own, a source has nothing to add, and without others none to lose.
    if both.any() and taken.any() and (before & ~valid).any():
        markers = np.where(taken, 2, np.where(before & ~valid, 1, 0)).astype(np.int32)
        markers[both] = 0
        taken = valid & (_flooded(markers, _visibility(on_top, pixels, both)) == 2)
    owner[taken] = index
    on_top[:, taken] = pixels[:, taken]
    return bool(both.any())


def _visibility(
    first: NDArray[np.float32], second: NDArray[np.float32], both: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return how visible a cut is, 0 to 254: differences of pixels, and edges; 0 outside."""
    difference = np.zeros(both.shape, np.float32)
    for one, other in zip(first, second, strict=True):
        own, its = (
            np.where(both, (band - band[both].mean()) / max(band[both].std(), 1e-6), np.float32(0))
            for band in (one, other)
        )
        difference += np.abs(own - its)
        edges = (_slope(own), _slope(its))
        difference += _EDGE_SHARE * np.maximum(*edges)
    smooth, share = (
        cv2.GaussianBlur(each, (0, 0), _SMOOTHING_PX)
        for each in (np.where(both, difference, np.float32(0)), both.astype(np.float32))
    )
    smooth /= np.maximum(share, 1e-6)
    low, high = np.percentile(smooth[both], [_ALIKE_PERCENT, 99])
    scaled = np.clip((smooth - low) / max(high - low, 1e-6), 0, 1)
    return np.where(both, np.rint(254 * np.sqrt(scaled)), 0).astype(np.uint8)


def _slope(band: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the size of the gradient of a band, per pixel."""
    across, down = (cv2.Sobel(band, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
    return np.asarray(cv2.magnitude(across, down))


def _flooded(markers: NDArray[np.int32], visibility: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return which marker reaches each pixel, the most visible pixels first.

    Floods meet where they are stopped longest: where a cut is least visible.
    """
    cost = 255 - visibility
    # OpenCV floods by differences between neighbours. On a chequerboard of 0 and the cost, these
    # are the cost.
    rows, cols = np.indices(cost.shape)
    board = np.where((rows + cols) % 2, cost, 0).astype(np.uint8)
    framed = np.pad(np.stack([board] * 3, axis=-1), ((1, 1), (1, 1), (0, 0)))
    result = np.pad(markers, 1)
    cv2.watershed(framed, result)
    reached = result[1:-1, 1:-1]
    # The line itself, one pixel wide, goes to the source below.
    return np.where(reached < 0, 1, reached)


def _polygons(
    owner: NDArray[np.int16], factor: int, shape: tuple[int, int]
) -> tuple[Scenes, tuple[int, ...]]:
    """Return the outlines of each source's pixels, in pixels of the mosaic."""
    parts: dict[int, list[Any]] = {}
    for outline, value in rasterio.features.shapes(owner, owner >= 0):
        parts.setdefault(int(value), []).append(shapely.geometry.shape(outline))
    box = shapely.box(0, 0, shape[1], shape[0])
    shapes, owners = [], []
    for index in sorted(parts):
        whole = shapely.affinity.scale(
            shapely.MultiPolygon(parts[index]), factor, factor, origin=(0, 0)
        )
        inside = polygon_parts(np.array([shapely.intersection(whole, box)], object))
        if len(inside):
            shapes.append(shapely.MultiPolygon(list(inside)))
            owners.append(index)
    return Scenes(tuple(shapes)), tuple(owners)


def write_seamlines(seamlines: Seamlines, mosaic: Mosaic, path: Path) -> None:
    """Write what each source covers as a layer of polygons, completely or not at all.

    Parameters
    ----------
    seamlines : Seamlines
    mosaic : Mosaic
    path : Path
        A GeoPackage; its layer ``seamlines`` has the fields ``source``, a file's name, and
        ``number``, its place among the sources.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    forth = mosaic.grid.transform
    matrix = [forth.a, forth.b, forth.d, forth.e, forth.c, forth.f]
    shapes = [
        shapely.affinity.affine_transform(shape, matrix) for shape in seamlines.scenes.polygons
    ]
    fields = {
        "source": np.array([_names(mosaic)[owner] for owner in seamlines.owners], object),
        "number": np.array([owner + 1 for owner in seamlines.owners]),
    }
    with atomic_layer(path, "seamlines") as (part, _):
        try:
            write_shapes(Shapes(shapes, mosaic.grid.crs), part, "seamlines", fields)
        except (OSError, RuntimeError, ValueError) as error:
            raise OutputError(f"cannot write {path}: {str(error).splitlines()[0]}") from error


def read_seamlines(path: str, mosaic: Mosaic) -> Seamlines:
    """Read seamlines for a mosaic: polygons with the name of the source that is on top there.

    Parameters
    ----------
    path : path
        As :func:`write_seamlines` writes it, in any CRS; where polygons overlap, the first counts,
        and where there is none, the first valid source.
    mosaic : Mosaic

    Raises
    ------
    VectorError
        No vector file, no field ``source``, or a source that the mosaic does not have.
    GeoreferenceError
        No CRS, or no polygon that overlaps the mosaic.
    """
    file, layer = layer_to_read(path, "seamlines")
    with vector_errors(path):
        if layer is None:
            frame = read_parquet(file)
            shapes, crs, fields = frame.geometry.to_numpy(), frame.crs, dict(frame.items())
        else:
            import pyogrio

            about, _, encoded, values = pyogrio.raw.read(file, layer=layer)
            shapes, crs = shapely.from_wkb(encoded), about["crs"]
            fields = dict(zip(about["fields"], values, strict=True))
    names = _names(mosaic)
    by = "source" if len(set(names)) == len(names) else "number"
    if by not in fields:
        raise VectorError(
            f"seamlines {path} have no field {by!r}: polygons with the file name of the source "
            "that is on top (source), or its place (number), were expected"
        )
    places = {name: index for index, name in enumerate(names)}
    if by == "number":
        places = {str(index + 1): index for index in range(len(names))}
    if crs is None or mosaic.grid.crs is None:
        raise GeoreferenceError(f"seamlines {path} and the mosaic must both have a CRS")
    box = shapely.box(0, 0, mosaic.grid.width, mosaic.grid.height)
    polygons, owners = [], []
    for shape, value in zip(shapes, fields[by], strict=True):
        if str(value) not in places:
            raise VectorError(
                f"seamlines {path} name the source {value}, which is not among the "
                f"{counted(len(names), 'source')}: {', '.join(names[:3])} ..."
            )
        parts = polygon_parts(np.array([shape], object)) if shape is not None else ()
        if not len(parts):
            continue
        moved = placed(Shapes(parts, crs), mosaic.grid.crs.to_wkt(), path).geometry
        x, y = shapely.get_coordinates(moved).T
        inside = np.column_stack(~mosaic.grid.transform * (x, y))
        whole = shapely.MultiPolygon(list(shapely.set_coordinates(moved.copy(), inside)))
        if shapely.intersects(whole, box):
            polygons.append(whole)
            owners.append(places[str(value)])
    if not polygons:
        raise GeoreferenceError(f"seamlines {path} do not overlap the mosaic: check their CRS")
    return Seamlines(Scenes(tuple(polygons)), tuple(owners))


def _names(mosaic: Mosaic) -> Sequence[str]:
    return [file_name(source.path) for source in mosaic.sources]

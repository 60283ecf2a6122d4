"""How the pixels of one grid lie on another."""

import math
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.warp import transform as transform_points

from geossda.errors import GeoreferenceError
from geossda.raster.grid import Grid
from geossda.raster.windows import Window

# Pixels from a grid's origin beyond which sums of coordinates lose whole pixels.
_FARTHEST_PX = 2**48
# Greatest longitude and latitude: longitudes may go round twice; a degree is more than rounding.
FARTHEST_DEG = (540.0, 91.0)
MISPLACED = (
    "a raster lies where the CRS of another has no coordinates: check that each declares the CRS "
    "its coordinates are in"
)


def axis_scale(own: Grid, target: Grid) -> tuple[float, float, float, float] | None:
    """Return (scale x, scale y, offset x, offset y) from pixels of `target` to pixels of `own`.

    None if the two differ by more: another CRS, a rotation, a flip.

    Parameters
    ----------
    own, target : Grid
        Grids whose pixel axes are compared.
    """
    if own.crs != target.crs:
        return None
    to_own = ~own.transform * target.transform
    span = max(target.shape)
    if max(abs(to_own.b), abs(to_own.d)) * span > 0.01 or min(to_own.a, to_own.e) <= 0:
        return None
    exact = [to_own.a, to_own.e, to_own.c, to_own.f]
    # Snap what is rounding in the transforms, so that equal lattices are read without resampling.
    snapped = [round(value) for value in exact]
    near = [
        abs(e - s) * (span if i < 2 else 1) < 0.01 and (s > 0 or i > 1)
        for i, (e, s) in enumerate(zip(exact, snapped, strict=True))
    ]
    if all(near):
        exact = [float(value) for value in snapped]
    return exact[0], exact[1], exact[2], exact[3]


def outline_in(own: Grid, target: Grid) -> NDArray[np.float64]:
    """Return the outline of a grid in pixels of another, (points, 2) columns and rows.

    Parameters
    ----------
    own, target : Grid
        With CRSs, unless both have none.

    Raises
    ------
    GeoreferenceError
        The CRS of `target` has no coordinates where `own` lies, as it is declared.
    """
    try:
        x, y = shapely.get_coordinates(own.extent).T
        if own.crs != target.crs:
            x, y = pyproj.Transformer.from_crs(own.crs, target.crs, always_xy=True).transform(x, y)
        if not np.isfinite([x, y]).all():
            raise GeoreferenceError(MISPLACED)
        corners = np.column_stack(~target.transform * (x, y))
    except (pyproj.exceptions.ProjError, shapely.errors.ShapelyError, ValueError) as error:
        raise GeoreferenceError(MISPLACED) from error
    if not (np.isfinite(corners).all() and np.abs(corners).max() < _FARTHEST_PX):
        raise GeoreferenceError(MISPLACED)
    return corners


def on_globe(grid: Grid) -> bool:
    """Return whether all corners of a grid are longitudes and latitudes, if its CRS has such.

    Parameters
    ----------
    grid : Grid
    """
    if grid.crs is None or not grid.crs.is_geographic:
        return True
    corners = shapely.get_coordinates(grid.extent)
    degrees = np.degrees(corners * grid.crs.axis_info[0].unit_conversion_factor)
    return bool((np.abs(degrees) <= FARTHEST_DEG).all())


def turns_towards(grid: Grid, x: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the whole turns of longitude that bring coordinates nearest to a grid.

    Parameters
    ----------
    grid : Grid
    x : float or array
        In the grid's CRS.

    Returns
    -------
    array like `x`
        To add to the coordinates; 0 in a CRS without longitudes.
    """
    if grid.crs is None or not grid.crs.is_geographic:
        return np.zeros_like(x, dtype=float)
    turn = round(2 * math.pi / grid.crs.axis_info[0].unit_conversion_factor, 6)
    middle, _ = grid.transform * (grid.shape.x / 2, grid.shape.y / 2)
    return np.asarray(np.round((middle - x) / turn) * turn)


def unwrapped(own: Grid, first: Grid) -> Grid:
    """Return a grid moved by whole turns of longitude to where it lies nearest to another.

    So do rasters on both sides of the antimeridian lie side by side. Grids of another CRS are
    returned as they are.

    Parameters
    ----------
    own, first : Grid
        The grid to move, and the one it should lie near.
    """
    if own.crs != first.crs:
        return own
    middle, _ = own.transform * (own.shape.x / 2, own.shape.y / 2)
    east = float(turns_towards(first, middle))
    return Grid(own.shape, Affine.translation(east, 0) * own.transform, own.crs) if east else own


def inside(start: int, length: int, scale: float, offset: float, size: int) -> slice:
    """Return the target pixels of a run that lie wholly inside `size` own pixels (at least one).

    Parameters
    ----------
    start, length : int
        First pixel of the run and its length, in target pixels.
    scale : float
        Own pixels a target pixel, along this axis.
    offset : float
        Own coordinate of the target's pixel 0.
    size : int
        Length of the own axis, in own pixels.
    """
    first = max(start, math.ceil(-offset / scale - 1e-6))
    stop = min(start + length, math.floor((size - offset) / scale + 1e-6))
    if stop <= first:  # narrower than a target pixel
        first = min(max(start, first), start + length - 1)
        stop = first + 1
    return slice(first, stop)


def ends(run: slice) -> tuple[int, int]:
    """Return the first pixel of a run, and the one after its last."""
    return run.start, run.stop


def _to_own(own: Grid, target: Grid, cols: Any, rows: Any) -> tuple[Any, Any]:
    """Transform pixel coordinates of `target` to columns and rows of `own`."""
    x, y = target.transform * (cols, rows)
    if own.crs != target.crs and own.crs is not None and target.crs is not None:
        x, y = transform_points(target.crs.to_wkt(), own.crs.to_wkt(), x, y)
    col, row = ~own.transform * (np.asarray(x), np.asarray(y))
    return col, row


def pixels_across(own: Grid, target: Grid) -> int:
    """Return how many pixels of `own` make one of `target` at its centre, at least 1.

    Parameters
    ----------
    own, target : Grid
    """
    col, row = target.shape.x / 2, target.shape.y / 2
    cols, rows = _to_own(own, target, np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    steps = np.hypot(np.diff(cols[[0, 1, 0, 2]])[::2], np.diff(rows[[0, 1, 0, 2]])[::2])
    return max(1, int(steps.min())) if np.isfinite(steps).all() else 1


def covering(own: Grid, target: Grid, factor: int) -> Window | None:
    """Return the window of `own` that resampling to `target` reads; None if there is none.

    Parameters
    ----------
    own, target : Grid
    factor : int
        The window starts and ends at multiples of so many pixels.
    """
    height, width = int(target.shape.y), int(target.shape.x)
    steps = np.linspace(0, 1, 33)
    cols, rows = (each.ravel() for each in np.meshgrid(steps * width, steps * height))
    col, row = _to_own(own, target, cols, rows)
    seen = np.isfinite(col) & np.isfinite(row)
    if not seen.any():
        return None
    # Between points 1/32 of a side apart, a curved border reaches out by less than that.
    margin = 2 * factor + int(max(np.ptp(col[seen]), np.ptp(row[seen])) / 32)

    def blocks(places: Any, size: int) -> tuple[int, int]:
        last = size // factor * factor
        first = min(max(0, int(places.min()) - margin), last) // factor * factor
        end = -(-max(0, int(places.max()) + margin + 1) // factor) * factor
        return first, min(end, last)

    (top, bottom), (left, right) = blocks(row[seen], own.shape.y), blocks(col[seen], own.shape.x)
    if bottom <= top or right <= left:
        return None
    return Window(top, left, bottom - top, right - left)

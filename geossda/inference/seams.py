"""Find the scenes of a mosaic from its pixels alone."""

from typing import Any

import numpy as np
import shapely
import shapely.ops
from numpy.typing import NDArray

from geossda.color.seams import SHORTEST, Line, Search, tones
from geossda.inference.across import Piece, pieces
from geossda.inference.recolor import in_order
from geossda.inference.threads import threads
from geossda.progress import SILENT, Progress
from geossda.raster.reading import Mosaic
from geossda.raster.scenes import Scenes
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

# Cells along the longer side, and pixels along a cell's side that are looked at.
CELLS, SIDE = 256, 8
# Side in pixels of what is read at once.
PIECE = 2048
# More scenes than this are not looked for.
MOST = 64
# From which strength a line is looked at closely, and from which it counts as a feathered seam.
LOOK, SOFT = 6.0, 4.5
# A hard seam steps by so many times what other columns near it do, with neighbours across it as
# alike as they are elsewhere: objects go on where only the light changed.
STEP, ALIKE = 11.0, 0.67
# Pixels along a line that are looked at together, and how many such pieces it takes to judge.
LENGTH, FEWEST = 128, 7
# The least scene, as a share of the cells of the square of the shortest seam.
LEAST = 0.25


def find_scenes(mosaic: Mosaic, *, soft: bool, progress: Progress = SILENT) -> Scenes:
    """Find scenes of unlike radiometry with straight borders.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    soft : bool
        Whether to look for feathered borders too. A long straight border between two kinds of
        land can be taken for one.
    progress : Progress

    Returns
    -------
    Scenes
        With no polygon where there is one scene only.
    """
    height, width = mosaic.shape
    side = max(SIDE, -(-max(height, width) // (CELLS * SIDE)) * SIDE)
    if min(height, width) // side < SHORTEST:
        return Scenes(())
    search = Search(*_cells(mosaic, side, progress))
    rows, cols = search.valid.shape
    y, x = np.mgrid[:rows, :cols] + 0.5
    todo: list[Any] = [shapely.box(0, 0, width, height)]
    done: list[Any] = []
    progress.stage("looking for seams")
    while todo and len(todo) + len(done) < MOST:
        polygon = todo.pop()
        part = shapely.contains_xy(polygon, x * side, y * side)
        parts = _parted(mosaic, search, polygon, part, side, soft)
        if len(parts) == 1:
            done += parts
        else:
            todo += parts
    done += todo
    return Scenes(tuple(done) if len(done) > 1 else ())


def _cells(
    mosaic: Mosaic, side: int, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Measure the tones of the mosaic's cells, read at reduced resolution."""
    height, width = (length // side * SIDE for length in mosaic.shape)
    step = side // SIDE
    grid = mosaic.grid[: height * step, : width * step].zoom_out(step)
    small = mosaic.resampled(grid)
    # What is read at full resolution for a window must not grow with the mosaic.
    windows = list(tiles((height, width), max(1, PIECE // (step * SIDE)) * SIDE))
    progress.stage("measuring tones", len(windows))
    found = np.zeros((6 * mosaic.count, height // SIDE, width // SIDE), np.float32)
    valid = np.zeros(found.shape[1:], bool)

    def measure(window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        with gdal_environment():
            pixels, known = small.read(window)
        return tones(np.where(known, pixels, 0).astype(np.float32), known, SIDE)

    for window, part in zip(windows, in_order(measure, windows, threads()), strict=True):
        rows = slice(window.row // SIDE, (window.row + window.height) // SIDE)
        cols = slice(window.col // SIDE, (window.col + window.width) // SIDE)
        found[:, rows, cols], valid[rows, cols] = part
        progress.advance()
    return found, valid


def _parted(
    mosaic: Mosaic,
    search: Search,
    polygon: Any,
    part: NDArray[np.bool_],
    side: int,
    soft: bool,
) -> list[Any]:
    """Cut a part along its hard seams or, if there are none, along its strongest soft one."""
    parts, strongest, strength = [polygon], None, 0.0
    least = LEAST * (SHORTEST * side) ** 2
    for line in search.strongest(part):
        if line.strength < LOOK and not (soft and line.far > SOFT):
            continue
        drawn = _drawn(line, side, mosaic.shape)
        halves = _halves(polygon, drawn, least)
        if halves is None:
            continue
        exact = _hard(mosaic, shapely.intersection(drawn, polygon), drawn, 2 * side)
        if exact is not None:
            parts = [half for piece in parts for half in _halves(piece, exact, least) or (piece,)]
        elif soft and line.far > max(SOFT, strength):
            strongest, strength = halves, line.far
    return strongest if len(parts) == 1 and strongest else parts


def _drawn(line: Line, side: int, shape: tuple[int, int]) -> Any:
    """Give a line in pixels, from beyond one edge of the raster to beyond the other."""
    ends = np.array([-shape[0] - shape[1], 2 * (shape[0] + shape[1])], float)
    others = (line.offset * side) + line.slope * ends
    return shapely.LineString(np.stack([others, ends] if line.steep else [ends, others], 1))


def _halves(polygon: Any, line: Any, least: float) -> list[Any] | None:
    """Cut a convex polygon in two; None if one of them would be smaller than `least`."""
    parts = list(shapely.get_parts(shapely.ops.split(polygon, line)))
    return parts if len(parts) == 2 and min(part.area for part in parts) >= least else None


def _hard(mosaic: Mosaic, crossing: Any, drawn: Any, reach: int) -> Any:
    """Find a hard seam near a line, to the pixel; None if there is none."""
    found = pieces(mosaic, crossing, reach, LENGTH, shorten=False)
    found = [piece for piece in found if piece.valid.mean() > 0.5]
    if len(found) < FEWEST:
        return None
    start, end = (np.array(drawn.coords[place]) for place in (0, -1))
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    centres = np.array([[piece.cols.mean() + 0.5, piece.rows.mean() + 0.5] for piece in found])
    places = (centres - start) @ along
    steps = np.stack([_step(piece) for piece in found])
    turn, middle, strength = _straightest(steps, places)
    if strength < STEP:
        return None
    at = np.rint(middle + turn * (places - places.mean())).astype(int)
    likeness = np.stack([_likeness(piece) for piece in found])
    here = np.nanmean(np.take_along_axis(likeness, at.clip(0, likeness.shape[1] - 1)[:, None], 1))
    if 1 - here > (1 - np.nanmedian(likeness)) / ALIKE:
        return None
    # Column i is the step between pixels i and i + 1 of a piece.
    near, far = (middle + turn * (place - places.mean()) + 1 - reach for place in (0.0, length))
    return shapely.LineString([start + near * across, end + far * across])


def _step(piece: Piece) -> NDArray[np.float64]:
    """Give how mean, dark and bright values step from column to column, (tones, columns)."""
    rows = piece.valid.all(axis=1)
    columns = piece.valid.shape[1] - 1
    if rows.sum() < 16:
        return np.full((3 * len(piece.pixels), columns), np.nan)
    values = piece.pixels[:, rows].astype(np.float32)
    dark, bright = np.quantile(values, [0.2, 0.8], axis=1)
    return np.asarray(np.diff(np.concatenate([values.mean(1), dark, bright]), axis=1), np.float64)


def _straightest(
    steps: NDArray[np.float64], places: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Find the straight line along which steps agree most.

    Parameters
    ----------
    steps : (pieces, tones, columns) array
        NaN where nothing is known.
    places : (pieces,) array
        Of the pieces along the border, in pixels.

    Returns
    -------
    turn : float
        Columns a pixel along the border.
    middle : float
        Column at the mean of `places`.
    strength : float
        By how many deviations it stands out of all lines.
    """
    columns = steps.shape[2]
    turns = np.linspace(-columns / 2, columns / 2, 2 * columns + 1) / max(np.ptp(places), 1.0)
    usual = np.nanstd(steps, axis=(0, 2), keepdims=True)
    scaled = steps / np.maximum(usual, 1e-9)
    known = np.isfinite(scaled).all(axis=1)
    scaled = np.where(known[:, None], scaled, 0)
    scores = np.zeros((len(turns), columns))
    for row, turn in enumerate(turns):
        at = np.rint(np.arange(columns) + turn * (places - places.mean())[:, None]).astype(int)
        inside = (at >= 0) & (at < columns)
        at = at.clip(0, columns - 1)
        inside &= np.take_along_axis(known, at, 1)
        picked = np.take_along_axis(scaled, at[:, None], axis=2) * inside[:, None]
        count = inside.sum(0)
        power = (picked.sum(0) ** 2 / np.maximum(count, 1)).mean(0)
        scores[row] = np.where(count >= 0.7 * len(steps), np.cbrt(power), 0)
    if not scores.any():
        return 0.0, 0.0, 0.0
    centre = np.median(scores[scores > 0])
    spread = 1.4826 * np.median(np.abs(scores[scores > 0] - centre))
    row, column = divmod(int(np.argmax(scores)), columns)
    return float(turns[row]), float(column), float((scores[row, column] - centre) / spread)


def _likeness(piece: Piece) -> NDArray[np.float64]:
    """Give how alike the pixels but one on either side of every step are, mean over bands.

    The nearest ones may be mixed where a seam runs aslant.
    """
    rows = piece.valid.all(axis=1)
    found = np.full(piece.valid.shape[1] - 1, np.nan)
    if rows.sum() >= 16:
        values = piece.pixels[:, rows].astype(np.float64)
        values -= values.mean(1, keepdims=True)
        power = (values**2).mean(1)
        shared = (values[:, :, 3:] * values[:, :, :-3]).mean(1)
        found[1:-1] = (shared / np.sqrt(power[:, 3:] * power[:, :-3] + 1e-9)).mean(0)
    return found

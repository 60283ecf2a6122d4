"""Find the scenes of a mosaic from its pixels alone."""

from typing import Any

import numpy as np
import shapely
import shapely.ops
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from geossda.balance.profiles import Piece, pieces
from geossda.balance.scenes import Scenes
from geossda.balance.seam_search import NARROWEST, SHORTEST, Line, Search, count_tones
from geossda.parallel.ordered_map import ordered_map
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

# Pixels along the longer side that are looked at, along a cell's side, and along that of the
# cells in which seams are placed.
LOOKED_AT, SIDE, FINE = 2048, 16, 8
# Side in pixels of what is read at once.
PIECE = 2048
# More scenes than this are not looked for.
MOST = 64
# From which strength a line is looked at closely for a hard seam.
LOOK = 5.0
# A feathered seam stands out by so many deviations, and so much of its step is there further out,
# the more the surer it is: at roads, shores and edges of towns tones change back. Where fewer
# blocks vote, land can agree by chance. Less is asked of one that runs along a surer one, with
# slopes no further apart than this, since strips lie side by side.
SOFT, LASTING, VOTES = 5.5, 0.67, 42
BESIDE, LASTING_BESIDE, ALONG = 3.6, 0.6, 0.07
# A hard seam steps by so many times what other columns near it do, with neighbours across it as
# alike as they are elsewhere: objects go on where only the light changed.
STEP, STEP_BESIDE, ALIKE = 13.5, 9.5, 0.67
# Pixels along a line that are looked at together, and how many such pieces it takes to judge.
LENGTH, FEWEST = 128, 7
# Directions of a line that are tried at a time.
TURNS = 32
# The least scene, as a share of the cells of the square of the shortest seam.
LEAST = 0.25


def find_scenes(mosaic: Mosaic, *, progress: Progress = SILENT) -> Scenes:
    """Find scenes of unlike radiometry with straight borders, hard or feathered.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    progress : Progress

    Returns
    -------
    Scenes
        With no polygon where there is one scene only.
    """
    height, width = mosaic.shape
    step = max(1, -(-max(height, width) // LOOKED_AT))
    if min(height, width) // step < SIDE * SHORTEST:
        return Scenes(())
    pixels, valid = _looked_at(mosaic, step, progress)
    progress.stage("looking for seams")
    coarse = Search(count_tones(pixels, valid, SIDE), SIDE**2)
    fine = Search(count_tones(pixels, valid, FINE), FINE**2, SIDE // FINE)
    del pixels
    whole = shapely.box(0, 0, width, height)
    todo: list[Any] = [whole]
    done: list[Any] = []
    while todo and len(todo) + len(done) < MOST:
        polygon = todo.pop()
        parts = _parted(mosaic, coarse, fine, polygon, step, soft=polygon is whole)
        if len(parts) == 1:
            done += parts
        else:
            todo += parts
    done += todo
    return Scenes(tuple(done) if len(done) > 1 else ())


def _looked_at(
    mosaic: Mosaic, step: int, progress: Progress
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read the mosaic at reduced resolution, one pixel in the place of `step` squared."""
    height, width = (length // step for length in mosaic.shape)
    small = mosaic.resampled(mosaic.grid[: height * step, : width * step].zoom_out(step))
    # What is read at full resolution for a window must not grow with the mosaic.
    windows = list(tiles((height, width), max(SIDE, PIECE // step)))
    progress.stage("measuring tones", len(windows))
    pixels = np.zeros((mosaic.count, height, width), mosaic.dtype)
    valid = np.zeros((height, width), bool)

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with gdal_environment():
            return small.read(window)

    for window, found in zip(windows, ordered_map(read, windows), strict=True):
        pixels[:, window.rows, window.cols], valid[window.rows, window.cols] = found
        progress.advance()
    return pixels, valid


def _parted(
    mosaic: Mosaic, coarse: Search, fine: Search, polygon: Any, step: int, *, soft: bool
) -> list[Any]:
    """Cut a part along its seams; feathered ones are looked for in the whole mosaic only."""
    side = FINE * step
    least = LEAST * (SHORTEST * SIDE * step) ** 2
    within, exactly = (_within(search, polygon, step) for search in (coarse, fine))
    parts: list[Any] = [polygon]
    taken: list[Any] = []
    kept: list[Line] = []
    for rough in coarse.strongest(within):
        hopeful = soft and _plain(rough, kept)
        if rough.strength < LOOK and not hopeful:
            continue
        line = fine.refined(exactly, rough)
        if line is None:
            continue
        drawn = _drawn(line, side, mosaic.shape)
        crossing = shapely.intersection(drawn, polygon)
        if _halves(polygon, drawn, least) is None:
            continue
        plainness = STEP_BESIDE if _along(line, kept) else STEP
        seam, alike = _hard(mosaic, crossing, drawn, 4 * side, plainness)
        # Lines that cross a seam, or run beside it, see something of it too.
        clear = not (shapely.distance(crossing, taken) < 2 * NARROWEST * SIDE * step).any()
        if seam is None and hopeful and _plain(line, kept) and clear:
            seam = drawn
        if seam is not None and alike:
            taken.append(seam)
            kept.append(line)
            parts = [half for piece in parts for half in _halves(piece, seam, least) or (piece,)]
    return parts


def _plain(line: Line, kept: list[Line]) -> bool:
    """Say whether a line is plainly a feathered seam, beside those already found."""
    wanted = SOFT, max(LASTING, 1 - 2 / line.strength)
    if _along(line, kept):
        wanted = BESIDE, LASTING_BESIDE
    return line.votes >= VOTES and line.strength >= wanted[0] and line.lasting >= wanted[1]


def _along(line: Line, kept: list[Line]) -> bool:
    """Say whether a line has the direction of a seam already found."""
    return any(line.steep == one.steep and abs(line.slope - one.slope) <= ALONG for one in kept)


def _within(search: Search, polygon: Any, step: int) -> NDArray[np.bool_]:
    """Say which cells of a search have their middle in a polygon."""
    rows, cols = search.counts.shape[1:]
    y, x = (np.mgrid[:rows, :cols] + 0.5) * (SIDE * step / search.fine)
    return np.asarray(shapely.contains_xy(polygon, x, y))


def _drawn(line: Line, side: int, shape: tuple[int, int]) -> Any:
    """Give a line in pixels, from beyond one edge of the raster to beyond the other."""
    ends = np.array([-shape[0] - shape[1], 2 * (shape[0] + shape[1])], float)
    others = (line.offset * side) + line.slope * ends
    return shapely.LineString(np.stack([others, ends] if line.steep else [ends, others], 1))


def _halves(polygon: Any, line: Any, least: float) -> list[Any] | None:
    """Cut a convex polygon in two; None if one of them would be smaller than `least`."""
    parts = list(shapely.get_parts(shapely.ops.split(polygon, line)))
    return parts if len(parts) == 2 and min(part.area for part in parts) >= least else None


def _hard(mosaic: Mosaic, crossing: Any, drawn: Any, reach: int, least: float) -> tuple[Any, bool]:
    """Find a hard edge near a line, to the pixel, that stands out by `least` deviations.

    Returns
    -------
    edge : shapely LineString or None
    alike : bool
        Whether the ground goes on across it: else it is a border of land.
    """
    found = pieces(mosaic, crossing, reach, LENGTH, shorten=False)
    found = [piece for piece in found if piece.valid.mean() > 0.5]
    if len(found) < FEWEST:
        return None, True
    start, end = (np.array(drawn.coords[place]) for place in (0, -1))
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    centres = np.array([[piece.cols.mean() + 0.5, piece.rows.mean() + 0.5] for piece in found])
    places = (centres - start) @ along
    steps = np.stack(list(ordered_map(_step, found)))
    turn, middle, strength = _straightest(steps, places)
    if strength < least:
        return None, True
    at = np.rint(middle + turn * (places - places.mean())).astype(int)
    likeness = np.stack([_likeness(piece) for piece in found])
    here = np.nanmean(np.take_along_axis(likeness, at.clip(0, likeness.shape[1] - 1)[:, None], 1))
    alike = bool(1 - here <= (1 - np.nanmedian(likeness)) / ALIKE)
    # Column i is the step between pixels i and i + 1 of a piece.
    near, far = (middle + turn * (place - places.mean()) + 1 - reach for place in (0.0, length))
    return shapely.LineString([start + near * across, end + far * across]), alike


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
    count, tones, columns = steps.shape
    turns = np.linspace(-columns / 2, columns / 2, 2 * columns + 1) / max(np.ptp(places), 1.0)
    usual = np.nanstd(steps, axis=(0, 2), keepdims=True)
    scaled = steps / np.maximum(usual, 1e-9)
    known = np.isfinite(scaled).all(axis=1)
    scaled = np.where(known[:, None], scaled, 0)
    shifts = np.rint(turns[:, None] * (places - places.mean())).astype(int)
    room = int(np.abs(shifts).max())
    # Along a line every piece is read from another column on: views of all of them.
    shifted = sliding_window_view(np.pad(scaled, ((0, 0), (0, 0), (room, room))), columns, axis=2)
    there = sliding_window_view(np.pad(known, ((0, 0), (room, room))), columns, axis=1)

    def score(begins: NDArray[np.intp]) -> NDArray[np.float64]:
        total, votes = np.zeros((tones, len(begins), columns)), np.zeros((len(begins), columns))
        for number, begin in enumerate(begins.T):
            total += shifted[number][:, begin]
            votes += there[number, begin]
        power = (total**2).mean(0) / np.maximum(votes, 1)
        return np.where(votes >= 0.7 * count, np.cbrt(power), 0)

    some = np.array_split(shifts + room, -(-len(turns) // TURNS))
    scores = np.concatenate(list(ordered_map(score, some)))
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

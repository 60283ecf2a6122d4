"""Detection of scenes with straight borders."""

from typing import Any

import numpy as np
import shapely
import shapely.ops
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geossda.balance.profiles import Profile, read_profiles
from geossda.balance.scenes import Scenes
from geossda.balance.seam_search import (
    MIN_SCENE_CELLS,
    MIN_SEAM_CELLS,
    Line,
    SeamSearch,
    count_tones,
)
from geossda.parallel.ordered_map import ordered_map
from geossda.raster.mosaic import Mosaic

# Pixels along the side of a cell, and of the finer cells that seams are placed with.
CELL_PX, _FINE_CELL_PX = 16, 8
# Most scenes that are searched for.
_MAX_SCENES = 64
# Strength from which a line is examined for a hard seam.
_MIN_STRENGTH = 5.0
# A feathered seam has at least this strength in deviations, this share of its step persists
# farther out (more of it the stronger the seam: at roads, shores and edges of towns tones change
# back), and at least this many blocks vote (fewer agree by chance). A seam parallel to a known one,
# whose slope differs by no more than the last figure, needs less, since strips lie side by side.
_FEATHERED_STRENGTH, _FEATHERED_PERSISTENCE, _FEATHERED_VOTES = 5.5, 0.67, 42
_PARALLEL_STRENGTH, _PARALLEL_PERSISTENCE, _PARALLEL_SLOPE = 3.6, 0.6, 0.07
# A hard seam stands out by this many deviations (fewer when parallel to a known one), and the
# correlation across it is no worse than elsewhere by this factor: objects continue where only the
# radiometry changes.
_HARD_STRENGTH, _HARD_PARALLEL_STRENGTH, _CONTINUITY = 13.5, 9.5, 0.67
# Length in pixels of the profiles across a line, fewest profiles of a decision, and fewest valid
# rows of a profile.
_PROFILE_LENGTH_PX, _MIN_PROFILES, _MIN_ROWS = 128, 7, 16
# Directions that are scored at a time.
_BATCH_TURNS = 32
# Smallest scene, as a share of the square of the shortest seam.
_MIN_SCENE_SHARE = 0.25


def find_straight_scenes(
    mosaic: Mosaic, pixels: NDArray[Any], valid: NDArray[np.bool_], step: int
) -> tuple[Scenes, bool]:
    """Detect scenes of different radiometry with straight borders, hard or feathered.

    Parameters
    ----------
    mosaic : Mosaic
        A mosaic of one source.
    pixels : (bands, height, width) array
        Overview of it.
    valid : (height, width) bool array
    step : int
        Side of its pixels in pixels of the mosaic.

    Returns
    -------
    scenes : Scenes
        Without polygons if there is a single scene.
    hard : bool
        Whether all of their borders are hard.
    """
    height, width = mosaic.shape
    coarse = SeamSearch(count_tones(pixels, valid, CELL_PX), CELL_PX**2)
    fine = SeamSearch(
        count_tones(pixels, valid, _FINE_CELL_PX), _FINE_CELL_PX**2, CELL_PX // _FINE_CELL_PX
    )
    whole = shapely.box(0, 0, width, height)
    pending: list[BaseGeometry] = [whole]
    scenes: list[BaseGeometry] = []
    hard = True
    while pending and len(pending) + len(scenes) < _MAX_SCENES:
        polygon = pending.pop()
        parts, sharp = _split(mosaic, coarse, fine, polygon, step, feathered=polygon is whole)
        hard &= sharp
        if len(parts) == 1:
            scenes += parts
        else:
            pending += parts
    scenes += pending
    return Scenes(tuple(scenes) if len(scenes) > 1 else ()), hard


def _split(
    mosaic: Mosaic,
    coarse: SeamSearch,
    fine: SeamSearch,
    polygon: BaseGeometry,
    step: int,
    *,
    feathered: bool,
) -> tuple[list[BaseGeometry], bool]:
    """Split a polygon along its seams, and return whether all of them are hard.

    Feathered ones are detected in the whole mosaic only.
    """
    side = _FINE_CELL_PX * step
    min_area = _MIN_SCENE_SHARE * (MIN_SEAM_CELLS * CELL_PX * step) ** 2
    within, within_fine = (_cells_within(search, polygon, step) for search in (coarse, fine))
    parts: list[BaseGeometry] = [polygon]
    seams: list[shapely.LineString] = []
    lines: list[Line] = []
    hard = True
    for candidate in coarse.strongest(within):
        hopeful = feathered and _is_feathered_seam(candidate, lines)
        if candidate.strength < _MIN_STRENGTH and not hopeful:
            continue
        line = fine.refined(within_fine, candidate)
        if line is None:
            continue
        drawn = _to_pixels(line, side, mosaic.shape)
        crossing = shapely.intersection(drawn, polygon)
        if _halves(polygon, drawn, min_area) is None:
            continue
        min_strength = _HARD_PARALLEL_STRENGTH if _is_parallel(line, lines) else _HARD_STRENGTH
        seam, continuous = _find_hard_seam(mosaic, crossing, drawn, 4 * side, min_strength)
        # Lines that cross a seam, or run beside it, show something of it too.
        spacing = 2 * MIN_SCENE_CELLS * CELL_PX * step
        clear = not (shapely.distance(crossing, seams) < spacing).any()
        if seam is None and hopeful and _is_feathered_seam(line, lines) and clear:
            seam = drawn
            hard = False
        if seam is not None and continuous:
            seams.append(seam)
            lines.append(line)
            parts = [half for part in parts for half in _halves(part, seam, min_area) or (part,)]
    return parts, hard


def _is_feathered_seam(line: Line, known: list[Line]) -> bool:
    """Return whether a line is clearly a feathered seam, given the known seams."""
    strength = _FEATHERED_STRENGTH
    persistence = max(_FEATHERED_PERSISTENCE, 1 - 2 / line.strength)
    if _is_parallel(line, known):
        strength, persistence = _PARALLEL_STRENGTH, _PARALLEL_PERSISTENCE
    return (
        line.votes >= _FEATHERED_VOTES
        and line.strength >= strength
        and line.persistence >= persistence
    )


def _is_parallel(line: Line, known: list[Line]) -> bool:
    """Return whether a line has the direction of a known seam."""
    return any(
        line.steep == seam.steep and abs(line.slope - seam.slope) <= _PARALLEL_SLOPE
        for seam in known
    )


def _cells_within(search: SeamSearch, polygon: BaseGeometry, step: int) -> NDArray[np.bool_]:
    """Return which cells of a search have their centre in a polygon."""
    rows, cols = search.counts.shape[1:]
    y, x = (np.mgrid[:rows, :cols] + 0.5) * (CELL_PX * step / search.fine)
    return np.asarray(shapely.contains_xy(polygon, x, y))


def _to_pixels(line: Line, side: int, shape: tuple[int, int]) -> shapely.LineString:
    """Return a line of cells in pixels, from beyond one edge of the raster to beyond the other."""
    ends = np.array([-shape[0] - shape[1], 2 * (shape[0] + shape[1])], float)
    others = (line.offset * side) + line.slope * ends
    return shapely.LineString(np.stack([others, ends] if line.steep else [ends, others], 1))


def _halves(
    polygon: BaseGeometry, line: shapely.LineString, min_area: float
) -> list[BaseGeometry] | None:
    """Cut a convex polygon in two; return None if a half would be smaller than `min_area`."""
    parts = list(shapely.get_parts(shapely.ops.split(polygon, line)))
    return parts if len(parts) == 2 and min(part.area for part in parts) >= min_area else None


def _find_hard_seam(
    mosaic: Mosaic,
    crossing: BaseGeometry,
    drawn: shapely.LineString,
    reach: int,
    min_strength: float,
) -> tuple[shapely.LineString | None, bool]:
    """Locate a hard seam near a line, to the pixel.

    Parameters
    ----------
    mosaic : Mosaic
    crossing : LineString or MultiLineString
        The part of the line that is examined, in pixels.
    drawn : LineString
        The whole line, in pixels.
    reach : int
        Distance to search on either side, in pixels.
    min_strength : float
        Least strength of the seam, in deviations.

    Returns
    -------
    seam : LineString or None
    continuous : bool
        Whether the ground continues across it; if not, it is a border of land cover.
    """
    profiles = read_profiles(mosaic, crossing, reach, _PROFILE_LENGTH_PX, shorten=False)
    profiles = [profile for profile in profiles if profile.valid.mean() > 0.5]
    if len(profiles) < _MIN_PROFILES:
        return None, True
    start, end = (np.array(drawn.coords[index]) for index in (0, -1))
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    centres = np.array(
        [[profile.cols.mean() + 0.5, profile.rows.mean() + 0.5] for profile in profiles]
    )
    positions = (centres - start) @ along
    steps = np.stack(list(ordered_map(_column_steps, profiles)))
    turn, middle, strength = _straightest(steps, positions)
    if strength < min_strength:
        return None, True
    columns = np.rint(middle + turn * (positions - positions.mean())).astype(int)
    correlation = np.stack([_column_correlation(profile) for profile in profiles])
    columns = columns.clip(0, correlation.shape[1] - 1)
    at_seam = np.nanmean(np.take_along_axis(correlation, columns[:, None], 1))
    continuous = bool(1 - at_seam <= (1 - np.nanmedian(correlation)) / _CONTINUITY)
    # Column i is the step between pixels i and i + 1 of a profile.
    near, far = (middle + turn * (at - positions.mean()) + 1 - reach for at in (0.0, length))
    return shapely.LineString([start + near * across, end + far * across]), continuous


def _column_steps(profile: Profile) -> NDArray[np.float64]:
    """Return the steps of mean, dark and bright values between columns, (tones, columns)."""
    rows = profile.valid.all(axis=1)
    columns = profile.valid.shape[1] - 1
    if rows.sum() < _MIN_ROWS:
        return np.full((3 * len(profile.pixels), columns), np.nan)
    values = profile.pixels[:, rows].astype(np.float32)
    dark, bright = np.quantile(values, [0.2, 0.8], axis=1)
    return np.asarray(np.diff(np.concatenate([values.mean(1), dark, bright]), axis=1), np.float64)


def _straightest(
    steps: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Find the straight line along which steps agree most.

    Parameters
    ----------
    steps : (profiles, tones, columns) array
        NaN where unknown.
    positions : (profiles,) array
        Positions of the profiles along the border, in pixels.

    Returns
    -------
    turn : float
        Columns per pixel along the border.
    middle : float
        Column at the mean position.
    strength : float
        Number of deviations by which the line exceeds the median of all lines.
    """
    count, tones, columns = steps.shape
    turns = np.linspace(-columns / 2, columns / 2, 2 * columns + 1) / max(np.ptp(positions), 1.0)
    deviation = np.nanstd(steps, axis=(0, 2), keepdims=True)
    scaled = steps / np.maximum(deviation, 1e-9)
    known = np.isfinite(scaled).all(axis=1)
    scaled = np.where(known[:, None], scaled, 0)
    shifts = np.rint(turns[:, None] * (positions - positions.mean())).astype(int)
    room = int(np.abs(shifts).max())
    # Along a line, each profile is read from another column on: a view of its padded steps.
    shifted = sliding_window_view(np.pad(scaled, ((0, 0), (0, 0), (room, room))), columns, axis=2)
    counted = sliding_window_view(np.pad(known, ((0, 0), (room, room))), columns, axis=1)

    def score(begins: NDArray[np.intp]) -> NDArray[np.float64]:
        total, votes = np.zeros((tones, len(begins), columns)), np.zeros((len(begins), columns))
        for index, begin in enumerate(begins.T):
            total += shifted[index][:, begin]
            votes += counted[index, begin]
        power = (total**2).mean(0) / np.maximum(votes, 1)
        return np.where(votes >= 0.7 * count, np.cbrt(power), 0)

    batches = np.array_split(shifts + room, -(-len(turns) // _BATCH_TURNS))
    scores = np.concatenate(list(ordered_map(score, batches)))
    if not scores.any():
        return 0.0, 0.0, 0.0
    centre = np.median(scores[scores > 0])
    spread = 1.4826 * np.median(np.abs(scores[scores > 0] - centre))
    row, column = divmod(int(np.argmax(scores)), columns)
    return float(turns[row]), float(column), float((scores[row, column] - centre) / spread)


def _column_correlation(profile: Profile) -> NDArray[np.float64]:
    """Return the correlation of the pixels around each step between columns, mean over bands.

    The pixels nearest to the step are left out: they may be mixed where a seam runs at an angle.
    """
    rows = profile.valid.all(axis=1)
    correlation = np.full(profile.valid.shape[1] - 1, np.nan)
    if rows.sum() >= _MIN_ROWS:
        values = profile.pixels[:, rows].astype(np.float64)
        values -= values.mean(1, keepdims=True)
        power = (values**2).mean(1)
        product = (values[:, :, 3:] * values[:, :, :-3]).mean(1)
        correlation[1:-1] = (product / np.sqrt(power[:, 3:] * power[:, :-3] + 1e-9)).mean(0)
    return correlation

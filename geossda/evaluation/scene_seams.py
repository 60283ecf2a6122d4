"""Steps in colour where the scenes of a mosaic meet, from the scenes' polygons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.evaluation.pair import Pair, Views
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window

# Places looked at along a common border: at most so many.
PLACES = 2000
MIN_PLACES = 8
# Scenes closer than this meet; their outlines are seldom drawn to the pixel.
TOUCH_PX = 1.5
_BLOCK_PX = 512


class Border(NamedTuple):
    """Where two scenes meet.

    Attributes
    ----------
    first, second : int
        Numbers of the scenes.
    places : (n, 2) array
        Points on the border, x and y in pixels.
    across : (n, 2) array
        The way from the first scene into the second there, one pixel long.
    """

    first: int
    second: int
    places: NDArray[np.float64]
    across: NDArray[np.float64]


@dataclass(frozen=True)
class StripStep:
    """The step in colour from a scene to its neighbour.

    Attributes
    ----------
    first, second : int
        Numbers of the scenes, counted from 1 in the file's order.
    places : int
        Places along the border that were measured.
    before, after : (bands,) arrays
        Median of second less first, in digital numbers.
    """

    first: int
    second: int
    places: int
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def borders(scenes: Sequence[Any], spacing_px: float) -> list[Border]:
    """Find where scenes meet, with places along it.

    Where scenes overlap, the first is on top, as in a mosaic.

    Parameters
    ----------
    scenes : sequence of shapely geometry
        In pixels.
    spacing_px : float
        From place to place; more where a border is longer than 2000 of it.
    """
    shown: list[Any] = []
    tree = shapely.STRtree(list(scenes))
    near = [sorted(tree.query(scene, "dwithin", TOUCH_PX).tolist()) for scene in scenes]
    for index, scene in enumerate(scenes):
        above = [scenes[other] for other in near[index] if other < index]
        shown.append(shapely.difference(scene, shapely.union_all(above)) if above else scene)
    found = []
    for index in range(len(scenes)):
        for other in near[index]:
            if other > index:
                border = _border(index, other, shown[index], shown[other], spacing_px)
                if border is not None:
                    found.append(border)
    return found


def _border(first: int, second: int, a: Any, b: Any, spacing_px: float) -> Border | None:
    line = shapely.intersection(shapely.boundary(a), shapely.buffer(b, TOUCH_PX))
    parts = shapely.get_parts(shapely.line_merge(_lines(line)))
    length = float(shapely.length(parts).sum())
    if not len(parts) or length < spacing_px:
        return None
    spacing = max(spacing_px, length / PLACES)
    places, ways = [], []
    for part in parts:
        at = np.arange(spacing / 2, shapely.length(part), spacing)
        ahead, behind = (
            shapely.get_coordinates(shapely.line_interpolate_point(part, np.maximum(at + d, 0)))
            for d in (0.5, -0.5)
        )
        along = ahead - behind
        size = np.hypot(*along.T)
        straight = size > 0.5  # not round a corner
        ways.append((along[:, ::-1] * [1, -1])[straight] / size[straight, None])
        places.append((ahead + behind)[straight] / 2)
    points, across = np.concatenate(places), np.concatenate(ways)
    shapely.prepare([a, b])
    reach = 2 * TOUCH_PX

    def lies(scene: Any, sign: int) -> NDArray[np.bool_]:
        return np.asarray(shapely.contains_xy(scene, *(points + sign * reach * across).T))

    onward, backward = lies(a, -1) & lies(b, 1), lies(a, 1) & lies(b, -1)
    across = np.where(backward[:, None], -across, across)
    kept = onward | backward
    return Border(first, second, points[kept], across[kept]) if kept.any() else None


def _lines(shape: Any) -> Any:
    """Keep the lines of what may be a collection."""
    parts = shapely.get_parts(shapely.get_parts([shape]))
    return shapely.multilinestrings(
        [part for part in parts if part.geom_type in ("LineString", "LinearRing")]
    )


def strip_steps(
    pair: Pair, scenes: Sequence[Any], reach_px: int, *, progress: Progress = SILENT
) -> list[StripStep]:
    """Measure the step from every scene to its neighbours, largest before first.

    At each place the mean of up to `reach_px` pixels on the one side is taken from that on the
    other; the step is the median over places, so that what the ground does there by itself
    counts for little.

    Parameters
    ----------
    pair : Pair
    scenes : sequence of shapely geometry
        In pixels, see :func:`geossda.balance.scenes.read_scenes`.
    reach_px : int
    progress : Progress
    """
    meeting = borders(scenes, reach_px)
    steps = [np.full((2, pair.count, len(border.places)), np.nan) for border in meeting]
    plan = dict(_plan(meeting, reach_px, pair.shape))
    progress.stage("steps between scenes", len(plan))

    def measure(window: Window, views: Views) -> list[tuple[int, Any, Any]]:
        return [
            (index, here, _steps_at(views, window, meeting[index], here, reach_px))
            for index, here in plan[window].items()
        ]

    for parts in pair.over(plan, measure, progress=progress):
        for index, here, found in parts:
            steps[index][..., here] = found
    result = []
    for border, found in zip(meeting, steps, strict=True):
        good = np.isfinite(found).all(axis=(0, 1))
        if good.sum() >= MIN_PLACES:
            before, after = np.median(found[..., good], axis=-1)
            result.append(
                StripStep(border.first + 1, border.second + 1, int(good.sum()), before, after)
            )
    return sorted(result, key=lambda step: -float(np.abs(step.before).mean()))


def _plan(
    meeting: Sequence[Border], reach_px: int, shape: tuple[int, int]
) -> Iterator[tuple[Window, dict[int, NDArray[np.int64]]]]:
    """Give the windows to read, each with the places of borders that lie in it."""
    blocks: dict[tuple[int, int], dict[int, list[int]]] = {}
    for index, border in enumerate(meeting):
        for place, (x, y) in enumerate(np.floor(border.places / _BLOCK_PX).astype(int).tolist()):
            blocks.setdefault((y, x), {}).setdefault(index, []).append(place)
    whole = Window(0, 0, *shape)
    for (y, x), here in sorted(blocks.items()):
        block = Window(y * _BLOCK_PX, x * _BLOCK_PX, _BLOCK_PX, _BLOCK_PX)
        if block.intersection(whole):
            yield block.grown(reach_px + 3, shape), {i: np.array(p) for i, p in here.items()}


def _steps_at(
    views: Views, window: Window, border: Border, here: NDArray[np.int64], reach_px: int
) -> NDArray[np.float64]:
    """Give (2, bands, places): the steps before and after, NaN where too little is valid."""
    # A pixel is left out on either side: outlines are seldom drawn to the pixel.
    offsets = np.arange(reach_px) + 1.5
    sides = []
    for sign in (1, -1):
        points = border.places[here, None] + sign * offsets[:, None] * border.across[here, None]
        cols = np.floor(points[..., 0]).astype(int) - window.col
        rows = np.floor(points[..., 1]).astype(int) - window.row
        inside = (rows >= 0) & (rows < window.height) & (cols >= 0) & (cols < window.width)
        rows, cols = np.where(inside, rows, 0), np.where(inside, cols, 0)
        valid = inside & views.valid[rows, cols]
        count = valid.sum(axis=1)
        total = np.stack(
            [
                np.where(valid, image[:, rows, cols], 0).sum(axis=2, dtype=np.float64)
                for image in (views.before, views.after)
            ]
        )
        sides.append(np.where(count * 2 >= reach_px, total / np.maximum(count, 1), np.nan))
    return np.asarray(sides[0] - sides[1])

"""Colour steps where the scenes of a mosaic meet, measured along the scenes' polygons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.balance.profiles import along_line
from geossda.evaluation.pair import Pair, Views
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window

# Most points that are measured along a common border, and least for a step.
MAX_POINTS, MIN_POINTS = 2000, 8
# Scenes closer than this are neighbours; their outlines are seldom drawn to the pixel.
TOUCH_PX = 1.5
_BLOCK_PX = 512
# Most points of an outline of which is asked whether they lie on a border.
_MAX_TRIED = 100_000


class Border(NamedTuple):
    """The common border of two scenes.

    Attributes
    ----------
    first, second : int
        Indices of the scenes.
    points : (n, 2) array
        Points on the border, x and y in pixels.
    normals : (n, 2) array
        Unit vectors from the first scene into the second at these points, in pixels.
    """

    first: int
    second: int
    points: NDArray[np.float64]
    normals: NDArray[np.float64]


@dataclass(frozen=True)
class SceneStep:
    """The colour step from a scene to its neighbour.

    Attributes
    ----------
    first, second : int
        Numbers of the scenes, from 1 in the file's order.
    places : int
        Number of points along the border that were measured.
    before, after : (bands,) arrays
        Median of second minus first, in digital numbers.
    """

    first: int
    second: int
    places: int
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def scene_borders(scenes: Sequence[shapely.Geometry], spacing_px: float) -> list[Border]:
    """Return the common borders of scenes, with points along them.

    Where scenes overlap, the first is on top, as in a mosaic.

    Parameters
    ----------
    scenes : sequence of shapely geometry
        Outlines in pixels.
    spacing_px : float
        Distance of the points in pixels; of more than 2000 points, that many are left.
    """
    visible: list[shapely.Geometry] = []
    tree = shapely.STRtree(list(scenes))
    near = [sorted(tree.query(scene, "dwithin", TOUCH_PX).tolist()) for scene in scenes]
    for index, scene in enumerate(scenes):
        above = [scenes[other] for other in near[index] if other < index]
        visible.append(shapely.difference(scene, shapely.union_all(above)) if above else scene)
    borders = []
    for index in range(len(scenes)):
        for other in near[index]:
            if other > index:
                border = _border(index, other, visible[index], visible[other], spacing_px)
                if border is not None:
                    borders.append(border)
    return borders


def _border(
    first: int, second: int, a: shapely.Geometry, b: shapely.Geometry, spacing_px: float
) -> Border | None:
    """Return the border of two visible scenes; None if no point of it lies between them."""
    if shapely.is_empty([a, b]).any():
        return None
    # Points of the outline are tried one by one: a zone of distance around b, which they could be
    # cut out by, takes minutes where outlines are tangled.
    box = shapely.bounds(b) + TOUCH_PX * np.array([-1, -1, 1, 1])
    outline = shapely.clip_by_rect(shapely.boundary(a), *box)
    parts = shapely.get_parts(shapely.line_merge(_lines(outline)))
    spacing = max(spacing_px, float(shapely.length(parts).sum()) / _MAX_TRIED)
    points, normals = [np.empty((0, 2))], [np.empty((0, 2))]
    for part in parts:
        at = np.arange(spacing / 2, shapely.length(part), spacing)
        ahead, behind = along_line(part, at + 0.5), along_line(part, at - 0.5)
        along = ahead - behind
        size = np.hypot(*along.T)
        straight = size > 0.5  # not around a corner
        normals.append((along[:, ::-1] * [1, -1])[straight] / size[straight, None])
        points.append((ahead + behind)[straight] / 2)
    at, across = np.concatenate(points), np.concatenate(normals)
    shapely.prepare([a, b])
    near = shapely.dwithin(b, shapely.points(at), TOUCH_PX)
    at, across = at[near], across[near]
    reach = 2 * TOUCH_PX

    def beside(scene: shapely.Geometry, sign: int) -> NDArray[np.bool_]:
        return np.asarray(shapely.contains_xy(scene, *(at + sign * reach * across).T))

    forward, backward = beside(a, -1) & beside(b, 1), beside(a, 1) & beside(b, -1)
    across = np.where(backward[:, None], -across, across)
    kept = np.flatnonzero(forward | backward)
    if len(kept) > MAX_POINTS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_POINTS).astype(int)]
    return Border(first, second, at[kept], across[kept]) if len(kept) else None


def _lines(shape: shapely.Geometry) -> shapely.MultiLineString:
    """Return the lines of a geometry that may be a collection, and of which some may be empty."""
    parts = shapely.get_parts(shapely.get_parts([shape]))
    lines = [part for part in parts if part.geom_type in ("LineString", "LinearRing")]
    return shapely.MultiLineString([line for line in lines if not line.is_empty])


def scene_steps(
    pair: Pair, scenes: Sequence[shapely.Geometry], reach_px: int, *, progress: Progress = SILENT
) -> list[SceneStep]:
    """Measure the step from each scene to its neighbours, in descending order of that before.

    At each point the mean of up to `reach_px` pixels on one side is subtracted from that on the
    other; the step is the median over points, which is robust to steps of the ground.

    Parameters
    ----------
    pair : Pair
    scenes : sequence of shapely geometry
        Outlines in pixels, see :func:`geossda.balance.scenes.read_scenes`.
    reach_px : int
        Pixels on either side of a border.
    progress : Progress

    Returns
    -------
    list of SceneStep
    """
    borders = scene_borders(scenes, reach_px)
    steps = [np.full((2, pair.count, len(border.points)), np.nan) for border in borders]
    plan = dict(_plan(borders, reach_px, pair.shape))
    progress.stage("measuring scene borders", len(plan))

    def measure(window: Window, views: Views) -> list[tuple[int, Any, Any]]:
        return [
            (index, chosen, _steps_at(views, window, borders[index], chosen, reach_px))
            for index, chosen in plan[window].items()
        ]

    for measured in pair.over(plan, measure, progress=progress):
        for index, chosen, values in measured:
            steps[index][..., chosen] = values
    result = []
    for border, values in zip(borders, steps, strict=True):
        good = np.isfinite(values).all(axis=(0, 1))
        if good.sum() >= MIN_POINTS:
            before, after = np.median(values[..., good], axis=-1)
            result.append(
                SceneStep(border.first + 1, border.second + 1, int(good.sum()), before, after)
            )
    return sorted(result, key=lambda step: -float(np.abs(step.before).mean()))


def _plan(
    borders: Sequence[Border], reach_px: int, shape: tuple[int, int]
) -> Iterator[tuple[Window, dict[int, NDArray[np.int64]]]]:
    """Yield the windows to read, each with the indices of the border points in it."""
    blocks: dict[tuple[int, int], dict[int, list[int]]] = {}
    for index, border in enumerate(borders):
        for point, (x, y) in enumerate(np.floor(border.points / _BLOCK_PX).astype(int).tolist()):
            blocks.setdefault((y, x), {}).setdefault(index, []).append(point)
    whole = Window(0, 0, *shape)
    for (y, x), points in sorted(blocks.items()):
        block = Window(y * _BLOCK_PX, x * _BLOCK_PX, _BLOCK_PX, _BLOCK_PX)
        if block.intersection(whole):
            yield block.grown(reach_px + 3, shape), {i: np.array(p) for i, p in points.items()}


def _steps_at(
    views: Views, window: Window, border: Border, chosen: NDArray[np.int64], reach_px: int
) -> NDArray[np.float64]:
    """Return (2, bands, points) steps before and after, NaN where too few pixels are valid."""
    # A pixel on either side is left out: outlines are seldom drawn to the pixel.
    offsets = np.arange(reach_px) + 1.5
    sides = []
    for sign in (1, -1):
        shift = sign * offsets[:, None] * border.normals[chosen, None]
        points = border.points[chosen, None] + shift
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

"""Footprints of a raster of any size, block by block, exactly those of the whole raster.

Blocks are read once, in threads. Each gives its parts (4-connected pixels), the corners of their
outlines strictly inside it, and the labels of its rim; what lies on the lines between blocks is
found from the rims. Parts that touch across a line are joined (union-find), and a part that no
longer reaches the last row read is walked and given away.
"""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, tiles
from geossda.vector.tracing import Corners, build_polygons, find_corners

# Probabilities are summed as whole numbers of this unit, so that sums do not depend on the order.
_UNIT = 2.0**-24
T = TypeVar("T")
R = TypeVar("R")


class Marks(NamedTuple):
    """What is read of a window.

    Attributes
    ----------
    inside : (height, width) bool array
        Pixels that belong to a building.
    probability : (height, width) float32 array or None
        Where there is one, in 0..1.
    """

    inside: NDArray[np.bool_]
    probability: NDArray[np.float32] | None = None


class Tally(NamedTuple):
    """What is counted of each part: pixels, and the sum and extremes of their probabilities."""

    pixels: NDArray[np.int64]
    units: NDArray[np.int64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int) -> "Tally":
        """Begin to count `count` parts."""
        none = np.zeros(count, np.int64)
        low = np.full(count, np.inf, np.float32)
        return cls(none, none.copy(), low, -low)

    @classmethod
    def of(cls, group: NDArray[np.int64], count: int, *values: NDArray[Any]) -> "Tally":
        """Gather values by group: pixels, units, lowest and highest."""
        made = cls.empty(count)
        np.add.at(made.pixels, group, values[0])
        np.add.at(made.units, group, values[1])
        np.minimum.at(made.lowest, group, values[2])
        np.maximum.at(made.highest, group, values[3])
        return made

    def take(self, chosen: NDArray[np.generic]) -> "Tally":
        """Choose some by index or mask."""
        return Tally(*(column[chosen] for column in self))


class Parts(NamedTuple):
    """Footprints in pixels of the whole raster (x right, y down).

    Attributes
    ----------
    shapes : (n,) array of shapely.Polygon
        Outlines along pixel edges, holes kept.
    pixels : (n,) int array
    confidence, lowest, highest : (n,) float arrays
        Mean and extremes of the pixels' probabilities; NaN without any.
    """

    shapes: NDArray[np.object_]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    def take(self, chosen: NDArray[np.generic]) -> "Parts":
        """Choose some by index or mask."""
        return Parts(*(column[chosen] for column in self))

    def followed_by(self, more: "Parts") -> "Parts":
        """Put `more` behind."""
        pairs: Any = zip(self, more, strict=True)
        return Parts(*(np.concatenate(pair) for pair in pairs))


class Open(NamedTuple):
    """The parts that are not whole yet.

    Attributes
    ----------
    row : int
        The line below the last row read; past it anything can come. Infinite after the last.
    boxes : (n, 4) float array
        Their bounding boxes so far: left, top, right, bottom.
    """

    row: float
    boxes: NDArray[np.float64]


class _Block(NamedTuple):
    """Parts of one block, numbered from 1, their corners, and the labels of its rim."""

    corners: Corners
    tally: Tally
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


def polygonize(
    read: Callable[[Window], Marks],
    shape: tuple[int, int],
    *,
    connectivity: int = 4,
    block: int = 1024,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Iterator[tuple[Parts, Open]]:
    """Turn a raster into footprints, strip by strip of blocks.

    Neither their outlines nor their order depend on `block` or `workers`: they come in the order
    of their last row, then of their upper left corner. Memory follows the parts that are open.

    Parameters
    ----------
    read : callable
        Gives the marks of a window; called from threads.
    shape : (int, int)
        Height and width of the raster.
    connectivity : {4, 8}
        With 8 pixels that touch at a corner belong together; as no polygon may hang on a point,
        shapes are MultiPolygons then.
    block : int
        Side of a block in pixels.
    workers : int, optional
        Threads that read and trace; all cores by default.
    progress : Progress
        Advanced by one a block.

    Yields
    ------
    (Parts, Open)
        Those that ended in a strip, maybe none, and what is known of those that did not.
    """
    height, width = shape
    tops, lefts = range(0, height, block), range(0, width, block)
    progress.stage("polygonizing", len(tops) * len(lefts))
    join = _Join(width, lefts, connectivity)
    workers = workers or os.cpu_count() or 1
    blocks = _mapped(lambda window: _block(read, window), tiles(shape, block), workers)

    def strips() -> Iterator[tuple[_Ended, Open]]:
        for row in tops:
            strip = []
            for _ in lefts:
                strip.append(next(blocks))
                progress.advance()
            last = row == tops[-1]
            ended = join.add(strip, row, last=last)
            yield ended, join.still_open(np.inf if last else row + block)

    # Walking the outlines of a strip goes on beside reading the next.
    yield from _mapped(lambda told: (_finished(told[0]), told[1]), strips(), workers)


def _mapped(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Apply a function in order; with more than one worker in threads, a few ahead."""
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: collections.deque[Future[R]] = collections.deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _block(read: Callable[[Window], Marks], window: Window) -> _Block:
    """Label one block and find the corners strictly inside it."""
    inside, probability = read(window)
    count, found, told, _ = cv2.connectedComponentsWithStats(
        inside.view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    labels = np.asarray(found)
    pixels = np.asarray(told)[:, cv2.CC_STAT_AREA].astype(np.int64)
    pixels[0] = 0
    tally = Tally.empty(count)._replace(pixels=pixels)
    if probability is not None:
        where = np.flatnonzero(inside)
        part = labels.ravel()[where]
        values = probability.ravel()[where]
        units = np.rint(values * np.float64(1 / _UNIT)).astype(np.int64)
        tally = Tally.of(part, count, np.ones(1, np.int64), units, values, values)
    rim = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return _Block(
        find_corners(labels, window.row + 1, window.col + 1),
        tally,
        *(line.astype(np.int64) for line in rim),
    )


class _Ended(NamedTuple):
    """Parts that are whole: all their corners, their tally, and the family each is of, if any."""

    corners: Corners
    tally: Tally
    family: NDArray[np.int64] | None


class _Join:
    """The parts that reach the last row read, and what is known of them so far."""

    def __init__(self, width: int, lefts: range, connectivity: int) -> None:
        self._width = width
        self._diagonal = connectivity == 8
        self._lefts = lefts
        self._corners = Corners.joined([])
        self._tally = Tally.empty(1)
        self._above = np.zeros(width, np.int64)

    def add(self, blocks: list[_Block], row: int, *, last: bool) -> _Ended:
        """Take the next strip of blocks, whose first row is `row`; give the parts that ended."""
        # Open parts and the new ones get one numbering; 0 stays outside.
        sizes = [len(self._tally.pixels), *(len(block.tally.pixels) - 1 for block in blocks)]
        shift = np.cumsum(sizes)[:-1] - 1
        count = sum(sizes)

        def renumber(label: NDArray[np.int64], index: int) -> NDArray[np.int64]:
            return np.where(label > 0, label + shift[index], 0)

        each = range(len(blocks))
        top = np.concatenate([renumber(blocks[i].top, i) for i in each])
        bottom = np.concatenate([renumber(blocks[i].bottom, i) for i in each])
        lefts = [renumber(blocks[i].left, i) for i in each]
        rights = [renumber(blocks[i].right, i) for i in each]
        outside = np.zeros(len(lefts[0]), np.int64)
        corners = [self._corners]
        corners += [
            block.corners._replace(part=renumber(block.corners.part, i))
            for i, block in enumerate(blocks)
        ]
        seam = np.stack([self._above, top])
        pairs = [seam]
        corners.append(find_corners(np.pad(seam, ((0, 0), (1, 1))), row, 0))
        for col, *sides in zip(
            [*self._lefts, self._width], [outside, *rights], [*lefts, outside], strict=True
        ):
            seam = np.stack(sides)
            pairs.append(seam)
            corners.append(find_corners(seam.T, row + 1, col))
        if last:
            under = np.pad(np.stack([bottom, np.zeros_like(bottom)]), ((0, 0), (1, 1)))
            corners.append(find_corners(under, row + len(outside), 0))
        touching = np.concatenate(pairs, axis=1)
        groups, group = _united(touching[:, (touching > 0).all(axis=0)], count)
        tally = Tally.of(
            group,
            groups,
            *(
                np.concatenate([mine, *(piece[1:] for piece in theirs)])
                for mine, *theirs in zip(
                    self._tally, *(block.tally for block in blocks), strict=True
                )
            ),
        )
        every = Corners.joined(corners)
        every = every._replace(part=group[every.part])
        family = np.arange(groups)
        if self._diagonal:
            _, family = _united(_diagonals(every), groups)
        is_open = np.zeros(groups, bool)
        is_open[family[0]] = True  # the outside, so that it keeps number 0
        if not last:
            is_open[family[group[bottom]]] = True
        is_open = is_open[family]
        # The outside is the lowest of the open ones, being the first node.
        number = np.cumsum(is_open) - 1
        stays = is_open[every.part]
        self._corners = every.take(stays)
        self._corners = self._corners._replace(part=number[self._corners.part])
        self._above = np.where(bottom > 0, number[group[bottom]], 0)
        self._tally = tally.take(is_open)
        return _Ended(every.take(~stays), tally, family if self._diagonal else None)

    def still_open(self, row: float) -> Open:
        """Give the boxes of the parts that reach line `row`."""
        boxes = np.full((len(self._tally.pixels), 4), np.inf)
        x, y = self._corners.col.astype(float), self._corners.row.astype(float)
        for place, value in enumerate((x, y, -x, -y)):
            np.minimum.at(boxes[:, place], self._corners.part, value)
        boxes[:, 2:] *= -1
        boxes[:, 3] = row
        return Open(row, boxes[1:])


def _united(pairs: NDArray[np.int64], count: int) -> tuple[int, NDArray[np.int64]]:
    """Say into how many groups (2, n) `pairs` of 0..count fall, and each number's group."""
    links = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), (count, count))
    groups, group = connected_components(links, directed=False)
    return int(groups), np.asarray(group, np.int64)


def _diagonals(corners: Corners) -> NDArray[np.int64]:
    """Give (2, n) pairs of parts that touch at a point: there each has a corner."""
    order = np.lexsort((corners.col, corners.row))
    row, col, part = corners.row[order], corners.col[order], corners.part[order]
    here = np.flatnonzero((row[1:] == row[:-1]) & (col[1:] == col[:-1]))
    return np.stack([part[here], part[here + 1]])


def _finished(ended: _Ended) -> Parts:
    """Walk the parts that ended, put families of them together, and put all in order."""
    corners, tally, family = ended
    found = build_polygons(corners)
    shapes, bottom, top, left = found.shapes, found.bottom, found.top, found.left
    mine = tally.take(found.part)
    if family is not None and len(shapes):
        # By family, its upper left part first.
        order = np.lexsort((left, top, family[found.part]))
        members = family[found.part][order]
        begins = np.flatnonzero(np.concatenate([[True], members[1:] != members[:-1]]))
        member = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(members))))
        shapes = np.asarray(shapely.multipolygons(shapes[order], indices=member), object)
        bottom = np.maximum.reduceat(bottom[order], begins)
        top, left = top[order][begins], left[order][begins]
        mine = Tally.of(member, len(begins), *mine.take(order))
    order = np.lexsort((left, top, bottom))
    mine = mine.take(order)
    known = np.where(np.isfinite(mine.lowest), np.float32(1), np.float32(np.nan))
    mean = mine.units * _UNIT / mine.pixels
    with np.errstate(invalid="ignore"):  # infinite, where there are no probabilities
        return Parts(
            shapes[order],
            mine.pixels,
            mean * known,
            mine.lowest * known,
            mine.highest * known,
        )

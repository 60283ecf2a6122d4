"""Connected components of a raster, labelled block by block and joined across the blocks."""

import math
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.footprints.components import (
    ClosedComponents,
    ProbabilityStats,
    footprints_of,
)
from geossda.footprints.records import BuildingWindow, Footprints, OpenComponents
from geossda.footprints.tracing import Corners, find_corners
from geossda.raster.windows import Window


class LabelledBlock(NamedTuple):
    """Connected components of one block.

    Attributes
    ----------
    corners : Corners
        Outline corners strictly inside the block, of the components that reach its border; these
        are labelled from 1.
    stats : ProbabilityStats
        Statistics of these components by label; entry 0 is the background.
    top, bottom, left, right : int64 arrays
        Labels of the pixels along the block's border, 0 for background.
    complete : Footprints
        Components that do not reach the border, in pixels of the raster.
    """

    corners: Corners
    stats: ProbabilityStats
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    complete: Footprints


def label_block(
    read: Callable[[Window], BuildingWindow], window: Window, *, diagonal: bool
) -> LabelledBlock:
    """Read a block and label its connected components.

    Parameters
    ----------
    read : callable
        Returns the building pixels of a window.
    window : Window
        The block, in pixels of the raster.
    diagonal : bool
        Whether components that touch at a corner belong together (8-connectivity); no component
        is complete within its block then.

    Returns
    -------
    LabelledBlock
    """
    inside, probability = read(window)
    # connectedComponentsWithStats counts pixels too, but takes four times as long; the corners
    # give the count.
    labels = _label_array(inside.shape)
    count, _ = cv2.connectedComponents(
        inside.view(np.uint8), labels, connectivity=4, ltype=cv2.CV_32S
    )
    stats = ProbabilityStats.empty(count)
    if probability is not None:
        where = np.flatnonzero(inside)
        stats = ProbabilityStats.of_pixels(labels.ravel()[where], count, probability.ravel()[where])
    corners = find_corners(labels, window.row + 1, window.col + 1, inside)
    border = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    is_open = np.full(count, diagonal)
    for line in border:
        is_open[line] = True
    is_open[0] = True  # the background keeps label 0
    new_label = np.where(is_open, np.cumsum(is_open) - 1, 0)
    of_open = is_open[corners.label]
    open_corners = corners.take(of_open)
    top, bottom, left, right = (new_label[line] for line in border)
    return LabelledBlock(
        open_corners._replace(label=new_label[open_corners.label]),
        stats.take(is_open),
        top,
        bottom,
        left,
        right,
        footprints_of(ClosedComponents(corners.take(~of_open), stats, None)),
    )


_scratch = threading.local()


def _label_array(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the calling thread's reusable label array: allocating in many threads serializes."""
    size = math.prod(shape)
    if len(getattr(_scratch, "labels", ())) < size:
        _scratch.labels = np.empty(size, np.int32)
    labels: NDArray[np.int32] = _scratch.labels[:size].reshape(shape)
    return labels


class ComponentJoiner:
    """Joins the components of neighbouring blocks, strip by strip from the top.

    Between two strips it holds the components that reach the last row read.

    Parameters
    ----------
    width : int
        Width of the raster in pixels.
    lefts : range
        First column of each block of a strip.
    diagonal : bool
        Whether components that touch at a corner belong together (8-connectivity).
    """

    def __init__(self, width: int, lefts: range, *, diagonal: bool) -> None:
        self._width = width
        self._diagonal = diagonal
        self._lefts = lefts
        self._corners = Corners.concatenate([])
        self._stats = ProbabilityStats.empty(1)
        self._row_above = np.zeros(width, np.int64)

    def add(self, blocks: Sequence[LabelledBlock], row: int, *, last: bool) -> ClosedComponents:
        """Join the next strip of blocks to the open components.

        Parameters
        ----------
        blocks : sequence of LabelledBlock
            The strip's blocks from left to right.
        row : int
            First row of the strip.
        last : bool
            Whether no strip follows.

        Returns
        -------
        ClosedComponents
            The components that do not reach the strip's last row.
        """
        # Open components and those of the blocks get one numbering; 0 stays the background.
        sizes = [len(self._stats.units), *(len(block.stats.units) - 1 for block in blocks)]
        shift = np.cumsum(sizes)[:-1] - 1
        count = sum(sizes)

        def renumber(label: NDArray[np.int64], index: int) -> NDArray[np.int64]:
            return np.where(label > 0, label + shift[index], 0)

        indices = range(len(blocks))
        top = np.concatenate([renumber(blocks[i].top, i) for i in indices])
        bottom = np.concatenate([renumber(blocks[i].bottom, i) for i in indices])
        lefts = [renumber(blocks[i].left, i) for i in indices]
        rights = [renumber(blocks[i].right, i) for i in indices]
        background = np.zeros(len(lefts[0]), np.int64)
        pieces = [self._corners]
        pieces += [
            block.corners._replace(label=renumber(block.corners.label, i))
            for i, block in enumerate(blocks)
        ]
        # Corners on the lines between blocks follow from the labels on both sides of the line.
        line = np.stack([self._row_above, top])
        pairs = [line]
        pieces.append(find_corners(np.pad(line, ((0, 0), (1, 1))), row, 0))
        for col, *sides in zip(
            [*self._lefts, self._width], [background, *rights], [*lefts, background], strict=True
        ):
            line = np.stack(sides)
            pairs.append(line)
            pieces.append(find_corners(line.T, row + 1, col))
        if last:
            under = np.pad(np.stack([bottom, np.zeros_like(bottom)]), ((0, 0), (1, 1)))
            pieces.append(find_corners(under, row + len(background), 0))
        touching = np.concatenate(pairs, axis=1)
        groups, group = connected_groups(touching[:, (touching > 0).all(axis=0)], count)
        columns = zip(self._stats, *(block.stats for block in blocks), strict=True)
        stats = ProbabilityStats(
            *(np.concatenate([own, *(column[1:] for column in others)]) for own, *others in columns)
        ).grouped(group, groups)
        corners = Corners.concatenate(pieces)
        corners = corners._replace(label=group[corners.label])
        family = np.arange(groups)
        if self._diagonal:
            _, family = connected_groups(_diagonal_neighbours(corners), groups)
        is_open = np.zeros(groups, bool)
        is_open[family[0]] = True  # the background keeps label 0
        if not last:
            is_open[family[group[bottom]]] = True
        is_open = is_open[family]
        # The background is the lowest of the open ones, because its label is 0.
        new_label = np.cumsum(is_open) - 1
        of_open = is_open[corners.label]
        self._corners = corners.take(of_open)
        self._corners = self._corners._replace(label=new_label[self._corners.label])
        self._row_above = np.where(bottom > 0, new_label[group[bottom]], 0)
        self._stats = stats.take(is_open)
        return ClosedComponents(corners.take(~of_open), stats, family if self._diagonal else None)

    def open_components(self, row: float) -> OpenComponents:
        """Return the bounding boxes of the components that reach line `row`."""
        boxes = np.full((len(self._stats.units), 4), np.inf)
        x, y = self._corners.col.astype(float), self._corners.row.astype(float)
        for side, value in enumerate((x, y, -x, -y)):
            np.minimum.at(boxes[:, side], self._corners.label, value)
        boxes[:, 2:] *= -1
        boxes[:, 3] = row
        return OpenComponents(row, boxes[1:])


def connected_groups(pairs: NDArray[np.int64], count: int) -> tuple[int, NDArray[np.int64]]:
    """Return the connected components of a graph (union-find).

    Each root is attached to its lowest neighbour until no pair has two roots (Shiloach and Vishkin
    1982).

    Parameters
    ----------
    pairs : (2, n) int array
        Edges between the nodes 0 to `count` - 1.
    count : int
        Number of nodes.

    Returns
    -------
    groups : int
        Number of components.
    group : (count,) int64 array
        Component of each node; components are numbered in the order of their lowest nodes.
    """
    root = np.arange(count)
    one, other = pairs
    while len(one):
        np.minimum.at(root, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(higher := root[root], root):
            root = higher
        one, other = root[one], root[other]
        apart = one != other
        one, other = one[apart], other[apart]
    roots, group = np.unique(root, return_inverse=True)
    return len(roots), group


def _diagonal_neighbours(corners: Corners) -> NDArray[np.int64]:
    """Return (2, n) labels of components that touch at a point, where each has a corner."""
    order = np.lexsort((corners.col, corners.row))
    row, col, label = corners.row[order], corners.col[order], corners.label[order]
    same = np.flatnonzero((row[1:] == row[:-1]) & (col[1:] == col[:-1]))
    return np.stack([label[same], label[same + 1]])

"""Parts that blocks have in common are joined; those that reach no further are given away."""

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.blocks import Block
from geossda.footprints.components import Ended, ProbabilityStats
from geossda.footprints.records import OpenComponents
from geossda.footprints.tracing import Corners, find_corners


class Join:
    """The parts that reach the last row read, and what is known of them so far.

    Parameters
    ----------
    width : int
        Of the raster.
    lefts : range
        Where blocks begin.
    diagonal : bool
        Parts that touch at a point belong together.
    """

    def __init__(self, width: int, lefts: range, *, diagonal: bool) -> None:
        self._width = width
        self._diagonal = diagonal
        self._lefts = lefts
        self._corners = Corners.joined([])
        self._tally = ProbabilityStats.empty(1)
        self._above = np.zeros(width, np.int64)

    def add(self, blocks: list[Block], row: int, *, last: bool) -> Ended:
        """Take the next strip of blocks, whose first row is `row`; give the parts that ended."""
        # Open parts and the new ones get one numbering; 0 stays outside.
        sizes = [len(self._tally.units), *(len(block.tally.units) - 1 for block in blocks)]
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
        # What lies on the lines between blocks is found from their rims.
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
        groups, group = united(touching[:, (touching > 0).all(axis=0)], count)
        columns = zip(self._tally, *(block.tally for block in blocks), strict=True)
        tally = ProbabilityStats(
            *(np.concatenate([mine, *(piece[1:] for piece in theirs)]) for mine, *theirs in columns)
        ).grouped(group, groups)
        every = Corners.joined(corners)
        every = every._replace(part=group[every.part])
        family = np.arange(groups)
        if self._diagonal:
            _, family = united(_diagonals(every), groups)
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
        return Ended(every.take(~stays), tally, family if self._diagonal else None)

    def still_open(self, row: float) -> OpenComponents:
        """Give the boxes of the parts that reach line `row`."""
        boxes = np.full((len(self._tally.units), 4), np.inf)
        x, y = self._corners.col.astype(float), self._corners.row.astype(float)
        for place, value in enumerate((x, y, -x, -y)):
            np.minimum.at(boxes[:, place], self._corners.part, value)
        boxes[:, 2:] *= -1
        boxes[:, 3] = row
        return OpenComponents(row, boxes[1:])


def united(pairs: NDArray[np.int64], count: int) -> tuple[int, NDArray[np.int64]]:
    """Say into how many groups (2, n) `pairs` of 0..count fall, and each number's group.

    Groups are numbered by their lowest members. Each root goes under its lowest neighbour, until
    no pair has two roots (Shiloach and Vishkin 1982).
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


def _diagonals(corners: Corners) -> NDArray[np.int64]:
    """Give (2, n) pairs of parts that touch at a point: there each has a corner."""
    order = np.lexsort((corners.col, corners.row))
    row, col, part = corners.row[order], corners.col[order], corners.part[order]
    here = np.flatnonzero((row[1:] == row[:-1]) & (col[1:] == col[:-1]))
    return np.stack([part[here], part[here + 1]])

"""Outlines of labelled pixels, traced through their corners.

An outline along pixel edges is told by its corners alone. On each line between two rows a part's
corners pair up, first with second, third with fourth, and so they do between columns; going from
partner to partner walks the rings. Whether a corner is there is told by the four pixels around
it, so corners found block by block are those of the whole raster, and so are the rings.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Outlines

# How an outline leaves a corner along its row and its column, and whether the part is around it.
_RIGHT, _DOWN, _CONCAVE = np.uint8(1), np.uint8(2), np.uint8(4)


class Corners(NamedTuple):
    """Corners of outlines, in any order.

    Attributes
    ----------
    row, col : (n,) int arrays
        The line between pixels each lies on, counted from the raster's upper left corner.
    flags : (n,) uint8 array
    part : (n,) int array
        The label of the pixels they belong to.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    flags: NDArray[np.uint8]
    part: NDArray[np.int64]

    @classmethod
    def joined(cls, pieces: "list[Corners]") -> "Corners":
        """Put several together."""
        if not pieces:
            none = np.zeros(0, np.int64)
            return cls(none, none, np.zeros(0, np.uint8), none)
        return cls(*(np.concatenate(column) for column in zip(*pieces, strict=True)))

    def take(self, chosen: NDArray[Any]) -> "Corners":
        """Choose some by index or mask."""
        return Corners(*(column[chosen] for column in self))


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Say of each pattern of four pixels (bits: upper left, upper right, lower left, lower right)
    which corners it has, by their flags, and whose they are; two opposite pixels have two.
    """  # noqa: D205
    flags = np.zeros((2, 16), np.uint8)
    owner = np.zeros((2, 16), np.int8)
    for code in range(16):
        inside = [q for q in range(4) if code >> q & 1]
        outside = [q for q in range(4) if q not in inside]
        found: list[tuple[int, int, int]] = []
        if len(inside) == 1 or inside in ([0, 3], [1, 2]):
            found = [(q, q, 0) for q in inside]
        elif len(inside) == 3:
            found = [(outside[0], 3 - outside[0], int(_CONCAVE))]
        for place, (quadrant, whose, concave) in enumerate(found):
            flags[place, code] = (quadrant & 1) * _RIGHT + (quadrant >> 1) * _DOWN + concave
            owner[place, code] = whose
    return flags, owner


_FLAGS, _OWNER = _tables()


def find_corners(
    labels: NDArray[Any], row: int, col: int, inside: NDArray[np.bool_] | None = None
) -> Corners:
    """Find the corners strictly inside an array of labels.

    Parameters
    ----------
    labels : (height, width) int array
        0 is outside; pixels that share an edge and are inside share a label.
    row, col : int
        Of the first corner looked at, the lower right one of the first pixel.
    inside : (height, width) bool array, optional
        Where labels are not 0, if that is known.
    """
    inside = (labels > 0) if inside is None else inside
    # A few passes over bits find the few points where an edge between columns begins or ends, or
    # four edges meet; only those are looked at one by one.
    left, right = np.packbits(inside[:, :-1], axis=1), np.packbits(inside[:, 1:], axis=1)
    upright = left ^ right
    turns = upright[1:] ^ upright[:-1]
    turns |= upright[1:] & upright[:-1] & (right[1:] ^ right[:-1])
    some = np.flatnonzero(turns != 0)
    place = np.flatnonzero(np.unpackbits(turns.ravel()[some]).view(np.bool_))
    down, byte = np.divmod(some[place >> 3], turns.shape[1])
    right = 8 * byte + (place & 7)
    width = inside.shape[1]
    marks, numbers = inside.view(np.uint8).ravel(), labels.ravel()
    pixel, around = down * width + right, np.array([0, 1, width, width + 1])
    codes = marks.take(pixel)
    for bit, step in enumerate(around[1:], 1):
        codes |= marks.take(pixel + step) << bit
    pieces = []
    for which in (0, 1):
        if which:  # patterns of two opposite pixels
            two = np.flatnonzero((codes == 6) | (codes == 9))
            codes, down, right, pixel = codes[two], down[two], right[two], pixel[two]
        part = numbers.take(pixel + around.take(_OWNER[which].take(codes))).astype(np.int64)
        pieces.append(Corners(down + row, right + col, _FLAGS[which].take(codes), part))
    return Corners.joined(pieces)


class Found(NamedTuple):
    """Outlines of whole parts.

    Attributes
    ----------
    outlines : Outlines
        In pixels, valid, holes kept. Rings begin at their upper left corner and have no point on
        a straight.
    part : (n,) int array
        Their labels, ascending.
    pixels : (n,) int array
    """

    outlines: Outlines
    part: NDArray[np.int64]
    pixels: NDArray[np.int64]


def build_polygons(corners: Corners) -> Found:
    """Walk the rings of whole parts.

    Parameters
    ----------
    corners : Corners
        All of each part (4-connected pixels).

    """
    if not len(corners.row):
        none = np.zeros(0, np.int64)
        return Found(Outlines.none(), none, none)
    goes_right = (corners.flags & _RIGHT).astype(bool)
    order = _order(corners.part, corners.row, corners.col, goes_right)
    row, col, flags, part = corners.take(order)
    flags = flags.copy()
    # Where a part touches itself at a point, a ring would pass there twice, which is no valid
    # polygon: taking the other turn makes two rings of it that touch.
    same = (part[1:] == part[:-1]) & (row[1:] == row[:-1]) & (col[1:] == col[:-1])
    here = np.flatnonzero(same)
    flags[here] ^= _DOWN | _CONCAVE
    flags[here + 1] ^= _DOWN | _CONCAVE
    count = len(row)
    goes_down = (flags & _DOWN).astype(bool)
    beside = np.arange(count) ^ 1
    upright = _order(part, col, row, goes_down)
    across = np.empty(count, np.int64)
    across[upright] = upright.take(beside)
    # With the part on the right hand: outer rings go clockwise on the screen, holes against it.
    level = (flags & _RIGHT > 0) == goes_down
    falling = level ^ (flags & _CONCAVE > 0)
    order, length = _walk(np.where(falling, beside, across))
    first = np.cumsum(length) - length
    # Each ring ends where it began.
    points = np.insert(order, first + length, order[first])
    ends = np.cumsum(length + 1)
    owner = part[order[first]]
    outer = np.concatenate([[True], owner[1:] != owner[:-1]])
    begins = np.flatnonzero(outer)
    starts = np.flatnonzero(np.concatenate([[True], part[1:] != part[:-1]]))
    stops = np.append(starts[1:], count) - 1
    box = [col[upright[starts]], row[starts], col[upright[stops]], row[stops]]
    outlines = Outlines(
        np.column_stack([col.astype(np.int32).take(points), row.astype(np.int32).take(points)]),
        ends - length - 1, ends, outer,
        begins, np.append(begins[1:], len(owner)), np.column_stack(box),
    )  # fmt: skip
    # By Green's theorem, a corner adds or takes away the rectangle from the origin to it.
    pixels = np.add.reduceat(np.where(falling, row * col, -row * col), starts)
    return Found(outlines, part[starts], pixels)


def _order(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Sort by whole numbers, the first before the others; no two are alike in all."""
    low = [int(key.min()) for key in keys]
    spans = [int(key.max()) - least + 1 for key, least in zip(keys, low, strict=True)]
    if math.prod(spans) >= 2**63:
        return np.lexsort(keys[::-1])
    # Put into one number they are sorted several times as fast.
    joint = np.zeros(len(keys[0]), np.int64)
    for key, least, span in zip(keys, low, spans, strict=True):
        joint *= span
        joint += key
        joint -= least
    return np.argsort(joint)


def _walk(follower: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Put the elements of a permutation in the order of its cycles, and tell their lengths.

    Cycles begin at their lowest elements and are ordered by these. By doubling (list ranking,
    Wyllie 1979): after k rounds each element knows the lowest of the 2^k from itself on and how
    far that is, in one number that is least for the lowest and nearest. When a round tells none of
    them anything, the lowest so far is that of a cycle all around it.
    """
    count = len(follower)
    found, ahead, step = np.arange(count) << 32, follower, 1
    while True:
        better = np.minimum(found, found.take(ahead) + step)
        if np.array_equal(better, found):
            break
        found, ahead, step = better, ahead.take(ahead), 2 * step
    lowest, left = found >> 32, found & (2**32 - 1)
    length = np.bincount(lowest, minlength=count)
    place = np.cumsum(length).take(lowest) - left
    place[left == 0] -= length[lowest[left == 0]]
    order = np.empty(count, np.int64)
    order[place] = np.arange(count)
    return order, length[length > 0]

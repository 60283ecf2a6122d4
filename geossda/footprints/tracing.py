"""Outlines of connected components, traced through their corners.

An outline along pixel edges is determined by its corners. On each line between two rows, the
corners of a component form pairs (first and second, third and fourth ...), and so they do on each
line between two columns; the rings follow from going from partner to partner. A corner depends on
the four pixels around it alone, so the corners of all blocks together are those of the raster.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Outlines

# Direction in which an outline leaves a corner along its row and its column, and whether three of
# the four pixels around the corner belong to the component.
_RIGHT, _DOWN, _CONCAVE = np.uint8(1), np.uint8(2), np.uint8(4)


class Corners(NamedTuple):
    """Corners of outlines, in any order.

    Attributes
    ----------
    row, col : (n,) int arrays
        Lines between pixels that each lies on, counted from the raster's upper left corner.
    flags : (n,) uint8 array
        Bits: 1 the outline goes right, 2 it goes down, 4 the corner is concave.
    label : (n,) int64 array
        Label of the component.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    flags: NDArray[np.uint8]
    label: NDArray[np.int64]

    @classmethod
    def concatenate(cls, batches: "list[Corners]") -> "Corners":
        """Concatenate several batches, or none."""
        if not batches:
            none = np.zeros(0, np.int64)
            return cls(none, none, np.zeros(0, np.uint8), none)
        return cls(*(np.concatenate(column) for column in zip(*batches, strict=True)))

    def take(self, selection: NDArray[Any]) -> "Corners":
        """Return the corners that an index array or a boolean mask selects."""
        return Corners(*(column[selection] for column in self))


def _corner_tables() -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Return the corners of every pattern of four pixels.

    Returns
    -------
    flags : (2, 16) uint8 array
        Flags of the first and second corner by pattern (bits: upper left, upper right, lower left,
        lower right pixel); 0 without one. Two opposite pixels have two corners.
    owner : (2, 16) int8 array
        Which of the four pixels the corner belongs to.
    """
    flags = np.zeros((2, 16), np.uint8)
    owner = np.zeros((2, 16), np.int8)
    for code in range(16):
        inside = [q for q in range(4) if code >> q & 1]
        outside = [q for q in range(4) if q not in inside]
        corners: list[tuple[int, int, int]] = []
        if len(inside) == 1 or inside in ([0, 3], [1, 2]):
            corners = [(q, q, 0) for q in inside]
        elif len(inside) == 3:
            corners = [(outside[0], 3 - outside[0], int(_CONCAVE))]
        for index, (quadrant, pixel, concave) in enumerate(corners):
            flags[index, code] = (quadrant & 1) * _RIGHT + (quadrant >> 1) * _DOWN + concave
            owner[index, code] = pixel
    return flags, owner


_FLAGS, _OWNER = _corner_tables()


def find_corners(
    labels: NDArray[Any], row: int, col: int, inside: NDArray[np.bool_] | None = None
) -> Corners:
    """Return the outline corners strictly inside an array of labels.

    Parameters
    ----------
    labels : (height, width) int array
        0 is background; foreground pixels that share an edge share a label.
    row, col : int
        Lines of the raster through the lower right corner of the array's first pixel.
    inside : (height, width) bool array, optional
        Where labels are not 0, if the caller has it already.

    Returns
    -------
    Corners
        In any order.
    """
    inside = (labels > 0) if inside is None else inside
    # A few passes over packed bits locate the few points where an edge between columns begins or
    # ends, or four edges meet; only those are classified one by one.
    left, right = np.packbits(inside[:, :-1], axis=1), np.packbits(inside[:, 1:], axis=1)
    upright = left ^ right
    turns = upright[1:] ^ upright[:-1]
    turns |= upright[1:] & upright[:-1] & (right[1:] ^ right[:-1])
    nonzero = np.flatnonzero(turns != 0)
    bit_index = np.flatnonzero(np.unpackbits(turns.ravel()[nonzero]).view(np.bool_))
    down, byte = np.divmod(nonzero[bit_index >> 3], turns.shape[1])
    right = 8 * byte + (bit_index & 7)
    width = inside.shape[1]
    pixels, numbers = inside.view(np.uint8).ravel(), labels.ravel()
    pixel, around = down * width + right, np.array([0, 1, width, width + 1])
    codes = pixels.take(pixel)
    for bit, step in enumerate(around[1:], 1):
        codes |= pixels.take(pixel + step) << bit
    pieces = []
    for index in (0, 1):
        if index:  # patterns of two opposite pixels
            two = np.flatnonzero((codes == 6) | (codes == 9))
            codes, down, right, pixel = codes[two], down[two], right[two], pixel[two]
        label = numbers.take(pixel + around.take(_OWNER[index].take(codes))).astype(np.int64)
        pieces.append(Corners(down + row, right + col, _FLAGS[index].take(codes), label))
    return Corners.concatenate(pieces)


class TracedPolygons(NamedTuple):
    """Outlines of complete components.

    Attributes
    ----------
    outlines : Outlines
        In pixels, valid, holes kept. Rings begin at their upper left corner and have no collinear
        points.
    label : (n,) int64 array
        Labels of the components, ascending.
    pixels : (n,) int64 array
        Number of pixels of each.
    """

    outlines: Outlines
    label: NDArray[np.int64]
    pixels: NDArray[np.int64]


def build_polygons(corners: Corners) -> TracedPolygons:
    """Trace the rings of complete components.

    Parameters
    ----------
    corners : Corners
        All corners of each component (4-connected pixels).

    Returns
    -------
    TracedPolygons
    """
    if not len(corners.row):
        none = np.zeros(0, np.int64)
        return TracedPolygons(Outlines.empty(), none, none)
    goes_right = (corners.flags & _RIGHT).astype(bool)
    order = _sort_order(corners.label, corners.row, corners.col, goes_right)
    row, col, flags, label = corners.take(order)
    flags = flags.copy()
    # Where a component touches itself at a point, a ring would pass there twice and be invalid:
    # taking the other turn makes two rings that touch.
    same = (label[1:] == label[:-1]) & (row[1:] == row[:-1]) & (col[1:] == col[:-1])
    doubled = np.flatnonzero(same)
    flags[doubled] ^= _DOWN | _CONCAVE
    flags[doubled + 1] ^= _DOWN | _CONCAVE
    count = len(row)
    goes_down = (flags & _DOWN).astype(bool)
    beside = np.arange(count) ^ 1
    upright = _sort_order(label, col, row, goes_down)
    across = np.empty(count, np.int64)
    across[upright] = upright.take(beside)
    # The component lies on the right hand: outer rings go clockwise on the screen, holes do not.
    level = (flags & _RIGHT > 0) == goes_down
    falling = level ^ (flags & _CONCAVE > 0)
    order, length = _cycles(np.where(falling, beside, across))
    first = np.cumsum(length) - length
    # Each ring ends with its first point.
    points = np.insert(order, first + length, order[first])
    ends = np.cumsum(length + 1)
    owner = label[order[first]]
    outer = np.concatenate([[True], owner[1:] != owner[:-1]])
    begins = np.flatnonzero(outer)
    starts = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
    stops = np.append(starts[1:], count) - 1
    box = [col[upright[starts]], row[starts], col[upright[stops]], row[stops]]
    outlines = Outlines(
        np.column_stack([col.astype(np.int32).take(points), row.astype(np.int32).take(points)]),
        ends - length - 1, ends, outer,
        begins, np.append(begins[1:], len(owner)), np.column_stack(box),
    )  # fmt: skip
    # By Green's theorem, a corner adds or subtracts the rectangle from the origin to it.
    pixels = np.add.reduceat(np.where(falling, row * col, -row * col), starts)
    return TracedPolygons(outlines, label[starts], pixels)


def _sort_order(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the order that sorts integer keys, the first key first; no two rows are equal."""
    low = [int(key.min()) for key in keys]
    spans = [int(key.max()) - least + 1 for key, least in zip(keys, low, strict=True)]
    if math.prod(spans) >= 2**63:
        return np.lexsort(keys[::-1])
    # Combined into one number, the keys are sorted several times as fast.
    joint = np.zeros(len(keys[0]), np.int64)
    for key, least, span in zip(keys, low, spans, strict=True):
        joint *= span
        joint += key
        joint -= least
    return np.argsort(joint)


def _cycles(follower: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the elements of a permutation in the order of its cycles, and the cycles' lengths.

    Cycles begin at their lowest elements and are ordered by these. The method is list ranking by
    doubling (Wyllie 1979): after k rounds each element has the lowest of the 2^k elements from
    itself on and its distance, in one number that is least for the lowest and nearest. A round
    that changes nothing has reached all around every cycle.

    Parameters
    ----------
    follower : (n,) int64 array
        Element that follows each.

    Returns
    -------
    order : (n,) int64 array
    length : (cycles,) int64 array
    """
    count = len(follower)
    nearest, ahead, step = np.arange(count) << 32, follower, 1
    while True:
        update = np.minimum(nearest, nearest.take(ahead) + step)
        if np.array_equal(update, nearest):
            break
        nearest, ahead, step = update, ahead.take(ahead), 2 * step
    lowest, distance = nearest >> 32, nearest & (2**32 - 1)
    length = np.bincount(lowest, minlength=count)
    position = np.cumsum(length).take(lowest) - distance
    position[distance == 0] -= length[lowest[distance == 0]]
    order = np.empty(count, np.int64)
    order[position] = np.arange(count)
    return order, length[length > 0]

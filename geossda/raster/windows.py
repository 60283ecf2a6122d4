"""Windows, planned on the whole raster: pure integers counted from its origin.

The plan never depends on chunks, workers or memory, so neither does any pixel made from it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from geossda.errors import InputError

T = TypeVar("T")


class Window(NamedTuple):
    """A rectangle of pixels, counted from the raster's origin."""

    row: int
    col: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """Rows as a slice."""
        return slice(self.row, self.row + self.height)

    @property
    def cols(self) -> slice:
        """Columns as a slice."""
        return slice(self.col, self.col + self.width)

    def grown(self, margin: int, shape: tuple[int, int]) -> "Window":
        """Return the window with `margin` pixels more on each side, clipped to `shape`."""
        top, left = max(0, self.row - margin), max(0, self.col - margin)
        bottom = min(shape[0], self.row + self.height + margin)
        right = min(shape[1], self.col + self.width + margin)
        return Window(top, left, bottom - top, right - left)

    def surrounded(self, halo: int, align: int) -> "Window":
        """Return the window with a halo, between multiples of `align`; it may leave the raster."""
        top, left = (start // align * align for start in (self.row - halo, self.col - halo))
        bottom = -(-(self.row + self.height + halo) // align) * align
        right = -(-(self.col + self.width + halo) // align) * align
        return Window(top, left, bottom - top, right - left)

    def joined(self, other: "Window", shape: tuple[int, int]) -> "Window":
        """Return the smallest window that holds both, clipped to `shape`."""
        top, left = max(0, min(self.row, other.row)), max(0, min(self.col, other.col))
        bottom = min(shape[0], max(self.row + self.height, other.row + other.height))
        right = min(shape[1], max(self.col + self.width, other.col + other.width))
        return Window(top, left, bottom - top, right - left)

    def within(self, outer: "Window") -> tuple[slice, slice]:
        """Return the slices that cut this window out of an array that covers `outer`."""
        top, left = self.row - outer.row, self.col - outer.col
        return slice(top, top + self.height), slice(left, left + self.width)

    def intersection(self, other: "Window") -> "Window | None":
        """Return the part common with `other`, or None."""
        top, left = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.col + self.width, other.col + other.width)
        if bottom <= top or right <= left:
            return None
        return Window(top, left, bottom - top, right - left)


def tiles(shape: tuple[int, int], size: int) -> Iterator[Window]:
    """Cut a raster into `size` x `size` tiles, row by row; each pixel is in exactly one.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the raster, in pixels.
    size : int
        Side of a tile, in pixels.

    Raises
    ------
    InputError
        `size` is less than 1.
    """
    if size < 1:
        raise InputError(f"a tile of {size} px: give at least 1")
    for row in range(0, shape[0], size):
        for col in range(0, shape[1], size):
            yield Window(row, col, min(size, shape[0] - row), min(size, shape[1] - col))


def starts(length: int, patch: int, overlap: int) -> list[int]:
    """Return the first pixel of each patch along one axis, on a fixed lattice from 0.

    The last patch may reach past `length`: it is read to the edge and padded, never moved back,
    since moving it would make its pixels depend on the raster's size.

    Parameters
    ----------
    length, patch, overlap : int
        Pixels; 0 <= overlap < patch.

    Raises
    ------
    InputError
        `overlap` is negative, or not less than `patch`.
    """
    if not 0 <= overlap < patch:
        raise InputError(f"overlap {overlap} px with patches of {patch} px: give 0 to {patch - 1}")
    stride = patch - overlap
    return list(range(0, max(1, length - overlap), stride))


def spread(items: Sequence[T], count: int) -> Sequence[T]:
    """Return `count` items spread evenly, the first one among them; all if there are no more.

    Parameters
    ----------
    items : sequence
        Windows of a plan, or what was read of them.
    count : int
        At least 1.
    """
    if len(items) <= count:
        return items
    return [items[index * len(items) // count] for index in range(count)]

"""What is read of a raster, and the footprints found in it, in pixels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Outlines


class BuildingWindow(NamedTuple):
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


class Traced(NamedTuple):
    """Parts as they were traced, in pixels of the whole raster (x right, y down).

    Attributes
    ----------
    outlines : Outlines
        Along pixel edges, holes kept.
    pixels, confidence, lowest, highest : (n,) arrays
        As of :class:`Parts`.
    """

    outlines: Outlines
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def joined(cls, pieces: "list[Traced]") -> "Traced":
        """Put several together."""
        outlines, *columns = zip(*pieces, strict=True)
        others: Any = map(np.concatenate, columns)
        return cls(Outlines.joined(list(outlines)), *others)

    def take(self, chosen: NDArray[np.generic]) -> "Traced":
        """Choose some by index or mask."""
        return Traced(self.outlines.take(chosen), *(column[chosen] for column in self[1:]))

    @property
    def shapes(self) -> NDArray[np.object_]:
        """A geometry of each."""
        return self.outlines.shapes

    def parts(self) -> "Parts":
        """Give them as others work with them."""
        return Parts(self.shapes, *self[1:])


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

    def followed_by(self, *more: "Parts") -> "Parts":
        """Put `more` behind."""
        columns: Any = zip(self, *more, strict=True)
        return Parts(*(np.concatenate(column) for column in columns))


class OpenComponents(NamedTuple):
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

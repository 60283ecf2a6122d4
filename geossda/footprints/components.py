"""Parts whose corners are all known become footprints."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.records import Traced
from geossda.footprints.tracing import Corners, build_polygons

# Probabilities are summed as whole numbers of this unit, so that sums do not depend on the order.
_UNIT = 2.0**-24


class ProbabilityStats(NamedTuple):
    """What is told of each part's probabilities: their sum in units, and their extremes."""

    units: NDArray[np.int64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int) -> "ProbabilityStats":
        """Begin to count `count` parts."""
        low = np.full(count, np.inf, np.float32)
        return cls(np.zeros(count, np.int64), low, -low)

    @classmethod
    def of_pixels(
        cls, part: NDArray[Any], count: int, probability: NDArray[np.floating]
    ) -> "ProbabilityStats":
        """Tally pixels by the part each is of."""
        units = np.rint(probability * np.float64(1 / _UNIT)).astype(np.int64)
        return cls(units, probability, probability).grouped(part, count)

    def grouped(self, group: NDArray[Any], count: int) -> "ProbabilityStats":
        """Put entries of one group together."""
        made = ProbabilityStats.empty(count)
        np.add.at(made.units, group, self.units)
        np.minimum.at(made.lowest, group, self.lowest)
        np.maximum.at(made.highest, group, self.highest)
        return made

    def take(self, chosen: NDArray[np.generic]) -> "ProbabilityStats":
        """Choose some by index or mask."""
        return ProbabilityStats(*(column[chosen] for column in self))


class Ended(NamedTuple):
    """Parts that are whole.

    Attributes
    ----------
    corners : Corners
        All of theirs.
    tally : ProbabilityStats
        By their labels.
    family : (labels,) int array or None
        Parts of one family are one footprint; None if each is one.
    """

    corners: Corners
    tally: ProbabilityStats
    family: NDArray[np.int64] | None


def finish(ended: Ended) -> Traced:
    """Walk the outlines of parts that ended, and put families of them together."""
    corners, tally, family = ended
    outlines, part, pixels = build_polygons(corners)
    mine = tally.take(part)
    if family is not None and len(part):
        # By family, its upper left part first.
        left, top = outlines.start.T
        order = np.lexsort((left, top, family[part]))
        members = family[part][order]
        begins = np.flatnonzero(np.concatenate([[True], members[1:] != members[:-1]]))
        member = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(members))))
        outlines = outlines.together(order, begins)
        pixels = np.add.reduceat(pixels[order], begins)
        mine = mine.take(order).grouped(member, len(begins))
    known = np.where(np.isfinite(mine.lowest), np.float32(1), np.float32(np.nan))
    mean = mine.units * _UNIT / pixels
    with np.errstate(invalid="ignore"):  # infinite, where there are no probabilities
        return Traced(outlines, pixels, mean * known, mine.lowest * known, mine.highest * known)


def in_order(pieces: list[Traced]) -> Traced:
    """Put parts together in the order of their last row, then of their upper left corner."""
    every = Traced.joined(pieces)
    left, top = every.outlines.start.T
    return every.take(np.lexsort((left, top, every.outlines.box[:, 3])))

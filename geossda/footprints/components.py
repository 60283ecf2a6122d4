"""Footprints of connected components whose corners are all known."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.records import Footprints
from geossda.footprints.tracing import Corners, build_polygons

# Probabilities are summed as whole numbers of this unit, so that sums do not depend on the order.
_SUM_UNIT = 2.0**-24


class ProbabilityStats(NamedTuple):
    """Sum and extremes of the probabilities of each component.

    Attributes
    ----------
    units : (labels,) int64 array
        Sum of the probabilities in units of 2**-24.
    lowest, highest : (labels,) float32 arrays
        Least and greatest probability; +inf and -inf for a component without any.
    """

    units: NDArray[np.int64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    @classmethod
    def empty(cls, count: int) -> "ProbabilityStats":
        """Return the statistics of `count` components without pixels."""
        low = np.full(count, np.inf, np.float32)
        return cls(np.zeros(count, np.int64), low, -low)

    @classmethod
    def of_pixels(
        cls, label: NDArray[Any], count: int, probability: NDArray[np.floating]
    ) -> "ProbabilityStats":
        """Compute the statistics of components from their pixels.

        Parameters
        ----------
        label : (pixels,) int array
            Component of each pixel, below `count`.
        count : int
            Number of components.
        probability : (pixels,) float array
            In 0..1.
        """
        units = np.rint(probability * np.float64(1 / _SUM_UNIT)).astype(np.int64)
        return cls(units, probability, probability).grouped(label, count)

    def grouped(self, group: NDArray[Any], count: int) -> "ProbabilityStats":
        """Combine the entries of each group.

        Parameters
        ----------
        group : (labels,) int array
            Group of each entry, below `count`.
        count : int
            Number of groups.
        """
        combined = ProbabilityStats.empty(count)
        np.add.at(combined.units, group, self.units)
        np.minimum.at(combined.lowest, group, self.lowest)
        np.maximum.at(combined.highest, group, self.highest)
        return combined

    def take(self, selection: NDArray[np.generic]) -> "ProbabilityStats":
        """Return the entries that an index array or a boolean mask selects."""
        return ProbabilityStats(*(column[selection] for column in self))


class ClosedComponents(NamedTuple):
    """Components that can grow no further.

    Attributes
    ----------
    corners : Corners
        All their corners.
    stats : ProbabilityStats
        Statistics by label.
    family : (labels,) int64 array or None
        Components of one family form one MultiPolygon; None if each is a footprint of its own.
    """

    corners: Corners
    stats: ProbabilityStats
    family: NDArray[np.int64] | None


def footprints_of(components: ClosedComponents) -> Footprints:
    """Trace the outlines of components, and combine those of one family.

    Parameters
    ----------
    components : ClosedComponents

    Returns
    -------
    Footprints
        In pixels of the raster.
    """
    corners, stats, family = components
    outlines, label, pixels = build_polygons(corners)
    stats = stats.take(label)
    if family is not None and len(label):
        # By family, its upper left component first.
        left, top = outlines.first_points.T
        order = np.lexsort((left, top, family[label]))
        members = family[label][order]
        begins = np.flatnonzero(np.concatenate([[True], members[1:] != members[:-1]]))
        member = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(members))))
        outlines = outlines.to_multipolygons(order, begins)
        pixels = np.add.reduceat(pixels[order], begins)
        stats = stats.take(order).grouped(member, len(begins))
    known = np.where(np.isfinite(stats.lowest), np.float32(1), np.float32(np.nan))
    mean = stats.units * _SUM_UNIT / pixels
    with np.errstate(invalid="ignore"):  # infinite without probabilities
        return Footprints(
            outlines, pixels, mean * known, stats.lowest * known, stats.highest * known
        )


def in_row_order(batches: Sequence[Footprints]) -> Footprints:
    """Concatenate traced footprints, sorted by last row, then by upper left corner."""
    footprints = Footprints.concatenate(batches)
    outlines: Any = footprints.geometry
    left, top = outlines.first_points.T
    return footprints.take(np.lexsort((left, top, outlines.box[:, 3])))

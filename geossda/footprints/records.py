"""Records passed between the stages of polygonizing, in pixels or in a CRS."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.ring_arrays import Geometries, Outlines


class BuildingWindow(NamedTuple):
    """Building pixels of one window of a raster.

    Attributes
    ----------
    inside : (height, width) bool array
        True where a pixel belongs to a building.
    probability : (height, width) float32 array or None
        Building probability in 0..1; None for a mask.
    """

    inside: NDArray[np.bool_]
    probability: NDArray[np.float32] | None = None

    def part(self, slices: tuple[slice, slice]) -> "BuildingWindow":
        """Return the part that two slices select, of rows and of columns."""
        probability = None if self.probability is None else self.probability[slices]
        return BuildingWindow(self.inside[slices], probability)


class Footprints(NamedTuple):
    """Building footprints with the statistics of their pixels.

    Attributes
    ----------
    geometry : Outlines or (n,) array of shapely.Polygon
        In pixels of the whole raster (x right, y down) while they are traced and shaped; in the
        CRS of the raster once they are measured.
    pixels : (n,) int64 array
        Number of pixels each footprint was made from.
    mean : (n,) float64 array
        Mean probability of the pixels, 0..1; NaN without probabilities.
    min, max : (n,) float32 arrays
        Lowest and highest probability of the pixels; NaN without probabilities.
    area_m2 : (n,) float64 array or None
        Area on the ellipsoid in square metres; None until it is measured.
    """

    geometry: Geometries
    pixels: NDArray[np.int64]
    mean: NDArray[np.float64]
    min: NDArray[np.float32]
    max: NDArray[np.float32]
    area_m2: NDArray[np.float64] | None = None

    @classmethod
    def concatenate(cls, batches: "Sequence[Footprints]") -> "Footprints":
        """Concatenate one or more batches, whose geometries are all of one kind."""
        first = batches[0].geometry
        if isinstance(first, Outlines):
            geometry: Geometries = Outlines.concatenate([each.geometry for each in batches])  # type: ignore[misc]
        else:
            geometry = np.concatenate([each.geometry for each in batches])
        pixels, mean, low, high = (
            np.concatenate(column) for column in zip(*(each[1:5] for each in batches), strict=True)
        )
        area = None
        if batches[0].area_m2 is not None:
            area = np.concatenate([each.area_m2 for each in batches])
        return cls(geometry, pixels, mean, low, high, area)

    def take(self, selection: NDArray[np.generic]) -> "Footprints":
        """Return the footprints that an index array or a boolean mask selects."""
        if isinstance(self.geometry, Outlines):
            geometry: Geometries = self.geometry.take(selection)
        else:
            geometry = self.geometry[selection]
        pixels, mean, low, high = (column[selection] for column in self[1:5])
        area = None if self.area_m2 is None else self.area_m2[selection]
        return Footprints(geometry, pixels, mean, low, high, area)

    @property
    def polygons(self) -> NDArray[np.object_]:
        """(n,) array of shapely.Polygon or shapely.MultiPolygon."""
        if isinstance(self.geometry, Outlines):
            return self.geometry.to_shapely()
        return self.geometry


class OpenComponents(NamedTuple):
    """Connected components that reach the last row read, and can still grow.

    Attributes
    ----------
    row : float
        The line below the last row read, in pixels; anything can follow beyond it. Infinite once
        the raster is read.
    boxes : (n, 4) float array
        Bounding boxes so far, in pixels: left, top, right, bottom.
    """

    row: float
    boxes: NDArray[np.float64]

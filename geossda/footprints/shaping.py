"""Outlines of footprints: regularized, separated, measured and placed on the ground."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.config import Regularity
from geossda.footprints.ground_scale import apply_affine, centres, ground_matrices
from geossda.footprints.lattice import on_grain
from geossda.footprints.records import Footprints
from geossda.footprints.regularize import REACH, regularize
from geossda.footprints.ring_arrays import Outlines
from geossda.raster.grid import Grid


@dataclass(frozen=True)
class Shaping:
    """Settings of outlines, and the grid they are measured on.

    Attributes
    ----------
    grid : Grid
        Grid of the raster; with a CRS.
    gsd_m : float
        Approximate pixel size in metres.
    regularity : {"none", "simplify", "rectilinear"}
    tolerance_m : float
        Distance that outlines may be moved by, in metres.
    min_area_m2 : float
        Smaller footprints are left out, in square metres.
    min_confidence : float
        Footprints of a lower mean probability are left out, 0..1; those of masks never are.
    """

    grid: Grid
    gsd_m: float
    regularity: Regularity
    tolerance_m: float
    min_area_m2: float
    min_confidence: float = 0.0

    @property
    def reach_m(self) -> float:
        """Greatest distance of an outline from its pixels, in metres."""
        return reach_m(self.regularity, self.tolerance_m, self.gsd_m)

    def pixel_matrices(self, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
        """Compute the (n, 2, 2) matrices from pixels to metres east and north at polygons."""
        return self._pixel_matrices_at(centres(polygons))

    def _pixel_matrices_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(points):
            return np.zeros((0, 2, 2))
        transform = self.grid.transform
        x, y = transform * points.T
        linear = np.array([[transform.a, transform.b], [transform.d, transform.e]])
        matrices = ground_matrices(self.grid.crs.to_wkt(), np.column_stack([x, y]))
        return np.asarray(matrices @ linear)

    def confident(self, footprints: Footprints) -> NDArray[np.bool_]:
        """Return a mask of the footprints with the least mean probability, or none at all."""
        # Rounded as it is written.
        return np.asarray(~(np.round(footprints.mean, 4) < self.min_confidence))

    def drop_small(self, footprints: Footprints) -> Footprints:
        """Return the footprints that can reach the least area, even if their outline grows."""
        if self.min_area_m2 <= 0:
            return footprints
        matrices = self.pixel_matrices(footprints.polygons)
        areas = footprints.pixels * np.abs(np.linalg.det(matrices))
        return footprints.take(areas >= self.min_area_m2 / 2)

    def regularized(
        self, polygons: NDArray[np.object_], patch: NDArray[np.int64] | None = None
    ) -> NDArray[np.object_]:
        """Regularize outlines, each in metres around its centre.

        Parameters
        ----------
        polygons : (n,) array of shapely.Polygon
            In pixels, along pixel edges.
        patch : (n,) int array, optional
            Number of the patch of touching buildings that each is a piece of; by default each is
            a patch by itself.

        Returns
        -------
        (n,) array of shapely.Polygon
            In pixels.
        """
        if self.regularity == "none" or not len(polygons):
            return polygons
        matrices = self.pixel_matrices(polygons)
        pixel_m = np.sqrt(np.abs(np.linalg.det(matrices)))
        centre = centres(polygons)
        to_metres = np.concatenate([matrices, -matrices @ centre[:, :, None]], axis=2)
        to_pixels = np.concatenate([np.linalg.inv(matrices), centre[:, :, None]], axis=2)
        metric = apply_affine(polygons, to_metres)
        if self.regularity == "simplify":
            shaped = apply_affine(shapely.simplify(metric, self.tolerance_m), to_pixels)
            if patch is not None:
                self._simplify_together(shaped, polygons, pixel_m, patch)
        else:
            shaped = apply_affine(regularize(metric, pixel_m, self.tolerance_m), to_pixels)
        return on_grain(shaped)

    def _simplify_together(
        self,
        outlines: NDArray[np.object_],
        polygons: NDArray[np.object_],
        pixel_m: NDArray[np.float64],
        patch: NDArray[np.int64],
    ) -> None:
        """Replace the pieces of each patch by ones simplified together, which share their walls."""
        for number in np.flatnonzero(np.bincount(patch) > 1).tolist():
            members = np.flatnonzero(patch == number)
            outlines[members] = shapely.coverage_simplify(
                polygons[members], 3 * self.tolerance_m / float(pixel_m[members[0]])
            )

    def measured_traced(self, footprints: Footprints, outlines: Outlines) -> Footprints:
        """Measure footprints whose outlines stay along the pixels, and place them in the CRS.

        Parameters
        ----------
        footprints : Footprints
            In pixels.
        outlines : Outlines
            Their geometry.

        Returns
        -------
        Footprints
            Those of at least the least area and confidence.
        """
        box = outlines.box
        matrices = self._pixel_matrices_at((box[:, :2] + box[:, 2:]) / 2)
        areas = footprints.pixels * np.abs(np.linalg.det(matrices))
        kept = (areas >= self.min_area_m2) & self.confident(footprints)
        return footprints.take(kept)._replace(
            geometry=outlines.take(kept).to_crs(self.grid.transform), area_m2=areas[kept]
        )

    def measured(self, footprints: Footprints, polygons: NDArray[np.object_]) -> Footprints:
        """Measure new outlines of footprints, and place them in the CRS.

        Parameters
        ----------
        footprints : Footprints
        polygons : (n,) array of shapely.Polygon
            Their outlines, in pixels; one without area is left out.

        Returns
        -------
        Footprints
            Those of at least the least area.
        """
        nonempty = np.flatnonzero(shapely.area(polygons) > 0)  # an overlap can take all of one
        areas = shapely.area(polygons[nonempty])
        areas = areas * np.abs(np.linalg.det(self.pixel_matrices(polygons[nonempty])))
        large = areas >= self.min_area_m2
        kept, areas = nonempty[large], areas[large]
        transform = self.grid.transform
        in_crs = shapely.transform(
            polygons[kept], lambda xy: np.column_stack(transform * (xy[:, 0], xy[:, 1]))
        )
        return footprints.take(kept)._replace(geometry=in_crs, area_m2=areas)


def reach_m(regularity: Regularity, tolerance_m: float, gsd_m: float) -> float:
    """Compute how far from its pixels an outline can come to lie.

    Parameters
    ----------
    regularity : {"none", "simplify", "rectilinear"}
    tolerance_m, gsd_m : float
        Tolerance and pixel size in metres.

    Returns
    -------
    float
        In metres.
    """
    if regularity == "none":
        return 0.0
    return tolerance_m if regularity == "simplify" else REACH * max(tolerance_m, gsd_m)

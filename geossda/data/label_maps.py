"""Training targets of a segmenter, computed from footprints: building, boundary and distance."""

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.data.labels import within
from geossda.raster.grid import Grid
from geossda.raster.rasterize import burn
from geossda.raster.shapes import Shapes
from geossda.raster.windows import Window

# Distances are kept in eighths of a pixel; a byte holds 31 pixels.
STEPS_PER_PX = 8
REACH_PX = 32
# What of a building counts as its boundary, and from where on its interior is 1, in pixels.
BOUNDARY_PX = 2.0
INTERIOR_PX = 8.0


def rasterize_distances(shapes: Shapes, grid: Grid, window: Window) -> NDArray[np.uint8]:
    """Compute the distance of every building pixel to the edge of its building.

    Parameters
    ----------
    shapes : Shapes
        Footprints in the CRS of `grid`.
    grid : Grid
    window : Window
        Of the grid.

    Returns
    -------
    (height, width) uint8 array
        Eighths of a pixel from the pixel's centre to the edge, 1 to 255; 0 outside buildings.
        Buildings that touch have an edge between them.
    """
    # Footprints around the window are read too, so that its own border is no edge.
    wide = Window(
        window.row - REACH_PX,
        window.col - REACH_PX,
        window.height + 2 * REACH_PX,
        window.width + 2 * REACH_PX,
    )
    near, transform = within(shapes, grid, wide)
    numbers = burn(
        ((shape, number) for number, shape in enumerate(near, start=1)),
        (wide.height, wide.width),
        transform,
        dtype=np.int32,
    )
    edge = np.zeros(numbers.shape, bool)
    for differs, before, after in (
        (np.diff(numbers, axis=0) != 0, edge[:-1], edge[1:]),
        (np.diff(numbers, axis=1) != 0, edge[:, :-1], edge[:, 1:]),
    ):
        before |= differs
        after |= differs
    # From centre to centre of the next edge pixel, whose own centre is half a pixel inside.
    # Without any edge the distance is the largest float.
    distance_px = cv2.distanceTransform((~edge).view(np.uint8), cv2.DIST_L2, 5)
    steps = np.rint((np.minimum(distance_px, REACH_PX) + 0.5) * STEPS_PER_PX)
    steps = np.clip(steps, 1, 255).astype(np.uint8)
    steps[numbers == 0] = 0
    return np.ascontiguousarray(steps[REACH_PX:-REACH_PX, REACH_PX:-REACH_PX])


def rescale_distances(distances: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Return distances in pixels that are `factor` times as small; 0 stays 0, nothing else is 0.

    Parameters
    ----------
    distances : uint8 array
        Distances in pixels; 0 is not a distance.
    factor : float
        Above 0, as the pixels become larger or smaller.
    """
    scaled = np.clip(np.rint(distances.astype(np.float32) * np.float32(factor)), 1, 255)
    return np.where(distances > 0, scaled, 0).astype(np.uint8)


def label_maps(distances: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the three outputs a segmenter is trained on.

    Parameters
    ----------
    distances : (height, width) uint8 array
        Of :func:`rasterize_distances`.

    Returns
    -------
    (3, height, width) float32 array, 0..1
        Building; boundary, the pixels of a building within ``BOUNDARY_PX`` of its edge; and
        distance to the edge, 1 from ``INTERIOR_PX`` on, 0 outside buildings. In the order of
        :data:`geossda.models.card_checks.OUTPUTS`.
    """
    distance_px = distances.astype(np.float32) / STEPS_PER_PX
    building = distances > 0
    boundary = building & (distance_px <= BOUNDARY_PX)
    interior = np.minimum(distance_px / np.float32(INTERIOR_PX), 1)
    return np.stack([building, boundary, interior]).astype(np.float32)

"""Statistics of several sources where they overlap, streamed from windows of a bounded grid."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.errors import EmptyRasterError
from geossda.parallel.ordered_map import ordered_map
from geossda.progress import SILENT, Progress
from geossda.raster.alignment import pixels_across
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles

# Most pixels that an overlap, or a source, is measured on: finer ones are averaged first.
MEASURED_PX = 2**20
# Fewest common pixels that count as an overlap.
LEAST_PX = 100
_TILE = 512

Values = Callable[[NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class OverlapMoments:
    """Moments of every source as a whole, and inside its overlap with every other one.

    Attributes
    ----------
    names : tuple of str
        Of the sources, for messages.
    area : (sources, sources) float64 array
        Where both are valid, in pixels of the mosaic; on the diagonal of each as a whole.
    mean, std : (sources, sources, bands) float64 arrays
        Of the first source inside its overlap with the second; on the diagonal as a whole.
    product : (sources, sources, bands) float64 array
        Mean product of the two inside their overlap.
    """

    names: tuple[str, ...]
    area: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    product: NDArray[np.float64]

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.mean.shape[2])

    def groups(self) -> list[list[int]]:
        """Return the connected components of overlapping sources, by their first source."""
        left = list(range(len(self.area)))
        groups = []
        while left:
            group, todo = set(), [left[0]]
            while todo:
                one = todo.pop()
                group.add(one)
                todo += [other for other in left if self.area[one, other] and other not in group]
            groups.append(sorted(group))
            left = [one for one in left if one not in group]
        return groups

    def of(self, group: Sequence[int]) -> "OverlapMoments":
        """Return the moments of some of the sources."""
        pick = np.ix_(group, group)
        return OverlapMoments(
            tuple(self.names[one] for one in group),
            self.area[pick],
            self.mean[pick],
            self.std[pick],
            self.product[pick],
        )


def measure_overlaps(
    mosaic: Mosaic, values: Values | None = None, *, progress: Progress = SILENT
) -> OverlapMoments:
    """Measure sources as wholes and in their overlaps.

    Each pair is compared on the mosaic's grid, coarsened to the pixels of the coarser of the two
    and further until the overlap has at most `MEASURED_PX` pixels, so neither time nor memory
    grows with the size of the files.

    Parameters
    ----------
    mosaic : Mosaic
    values : callable, optional
        Maps (bands, n) pixels to the (channels, n) numbers that are measured; pixels by default.
    progress : Progress
        Advanced by one for each source and each overlap.

    Returns
    -------
    OverlapMoments
        An overlap of less than `LEAST_PX` measured pixels has the area 0.

    Raises
    ------
    EmptyRasterError
        A source without a valid pixel.
    """
    covered = [source.covered(mosaic.grid) for source in mosaic.sources]
    pairs = _pairs(covered)
    count = len(covered)
    progress.stage("comparing overlaps", count + len(pairs))
    values = values or (lambda pixels: pixels.astype(np.float64))
    area = np.zeros((count, count))
    channels = len(values(np.zeros((mosaic.count, 1), mosaic.dtype)))
    moments = np.zeros((3, count, count, channels))
    for first, second in [*((one, one) for one in range(count)), *pairs]:
        sums, scale = _sums(mosaic, covered, first, second, values)
        pixels = sums[0, 0]
        if first == second and not pixels:
            raise EmptyRasterError(
                f"{mosaic.sources[first].name} has no valid pixel: check its nodata value, mask or "
                "alpha band"
            )
        progress.advance()
        if pixels < LEAST_PX and first != second:
            continue
        area[first, second] = area[second, first] = pixels * scale
        means = sums[1:] / pixels
        for one, other, mean, square in (
            (first, second, means[0], means[2]),
            (second, first, means[1], means[3]),
        ):
            moments[0, one, other] = mean
            moments[1, one, other] = np.sqrt(np.maximum(square - mean**2, 0))
            moments[2, one, other] = means[4]
    names = tuple(source.name for source in mosaic.sources)
    return OverlapMoments(names, area, *moments)


def _pairs(covered: Sequence[Window | None]) -> list[tuple[int, int]]:
    """Return the pairs of sources, in order, whose windows on the mosaic's grid intersect."""
    boxes = [
        shapely.box(w.col, w.row, w.col + w.width, w.row + w.height) if w else shapely.Point()
        for w in covered
    ]
    pairs = shapely.STRtree(boxes).query(boxes, predicate="intersects").T.tolist()
    return sorted((one, other) for one, other in pairs if one < other)


def _sums(
    mosaic: Mosaic, covered: Sequence[Window | None], first: int, second: int, values: Values
) -> tuple[NDArray[np.float64], float]:
    """Sum two sources over their common pixels.

    Returns
    -------
    sums : (6, channels) array
        Number of pixels; sums of the first and of the second, of their squares, and of products.
    scale : float
        Pixels of the mosaic that one measured pixel stands for.
    """
    one, other = covered[first], covered[second]
    common = one.intersection(other) if one and other else None
    if common is None:
        channels = len(values(np.zeros((mosaic.count, 1), mosaic.dtype)))
        return np.zeros((6, channels)), 1.0
    coarsest = max(
        pixels_across(mosaic.grid, mosaic.sources[index].grid) for index in (first, second)
    )
    factor = max(coarsest, int(np.ceil(np.sqrt(common.height * common.width / MEASURED_PX))))
    grid = mosaic.grid[common.rows, common.cols].zoom_out(factor)
    coarse = replace(mosaic, grid=grid)

    def measure(window: Window) -> NDArray[np.float64]:
        with gdal_environment():
            pixels, valid = coarse.read_source(first, window)
            if first == second:
                below = pixels
            elif valid.any():
                below, below_valid = coarse.read_source(second, window)
                valid = valid & below_valid
            else:
                below = pixels
        a = values(pixels[:, valid])
        b = a if first == second else values(below[:, valid])
        return np.stack(
            [np.full(len(a), a.shape[1], np.float64), a.sum(1), b.sum(1), (a * a).sum(1),
             (b * b).sum(1), (a * b).sum(1)]
        )  # fmt: skip

    with contextlib.closing(ordered_map(measure, tiles(coarse.shape, _TILE))) as parts:
        return np.asarray(sum(parts)), float(factor**2)

"""Footprints shaped as they come, in batches over threads, without overlaps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.footprints.overlaps import OverlapResolver
from geossda.footprints.records import Footprints, OpenComponents
from geossda.footprints.ring_arrays import Outlines
from geossda.footprints.shaping import Shaping
from geossda.footprints.watershed import Splitter
from geossda.parallel.ordered_map import OrderedPool
from geossda.raster.source import gdal_environment

# Footprints that a thread shapes at a time: with fewer, the calls take longer than the work.
_BATCH_SIZE = 64


class ShapedBatch(NamedTuple):
    """Footprints with new outlines, not yet checked for overlaps.

    Attributes
    ----------
    footprints : Footprints
        Geometry as traced, in pixels.
    polygons : (n,) array of shapely.Polygon
        New outlines, in pixels.
    open_components : OpenComponents or None
        With the last batch of a strip, the components that the strip did not complete.
    """

    footprints: Footprints
    polygons: NDArray[np.object_]
    open_components: OpenComponents | None


@dataclass(frozen=True)
class Shaper:
    """Regularizes and separates a batch of footprints; can be sent to another process.

    Attributes
    ----------
    shaping : Shaping
    splitter : Splitter or None
        Separates touching buildings.
    """

    shaping: Shaping
    splitter: Splitter | None

    def __call__(self, batch: tuple[Footprints, OpenComponents | None]) -> ShapedBatch:
        """Return the new outlines of a batch of footprints, or of their pieces."""
        footprints, open_components = batch
        patch = None
        if self.splitter is not None:
            with gdal_environment():
                footprints, patch = self.splitter.split(footprints)
        # What is left out needs no outline, and takes nothing from a neighbour.
        kept = self.shaping.confident(footprints)
        footprints, patch = footprints.take(kept), None if patch is None else patch[kept]
        polygons = self.shaping.regularized(footprints.polygons, patch)
        return ShapedBatch(footprints, polygons, open_components)


def shape_footprints(
    traced: Iterable[tuple[Footprints, OpenComponents]],
    shaping: Shaping,
    splitter: Splitter | None = None,
    pool: OrderedPool | None = None,
) -> Iterator[Footprints]:
    """Regularize, separate, measure and place footprints as they come.

    Parameters
    ----------
    traced : iterable of (Footprints, OpenComponents)
        As :func:`geossda.footprints.polygonize.polygonize` yields them.
    shaping : Shaping
    splitter : Splitter, optional
        Separates touching buildings.
    pool : OrderedPool, optional
        Threads that measure; they or their helper processes regularize and separate. Everything
        is done in the calling thread by default.

    Yields
    ------
    Footprints
        In the CRS, with areas; no two overlap.
    """
    pool = pool or OrderedPool(1)

    def measure(strip: tuple[Footprints, OpenComponents]) -> Footprints:
        footprints, _ = strip
        if isinstance(footprints.geometry, Outlines):
            return shaping.measured_traced(footprints, footprints.geometry)
        confident = footprints.take(shaping.confident(footprints))
        return shaping.measured(confident, confident.polygons)

    if splitter is None and shaping.regularity == "none":
        yield from pool.map(measure, traced)
        return
    shaped = pool.spread(Shaper(shaping, splitter), _batches(traced, shaping, splitter))
    resolved = _resolve_overlaps(shaped, shaping)
    yield from pool.map(lambda strip: shaping.measured(*strip), resolved)


def _batches(
    traced: Iterable[tuple[Footprints, OpenComponents]],
    shaping: Shaping,
    splitter: Splitter | None,
) -> Iterator[tuple[Footprints, OpenComponents | None]]:
    """Yield large footprints in small batches; the last of a strip has its open components."""
    for strip, open_components in traced:
        footprints = shaping.drop_small(strip._replace(geometry=strip.polygons))
        if splitter is not None:
            splitter.warn_of_wide(footprints)
        count = len(footprints.pixels)
        begins = range(0, max(1, count), _BATCH_SIZE)
        for begin in begins:
            batch = footprints.take(np.arange(begin, min(begin + _BATCH_SIZE, count)))
            yield batch, open_components if begin == begins[-1] else None


def _resolve_overlaps(
    batches: Iterable[ShapedBatch], shaping: Shaping
) -> Iterator[tuple[Footprints, NDArray[np.object_]]]:
    """Cut overlaps of outlines off, strip by strip."""
    # A metre is longest in pixels where pixels are smallest; a tenth more for a raster whose
    # pixels vary in size on the ground.
    reach_px = 1.1 * shaping.reach_m / shaping.gsd_m + 1
    resolver = OverlapResolver(reach_px, shaping) if shaping.regularity != "none" else None
    strip: list[ShapedBatch] = []
    for batch in batches:
        strip.append(batch)
        if batch.open_components is None:
            continue
        footprints, polygons = _concatenated(strip)
        strip = []
        if resolver is not None:
            footprints, polygons = resolver.add(footprints, polygons, batch.open_components)
        yield footprints, polygons


def _concatenated(batches: Sequence[ShapedBatch]) -> tuple[Footprints, NDArray[np.object_]]:
    footprints = Footprints.concatenate([batch.footprints for batch in batches])
    return footprints, np.concatenate([batch.polygons for batch in batches])

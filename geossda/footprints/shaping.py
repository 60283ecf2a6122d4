"""From parts of a raster to footprints on the ground."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geossda.config import Regularity
from geossda.footprints.ground_scale import centres, ground_frames, moved
from geossda.footprints.overlaps import GRAIN_PX, OverlapResolver
from geossda.footprints.party_walls import partition, shared_walls
from geossda.footprints.records import OpenComponents, Parts, Traced
from geossda.footprints.regularize import REACH, regularize
from geossda.footprints.ring_arrays import Shapes
from geossda.footprints.watershed import Splitter
from geossda.parallel.ordered_map import OrderedPool

# Parts that a thread shapes at a time: one large patch can take as long as hundreds of houses.
_AT_ONCE = 16


class Features(NamedTuple):
    """Footprints on the ground.

    Attributes
    ----------
    shapes : Outlines or (n,) array of shapely.Polygon
        In the grid's CRS.
    area_m2 : (n,) float array
        On the ellipsoid.
    pixels : (n,) int array
        Pixels each was made from.
    confidence, lowest, highest : (n,) float arrays
        Mean and extremes of their probabilities; NaN without any.
    """

    shapes: Shapes
    area_m2: NDArray[np.float64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]


@dataclass(frozen=True)
class Shaping:
    """How parts become footprints.

    Attributes
    ----------
    grid : GeoBox
        What the parts' pixels are of; with a CRS.
    gsd_m : float
        Its pixel side in metres, about.
    regularity : {"none", "simplify", "rectilinear"}
    tolerance_m : float
        How far outlines may be moved, in metres.
    min_area_m2 : float
        Smaller footprints are left out.
    """

    grid: GeoBox
    gsd_m: float
    regularity: Regularity
    tolerance_m: float
    min_area_m2: float

    @property
    def reach_m(self) -> float:
        """How far from its pixels an outline can come to lie, in metres."""
        return reach_m(self.regularity, self.tolerance_m, self.gsd_m)

    def frames(self, shapes: NDArray[np.object_]) -> NDArray[np.float64]:
        """Give for each shape in pixels the (2, 2) matrix from pixels to metres east and north."""
        return self._frames_at(centres(shapes))

    def _frames_at(self, middles: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(middles):
            return np.zeros((0, 2, 2))
        step = self.grid.transform
        x, y = step * middles.T
        linear = np.array([[step.a, step.b], [step.d, step.e]])
        frames = ground_frames(self.grid.crs.to_wkt(), np.column_stack([x, y]))
        return np.asarray(frames @ linear)

    def large(self, parts: Parts) -> Parts:
        """Leave out what is too small even if its outline should grow."""
        if self.min_area_m2 <= 0:
            return parts
        areas = parts.pixels * np.abs(np.linalg.det(self.frames(parts.shapes)))
        return parts.take(areas >= self.min_area_m2 / 2)

    def shaped(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        """Give outlines, in pixels, their new form, each worked on in metres."""
        if self.regularity == "none" or not len(shapes):
            return shapes
        frames = self.frames(shapes)
        middle = centres(shapes)
        to_metres = np.concatenate([frames, -frames @ middle[:, :, None]], axis=2)
        back = np.concatenate([np.linalg.inv(frames), middle[:, :, None]], axis=2)
        flat = moved(shapes, to_metres)
        if self.regularity == "simplify":
            made = shapely.simplify(flat, self.tolerance_m)
        else:
            pixel = np.sqrt(np.abs(np.linalg.det(frames)))
            made = np.array(
                [
                    regularize(shape, side, self.tolerance_m)
                    for shape, side in zip(flat, pixel, strict=True)
                ],
                object,
            )
        return on_grain(moved(made, back))

    def partitioned(
        self,
        parts: Parts,
        outlines: NDArray[np.object_],
        pieces: NDArray[np.object_],
        owner: NDArray[np.int64],
    ) -> NDArray[np.object_]:
        """Give the pieces of parts their outlines, walls in common (all in pixels)."""
        made = outlines[owner]
        if self.regularity == "none":
            return pieces
        frames, middle = self.frames(parts.shapes), centres(parts.shapes)
        for part in np.flatnonzero(np.bincount(owner, minlength=len(outlines)) > 1):
            frame, mine = frames[part], np.flatnonzero(owner == part)
            # Both in pixels, where lines that are one are so to the last bit.
            pixel = np.sqrt(np.abs(np.linalg.det(frame)))
            apart = shapely.coverage_simplify(pieces[mine], 3 * self.tolerance_m / pixel)
            if self.regularity == "rectilinear":
                walls = shared_walls(pieces[mine])
                to_metres = np.column_stack([frame, -frame @ middle[part]])[None]
                back = np.column_stack([np.linalg.inv(frame), middle[part]])[None]
                every = np.array([outlines[part], *pieces[mine], *apart, *walls], object)
                outline, *others = moved(every, to_metres)
                own, simple, walls = np.split(np.array(others, object), [len(mine), 2 * len(mine)])
                apart = moved(partition(outline, own, simple, walls, self.tolerance_m), back)
            made[mine] = on_grain(np.asarray(apart, object))
        return np.asarray(made, object)

    def unmoved(self, traced: Traced) -> Features:
        """Measure and place parts whose outlines stay along the pixels."""
        box = traced.outlines.box
        frames = self._frames_at((box[:, :2] + box[:, 2:]) / 2)
        areas = traced.pixels * np.abs(np.linalg.det(frames))
        large = areas >= self.min_area_m2
        kept = traced.take(large)
        return Features(kept.outlines.placed(self.grid.transform), areas[large], *kept[1:])

    def placed(self, parts: Parts, shapes: NDArray[np.object_]) -> Features:
        """Measure outlines and put them into the CRS; those that are too small are left out."""
        some = np.flatnonzero(shapely.area(shapes) > 0)  # giving way can leave nothing
        areas = shapely.area(shapes[some])
        areas = areas * np.abs(np.linalg.det(self.frames(shapes[some])))
        large = areas >= self.min_area_m2
        kept, areas = some[large], areas[large]
        transform = self.grid.transform
        on_grid = shapely.transform(
            shapes[kept], lambda xy: np.column_stack(transform * (xy[:, 0], xy[:, 1]))
        )
        chosen = parts.take(kept)
        return Features(on_grid, areas, *chosen[1:])


def reach_m(regularity: Regularity, tolerance_m: float, gsd_m: float) -> float:
    """Say how far from its pixels an outline can come to lie, in metres."""
    if regularity == "none":
        return 0.0
    return tolerance_m if regularity == "simplify" else REACH * max(tolerance_m, gsd_m)


@dataclass(frozen=True)
class Shaper:
    """Gives a few parts of a raster their outlines, each by itself; can be sent to a process.

    Attributes
    ----------
    shaping : Shaping
    splitter : Splitter or None
        Parts what is run together.
    """

    shaping: Shaping
    splitter: Splitter | None

    def __call__(
        self, told: tuple[Parts, OpenComponents | None]
    ) -> tuple[Parts, NDArray[np.object_], OpenComponents | None]:
        """Give the parts, or the pieces of them, and their outlines in pixels."""
        parts, still = told
        shapes = self.shaping.shaped(parts.shapes)
        if self.splitter is None:
            return parts, shapes, still
        pieces, owner = self.splitter.split(parts)
        return pieces, self.shaping.partitioned(parts, shapes, pieces.shapes, owner), still


def features(
    ended: Iterable[tuple[Traced | Parts, OpenComponents]],
    shaping: Shaping,
    splitter: Splitter | None = None,
    crew: OrderedPool | None = None,
) -> Iterator[Features]:
    """Shape, settle, measure and place footprints as they come.

    Parameters
    ----------
    ended : iterable of (Traced or Parts, Open)
        As :func:`polygonize` yields them, or with geometries of any kind.
    shaping : Shaping
    splitter : Splitter, optional
        Parts what is run together.
    crew : OrderedPool, optional
        Threads that measure, and they or their helpers shape and part; none by default.

    Yields
    ------
    Features
        None of them lies over another.
    """
    crew = crew or OrderedPool(1)

    def place(told: tuple[Traced | Parts, OpenComponents]) -> Features:
        if isinstance(told[0], Traced):
            return shaping.unmoved(told[0])
        return shaping.placed(told[0], told[0].shapes)

    if splitter is None and shaping.regularity == "none":  # each for itself
        yield from crew.map(place, ended)
        return
    shaped = crew.spread(Shaper(shaping, splitter), _few(ended, shaping, splitter))
    settled = _settled(shaped, shaping)
    yield from crew.map(lambda each: shaping.placed(*each), settled)


def _few(
    ended: Iterable[tuple[Traced | Parts, OpenComponents]],
    shaping: Shaping,
    splitter: Splitter | None,
) -> Iterator[tuple[Parts, OpenComponents | None]]:
    """Give a few large parts at a time; what is still open is told with a strip's last."""
    for strip, still in ended:
        parts = shaping.large(strip.parts() if isinstance(strip, Traced) else strip)
        if splitter is not None:
            splitter.warn_of(parts)
        begins = range(0, max(1, len(parts.shapes)), _AT_ONCE)
        for begin in begins:
            few = parts.take(np.arange(begin, min(begin + _AT_ONCE, len(parts.shapes))))
            yield few, still if begin == begins[-1] else None


def _settled(
    shaped: Iterable[tuple[Parts, NDArray[np.object_], OpenComponents | None]], shaping: Shaping
) -> Iterator[tuple[Parts, NDArray[np.object_]]]:
    """Let those that overlap give way, strip by strip."""
    # Metres are longest in pixels where pixels are smallest; a tenth more for a raster whose
    # pixels are not all of one size on the ground.
    reach_px = 1.1 * shaping.reach_m / shaping.gsd_m + 1
    settle = OverlapResolver(reach_px) if shaping.regularity != "none" else None
    strip: list[tuple[Parts, NDArray[np.object_]]] = []
    for few, some, still in shaped:
        strip.append((few, some))
        if still is None:
            continue
        first, *others = (each for each, _ in strip)
        parts = first.followed_by(*others)
        shapes = np.concatenate([each for _, each in strip])
        strip = []
        if settle is not None:
            parts, shapes = settle.add(parts, shapes, still)
            shapes = whole(shapes)
        yield parts, shapes


def on_grain(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Put outlines in pixels on a lattice so fine that it does not show; keep them whole."""
    return whole(np.asarray(shapely.set_precision(whole(shapes), GRAIN_PX), object))


def whole(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Make shapes valid, and keep the main part of those that came apart."""
    bad = ~shapely.is_valid(shapes)
    shapes[bad] = shapely.make_valid(shapes[bad])
    for place in np.flatnonzero(shapely.get_type_id(shapes) != shapely.GeometryType.POLYGON):
        shapes[place] = _largest(shapes[place])
    return shapes


def _largest(shape: Any) -> Any:
    # A collection can hold several polygons in one member.
    every = shapely.get_parts(shapely.get_parts(shape))
    parts = [part for part in every if part.geom_type == "Polygon"]
    return max(parts, key=lambda part: part.area) if parts else shapely.Polygon()

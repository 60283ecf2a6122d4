"""Footprints from rows of probabilities that arrive strip by strip."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray


@dataclass
class Footprint:
    """One building in pixel coordinates of the whole raster (x right, y down).

    Attributes
    ----------
    shape : shapely.Polygon
        Outline along pixel edges, holes kept.
    pixels : int
        Number of pixels.
    probability_sum : float
        Sum of their probabilities.
    """

    shape: Any
    pixels: int
    probability_sum: float

    @property
    def confidence(self) -> float:
        """Mean probability, 0..1."""
        return self.probability_sum / self.pixels


@dataclass
class _Fragment:
    """The part of a footprint seen so far; it reaches the last row read."""

    shapes: list[Any]
    pixels: int
    probability_sum: float


class StripPolygonizer:
    """Turn strips of probability into footprints, joining what strips cut (4-connected).

    Only footprints that reach the last row read are held, so memory follows their number and not
    the raster. The result does not depend on the height of the strips: labels are joined across
    the border pixel by pixel, and outlines are brought to one normal form.

    Parameters
    ----------
    threshold : float
        Probability from which a pixel belongs to a building.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._row = 0
        self._open: dict[int, _Fragment] = {}
        self._border: NDArray[np.int32] | None = None
        self._next = 1

    def add(self, probability: NDArray[np.float32]) -> Iterator[Footprint]:
        """Take the next rows, (height, width) in 0..1; give the footprints that ended."""
        mask = (probability >= self._threshold).view(np.uint8)
        count, labels = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_32S)
        labels = np.asarray(labels)
        inside = mask.astype(bool)
        used = labels[inside]
        pixels = np.bincount(used, minlength=count)
        sums = np.bincount(used, probability[inside].astype(np.float64), minlength=count)
        shapes: list[list[Any]] = [[] for _ in range(count)]
        down = Affine.translation(0, self._row)
        for shape, label in _outlines(labels, inside, down):
            shapes[label].append(shape)
        fragments = {
            label: _Fragment(shapes[label], int(pixels[label]), float(sums[label]))
            for label in range(1, count)
        }
        if self._border is not None:
            self._join(labels, fragments)
        reaching = set(np.unique(labels[-1]).tolist()) - {0}
        still_open: dict[int, _Fragment] = {}
        names: dict[int, int] = {}
        renamed = np.zeros(count, np.int32)
        for label in sorted(reaching):
            # Labels that were joined share one fragment; they must share one name below, too.
            fragment = fragments[label]
            if id(fragment) not in names:
                names[id(fragment)] = self._next
                still_open[self._next] = fragment
                self._next += 1
            renamed[label] = names[id(fragment)]
        ended = {
            id(f): f for f in [*self._open.values(), *fragments.values()] if id(f) not in names
        }
        self._open = still_open
        self._border = renamed[labels[-1]]
        self._row += len(probability)
        yield from _finish(list(ended.values()))

    def finish(self) -> Iterator[Footprint]:
        """Give the footprints that reach the raster's last row."""
        yield from _finish(list(self._open.values()))
        self._open = {}

    def _join(self, labels: NDArray[np.int32], fragments: dict[int, _Fragment]) -> None:
        """Union-find over the pairs of labels that touch across the border."""
        above, below = self._border, labels[0]
        if above is None:
            return
        touching = (above > 0) & (below > 0)
        pairs = np.unique(np.stack([above[touching], below[touching]]), axis=1).T.tolist()
        parent: dict[tuple[str, int], tuple[str, int]] = {}

        def root(node: tuple[str, int]) -> tuple[str, int]:
            while parent.setdefault(node, node) != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        for upper, lower in pairs:
            parent[root(("above", upper))] = root(("below", lower))
        groups: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for node in list(parent):
            groups.setdefault(root(node), []).append(node)
        for members in groups.values():
            parts = {
                id(f): f
                for side, label in members
                for f in [self._open[label] if side == "above" else fragments[label]]
            }
            merged = _Fragment(
                [shape for part in parts.values() for shape in part.shapes],
                sum(part.pixels for part in parts.values()),
                sum(part.probability_sum for part in parts.values()),
            )
            for side, label in members:
                if side == "above":
                    del self._open[label]
                else:
                    fragments[label] = merged


def _outlines(
    labels: NDArray[np.int32], mask: NDArray[np.bool_], transform: Affine
) -> Iterator[tuple[Any, int]]:
    """Trace regions; polygons are built many at a time, which is far quicker than one by one."""
    found = list(rasterio.features.shapes(labels, mask=mask, connectivity=4, transform=transform))
    rings = [ring for geometry, _ in found for ring in geometry["coordinates"]]
    if not rings:
        return
    points = np.array([point for ring in rings for point in ring], np.float64)
    ring_ends = np.cumsum([0] + [len(ring) for ring in rings])
    shape_ends = np.cumsum([0] + [len(geometry["coordinates"]) for geometry, _ in found])
    shapes = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (ring_ends, shape_ends)
    )
    yield from zip(shapes, (int(label) for _, label in found), strict=True)


def _finish(fragments: list[_Fragment]) -> Iterator[Footprint]:
    """Unite the parts of footprints and bring their outlines to one form.

    Uniting leaves points where strips met, and rings begin anywhere; both would change what a
    simplification makes of it.
    """
    shapes = np.array(
        [
            part.shapes[0] if len(part.shapes) == 1 else shapely.union_all(part.shapes)
            for part in fragments
        ],
        object,
    )
    bad = ~shapely.is_valid(shapes)
    shapes[bad] = shapely.make_valid(shapes[bad])
    # Normal rings begin at a corner, which makes every point left out below one on a straight;
    # the points left out had their part in the order of the holes, hence once more.
    shapes = shapely.normalize(shapes)
    united = np.array([len(part.shapes) > 1 for part in fragments], bool)
    shapes[united] = shapely.normalize(shapely.simplify(shapes[united], 0))
    for shape, part in zip(shapes, fragments, strict=True):
        yield Footprint(shape, part.pixels, part.probability_sum)

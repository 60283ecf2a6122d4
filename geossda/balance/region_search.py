"""Search for the regions of a mosaic that differ in light, whatever their shape.

Cells are merged into regions by the full lambda schedule (Koepfler, Lopez and Morel 1994): those
first whose means differ least for the length of their border. Then borders are judged by how they
differ: light moves shadows and highlights alike and leaves texture as it is, land cover does not.
Between, the regions are refined.
"""

import heapq

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.balance.region_refinement import blurred, refine_regions
from geossda.balance.tone_field import Field, ToneField

# Cells along the side of what is merged at first, regions left for judging, and the smallest
# region, in cells and as a share of all.
_FIRST_CELLS, _MOST_REGIONS, _MIN_CELLS, _MIN_SHARE = 2, 72, 24, 0.015
# Fewest cells of a mosaic, and fewest sides of cells of a border that is judged.
_MIN_KNOWN_CELLS, _MIN_BORDER = 400, 6
# Evidence from which a border is one of light: the clearest of a mosaic, and the others. In mosaics
# of one scene it was up to 4.5.
FIRST_EVIDENCE, FURTHER_EVIDENCE = 5.0, 0.5
# Regions are refined whenever their number is a multiple of this.
_REFINED_EVERY = 8
# Deviation in cells of what is compared on both sides of a border.
_BESIDE_CELLS = 6.0


def find_regions(field: ToneField) -> tuple[NDArray[np.int32], float]:
    """Return the regions of a mosaic that differ in light.

    Parameters
    ----------
    field : ToneField

    Returns
    -------
    labels : (rows, cols) int32 array
        Region of every cell, from 0 without gaps; -1 where unknown. All 0 where there is one.
    evidence : float
        Of the clearest border, whether there are several regions or not; -inf without any.
    """
    known = field.known
    one = np.where(known, 0, -1).astype(np.int32)
    if known.sum() < _MIN_KNOWN_CELLS:
        return one, -np.inf
    labels = _merged(field)
    labels = _without_small(labels, field, max(_MIN_CELLS, int(_MIN_SHARE * known.sum())))
    strongest = -np.inf
    while True:
        judged = _judge(labels, field)
        if not judged:
            return one, strongest
        (first, second), evidence = min(judged.items(), key=lambda pair: (pair[1], pair[0]))
        if evidence >= FURTHER_EVIDENCE:
            break
        strongest = max(judged.values())
        labels = _renumbered(np.where(labels == second, first, labels))
        if (labels.max() + 1) % _REFINED_EVERY == 0:
            labels = refine_regions(labels, field)
    strongest = max(judged.values())
    if strongest < FIRST_EVIDENCE:
        return one, strongest
    return refine_regions(labels, field), strongest


def explained_share(labels: NDArray[np.int32], field: ToneField) -> float:
    """Return the share of the variance of tones that is between regions.

    Parameters
    ----------
    labels : (rows, cols) int32 array
        Region of every cell.
    field : ToneField
    """
    inside = labels[field.known]
    count = np.maximum(np.bincount(inside), 1)
    tones = field.tones[:, field.known]
    means = np.stack([np.bincount(inside, each) for each in tones], 1) / count[:, None]
    total = float(((tones - tones.mean(1, keepdims=True)) ** 2).sum())
    between = (count[:, None] * (means - tones.mean(1)) ** 2)[np.bincount(inside) > 0].sum()
    return float(between / max(total, 1e-9))


def _merged(field: ToneField) -> NDArray[np.int32]:
    """Merge cells into regions by the full lambda schedule."""
    known = field.known
    rows, cols = (np.indices(known.shape) // _FIRST_CELLS)[:, known]
    _, first = np.unique(rows * known.size + cols, return_inverse=True)
    labels = np.full(known.shape, -1, np.int32)
    labels[known] = first
    size = int(first.max()) + 1
    count = np.bincount(first, minlength=size).astype(float)
    sums = np.stack([np.bincount(first, each[known], size) for each in field.tones], 1)
    beside: list[dict[int, int]] = [{} for _ in range(size)]
    for (one, other), length in _border_lengths(labels).items():
        beside[one][other] = beside[other][one] = length
    version, root = [0] * size, np.arange(size)
    heap: list[tuple[float, int, int, int, int]] = []

    def offer(one: int, other: int) -> None:
        one, other = min(one, other), max(one, other)
        apart = sums[one] / count[one] - sums[other] / count[other]
        shared = count[one] * count[other] / (count[one] + count[other])
        cost = float(shared * (apart @ apart) / beside[one][other])
        heapq.heappush(heap, (cost, one, other, version[one], version[other]))

    for one in range(size):
        for other in beside[one]:
            if one < other:
                offer(one, other)
    left = size
    while heap and left > _MOST_REGIONS:
        _, one, other, *seen = heapq.heappop(heap)
        if seen != [version[one], version[other]]:
            continue
        left, version[other], root[other] = left - 1, -1, one
        version[one] += 1
        count[one] += count[other]
        sums[one] += sums[other]
        for third, length in beside[other].items():
            del beside[third][other]
            if third != one:
                beside[one][third] = beside[third][one] = beside[one].get(third, 0) + length
        for third in beside[one]:
            offer(one, third)
    while (root[root] != root).any():
        root = root[root]
    labels[known] = root[first]
    return _renumbered(labels)


def _without_small(labels: NDArray[np.int32], field: ToneField, least: int) -> NDArray[np.int32]:
    """Merge regions of fewer cells than `least` with the neighbour whose tones are the nearest."""
    while True:
        count = np.bincount(labels[field.known])
        small = int(count.argmin())
        if count[small] >= least or len(count) == 1:
            return labels
        inside = labels == small
        beside = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        around = np.unique(labels[beside & ~inside & field.known])
        if len(around) == 0:  # an island
            around = np.delete(np.arange(len(count)), small)
        own = field.tones[:, inside].mean(1)
        away = [((field.tones[:, labels == one].mean(1) - own) ** 2).sum() for one in around]
        labels = _renumbered(np.where(inside, around[int(np.argmin(away))], labels))


def _judge(labels: NDArray[np.int32], field: ToneField) -> dict[tuple[int, int], float]:
    """Return the evidence that a border is one of light, for every pair of regions.

    It is the mean of that of whole regions, which chance moves least, and of that of what lies
    beside the border, which is of like land cover.
    """
    known = field.known
    inside = labels[known]
    count = np.bincount(inside).astype(float)

    def means_of(values: Field) -> NDArray[np.float64]:
        sums = [np.bincount(inside, each[known]) for each in values]
        return np.asarray(np.stack(sums, 1) / count[:, None])

    means = [means_of(values) for values in field[:4]]
    power = np.bincount(inside, (field.tones[:, known] ** 2).mean(0)) / count
    spread = np.log(np.maximum(power - (means[0] ** 2).mean(1), 1e-9))
    judged = {}
    for (one, other), length in _border_lengths(labels).items():
        if length < _MIN_BORDER:
            continue
        shared = count[one] * count[other] / (count[one] + count[other])
        known_of_both = np.log(min(count[one], count[other]) / count.sum()) - 1.5 * abs(
            spread[one] - spread[other]
        )
        whole = [float(((each[one] - each[other]) ** 2).mean()) for each in means]
        beside = _differences_beside(labels, one, other, field)
        evidence = [_evidence(each, shared / length) for each in (whole, beside)]
        judged[one, other] = float(known_of_both + np.mean(evidence))
    return judged


def _evidence(differences: list[float], cells: float) -> float:
    """Return how much differences speak for light, and not for land cover.

    Parameters
    ----------
    differences : list of float
        Mean squares of those of tones, texture, shadows and highlights.
    cells : float
        Cells that tell of the difference, for each side of a cell of the border.
    """
    tones, texture, shadows, highlights = differences
    return float(
        np.log(cells * tones + 0.05)
        - 2.4 * np.log(texture + 0.01)
        + 1.5 * (np.log(shadows + 0.05) + np.log(highlights + 0.05))
    )


def _differences_beside(
    labels: NDArray[np.int32], one: int, other: int, field: ToneField
) -> list[float]:
    """Return the mean squared differences between what lies on both sides of a border."""
    sides = [labels == one, labels == other]
    dilated = [cv2.dilate(side.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for side in sides]
    touching = (dilated[0] & sides[1]) | (dilated[1] & sides[0])
    rows, cols = np.nonzero(touching)
    far = int(3 * _BESIDE_CELLS)
    part = np.s_[
        max(0, rows.min() - far) : rows.max() + far + 1,
        max(0, cols.min() - far) : cols.max() + far + 1,
    ]
    near = blurred(touching[part].astype(np.float32), _BESIDE_CELLS)
    first, second = (near * side[part] for side in sides)
    weights = first / max(float(first.sum()), 1e-9) - second / max(float(second.sum()), 1e-9)
    return [
        float((np.tensordot(values[:, part[0], part[1]], weights, 2) ** 2).mean())
        for values in field[:4]
    ]


def _border_lengths(labels: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """Return the length of the border between regions, in sides of cells."""
    pairs = []
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        differ = (one != other) & (one >= 0) & (other >= 0)
        pairs.append(np.stack([one[differ], other[differ]]))
    both = np.sort(np.concatenate(pairs, 1), axis=0)
    pair, length = np.unique(both, axis=1, return_counts=True)
    return dict(zip(map(tuple, pair.T.tolist()), length.tolist(), strict=True))


def _renumbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return labels numbered from 0 without gaps; -1 stays."""
    numbers, place = np.unique(labels, return_inverse=True)
    return np.asarray(place.reshape(labels.shape) - int(numbers[0] < 0), np.int32)

"""Watershed from markers (Meyer 1994), on the pixels of a mask."""

import numpy as np
from numpy.typing import NDArray

# Half the memory of intp, and enough: four times a rank has to fit in.
_Places = NDArray[np.int32]
# Stands in for the height of a neighbour that is missing; above all ranks.
_NONE = 2**28


def flood(
    surface: NDArray[np.float32], markers: NDArray[np.int32], mask: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return the watershed of a surface from markers.

    Each pixel gets the label of the water that reaches it first. The order in which a priority
    queue would reach the pixels is computed for all of them at once. A pixel is reached at its pass
    height, the least height that a path to a marker has to climb over: its own height, or that of
    the sill of the hollow it lies in. Its label is that of its neighbour with the lowest pass
    height, and in a hollow that of the sill.

    Parameters
    ----------
    surface : (rows, cols) float32 array
    markers : (rows, cols) int32 array
        Labels from 1 where water rises; 0 elsewhere.
    mask : (rows, cols) bool array
        Which pixels are flooded, through sides that they share.

    Returns
    -------
    (rows, cols) int32 array
        0 outside the mask, and where no marker reaches. On level ground the nearest marker has a
        pixel, and of several as near the one that is lower, or comes first in the array.
    """
    labels = np.zeros(mask.shape, np.int32)
    given = markers[mask]
    if not given.any():
        return labels
    near = _neighbours(mask)
    height = _ranks(surface[mask], near, given > 0)
    lowest = _lowest(height, near)
    places = np.arange(len(given), dtype=np.int32)
    stays = (given > 0) | (height[lowest] > height)
    basin = _ends(np.where(stays, places, lowest))
    passes = np.maximum(height, _sills(height, near, basin, given > 0)[basin])
    passes = np.where(given > 0, height, passes)
    dry = passes > len(given)
    # Heights are ranks, all different, so each tells its pixel.
    pixel_at = np.empty(len(given), np.int32)
    pixel_at[height] = places
    sill = pixel_at[np.where(dry, height, passes)]
    down = np.where(passes > height, sill, _lowest(passes, near))
    labels[mask] = np.where(dry, 0, given[_ends(np.where((given > 0) | dry, places, down))])
    return labels


def _neighbours(mask: NDArray[np.bool_]) -> _Places:
    """Return the places of the four neighbours of each pixel in the mask, (4, n); n for none."""
    count = int(mask.sum())
    numbers = np.full((mask.shape[0] + 2, mask.shape[1] + 2), count, np.int32)
    numbers[1:-1, 1:-1][mask] = np.arange(count)
    sides = numbers[:-2, 1:-1], numbers[1:-1, :-2], numbers[1:-1, 2:], numbers[2:, 1:-1]
    return np.stack([side[mask] for side in sides])


def _ranks(values: NDArray[np.float32], near: _Places, marked: NDArray[np.bool_]) -> _Places:
    """Return the rank of each pixel by height; on level ground by its way to lower ground."""
    count = len(values)
    around = np.append(values, np.float32(np.inf))[near]
    level = around == values
    if not level.any():
        order = np.argsort(values)
    else:
        away = np.where(marked | (around < values).any(axis=0), 0, count)
        waiting = np.flatnonzero((away == count) & level.any(axis=0))
        while len(waiting):
            steps = np.where(level[:, waiting], np.append(away, count)[near[:, waiting]], count)
            nearest = steps.min(axis=0)
            reached = nearest < count
            if not reached.any():
                break
            away[waiting[reached]] = nearest[reached] + 1
            waiting = waiting[~reached]
        order = np.lexsort((np.arange(count), away, values))
    ranks = np.empty(count, np.int32)
    ranks[order] = np.arange(count)
    return ranks


def _lowest(height: _Places, near: _Places) -> _Places:
    """Return the lowest neighbour of each pixel; the pixel itself if it has none."""
    count = len(height)
    # The least of height and side in one number is found several times as fast as where it is.
    padded = 4 * np.append(height, np.int32(_NONE))
    least = padded[near[0]]
    for side in (1, 2, 3):
        np.minimum(least, padded[near[side]] + np.int32(side), out=least)
    places = np.arange(count, dtype=np.int32)
    lowest = near.ravel()[(least & 3) * np.intp(count) + places]
    return np.where(least >= 4 * _NONE, places, lowest)


def _ends(down: _Places) -> _Places:
    """Return where each pixel ends up that follows the places of the next ones."""
    while True:
        further = down[down]
        if np.array_equal(further, down):
            return down
        down = further


def _sills(height: _Places, near: _Places, basin: _Places, marked: NDArray[np.bool_]) -> _Places:
    """Return the height over which water comes into each hollow, by its lowest pixel.

    Parameters
    ----------
    height : (n,) int array
    near : (4, n) int array
    basin : (n,) int array
        Lowest pixel of the hollow of each pixel, or its marker's pixel.
    marked : (n,) bool array

    Returns
    -------
    (n,) int array
        -1 at markers, more than n where no water comes; of no meaning elsewhere.
    """
    count = len(height)
    sills = np.full(count, -1, np.int32)
    dry = np.flatnonzero((basin == np.arange(count)) & ~marked)
    if not len(dry):
        return sills
    sills[dry] = count + 1
    # Markers are one basin: water stands in all of them.
    number = np.zeros(count, np.int32)
    number[dry] = np.arange(1, len(dry) + 1)
    own = number[basin]
    # Pairs across a border between basins: those below and to the right of each pixel.
    beyond = np.append(own, np.int32(-1))[near[2:]]
    side, first = np.nonzero((beyond != own) & (beyond >= 0))
    second = near[2 + side, first]
    saddle = np.maximum(height[first], height[second])
    low, high = np.sort(np.stack([own[first], own[second]]), axis=0)
    order = np.argsort(saddle)
    _, earliest = np.unique((low * (len(dry) + 1) + high)[order], return_index=True)
    edges = order[np.sort(earliest)]
    members = {index: [index] for index in range(1, len(dry) + 1)}
    group = list(range(len(dry) + 1))
    for one, other, level in zip(
        low[edges].tolist(), high[edges].tolist(), saddle[edges].tolist(), strict=True
    ):
        keep, join = sorted((group[one], group[other]))
        if keep == join:
            continue
        if keep and len(members[keep]) < len(members[join]):
            keep, join = join, keep
        moved = members.pop(join)
        for index in moved:
            group[index] = keep
        if keep:
            members[keep] += moved
        else:
            sills[dry[np.array(moved) - 1]] = level
    return sills

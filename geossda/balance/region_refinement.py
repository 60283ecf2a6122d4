"""Regions of cells refined so that every cell is in the region whose tones near it are its own.

Means over a whole region mix its land covers; means of what lies near a cell do so less (localized
regions: Lankton and Tannenbaum 2008). Costs are smoothed and the cheapest region is taken, cell by
cell, again and again, which shortens borders too (threshold dynamics: Esedoglu and Otto 2015).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.balance.tone_field import Field, ToneField

# Deviation in cells of what is near, and least share of it that a region must have.
_NEAR_CELLS, _MIN_NEAR_SHARE = 8.0, 0.02
# Deviation in cells over which costs are smoothed, and cost of a border.
_SMOOTHED_CELLS, _BORDER_COST = 1.5, 0.5
# Rounds at most, and share of the cells that change below which it ends.
_ROUNDS, _SETTLED = 6, 1e-3


def refine_regions(labels: NDArray[np.int32], field: ToneField) -> NDArray[np.int32]:
    """Return regions whose cells have the tones of their region near them.

    Parameters
    ----------
    labels : (rows, cols) int32 array
        Region of every cell, from 0; -1 where unknown.
    field : ToneField

    Returns
    -------
    (rows, cols) int32 array
        From 0 without gaps; regions that are left without cells are gone.
    """
    known = field.known
    whole = np.maximum(blurred(known.astype(np.float32), _SMOOTHED_CELLS), 1e-6)
    power = (field.tones**2).mean(0)
    for _ in range(_ROUNDS):
        best, lowest = labels, np.full(labels.shape, np.inf, np.float32)
        for label in range(int(labels.max()) + 1):
            cost = _cost(labels == label, field, power, whole)
            best, lowest = np.where(cost < lowest, label, best), np.minimum(cost, lowest)
        best = np.where(known, best, -1).astype(np.int32)
        changed = float((best != labels)[known].mean())
        labels = best
        if changed < _SETTLED:
            break
    numbers, place = np.unique(labels[known], return_inverse=True)
    numbered = np.full(labels.shape, -1, np.int32)
    numbered[known] = np.arange(len(numbers))[place]
    return numbered


def blurred(values: Field, cells: float) -> Field:
    """Return a Gaussian blur of `values`, 0 beyond the edges.

    Parameters
    ----------
    values : (rows, cols) float32 array
    cells : float
        Its deviation.
    """
    return np.asarray(
        cv2.GaussianBlur(values, (0, 0), cells, borderType=cv2.BORDER_CONSTANT), np.float32
    )


def _cost(inside: NDArray[np.bool_], field: ToneField, power: Field, whole: Field) -> Field:
    """Return what it costs every cell to be in a region; inf where none of it is near."""
    own = inside.astype(np.float32)
    near = blurred(own, _NEAR_CELLS)
    mean = np.stack([blurred(tone * own, _NEAR_CELLS) for tone in field.tones])
    mean /= np.maximum(near, 1e-6)
    away = power - 2 * (mean * field.tones).mean(0) + (mean**2).mean(0)
    away = blurred(np.where(field.known, away, 0).astype(np.float32), _SMOOTHED_CELLS)
    cost = (away - _BORDER_COST * blurred(own, _SMOOTHED_CELLS)) / whole
    return np.where(near > _MIN_NEAR_SHARE, cost, np.inf)

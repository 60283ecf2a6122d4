"""One shift for each group of footprints: what fits it, and what its neighbours have."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.registration.correlation import ShiftScores

# Groups whose best contrast is lower show no building to be aligned with.
_LEAST_CONTRAST = 0.2
# Of a group and its neighbours, those that must show a building where they are shifted to.
_LEAST_SHARE = 0.5
# Nearest groups that a group's shift is held alike to.
_NEIGHBOURS = 8
# Square metres of footprint whose contrast of 1 weighs as much as 1 of the pairwise term.
_AREA_M2 = 1.0
# Metres between neighbours' shifts that count 1/2 in it, and those from which it grows linearly.
_ALIKE_M, _LINEAR_M = 0.3, 1.5
_PASSES = 20
# Groups computed at a time, which bounds memory.
_BATCH = 256


def solve_shifts(
    scores: ShiftScores, centres: NDArray[np.float64], gsd_m: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Choose the shifts that fit the probabilities best and are like those of neighbours.

    A Markov random field over the groups (Vargas-Munoz, Lobry, Falcao and Tuia 2019): the unary
    term is the contrast times the area of a group, the pairwise term a Huber function of the
    difference between the shifts of near groups. Its posterior is maximized by iterated
    conditional modes (Besag 1986), beginning from the shift that the nearest groups fit best at
    together. Groups that show no building follow their neighbours.

    Parameters
    ----------
    scores : ShiftScores
        Of n groups.
    centres : (n, 2) float array
        Column and row of the groups.
    gsd_m : float
        Ground sample distance of a pixel, in metres.

    Returns
    -------
    shifts : (n, 2) float64 array
        Pixels to the right and down; 0 for groups out of sight. Of groups at the border of the
        search, the border itself.
    trusted : (n,) bool array
        Whether at least half of a group and its neighbours show a building where they are shifted
        to: if the true shift is beyond the search, or nothing is built, few do.
    """
    shifts, trusted = np.zeros((len(centres), 2)), np.zeros(len(centres), bool)
    seen = np.flatnonzero(scores.area_px > 0)
    best = scores.contrast[seen].max(axis=(1, 2), initial=0)
    weights = scores.area_px[seen] * gsd_m**2 / _AREA_M2 * (best >= _LEAST_CONTRAST)
    if weights.any():
        near = nearest(centres[seen], _NEIGHBOURS)
        shifts[seen] = _Field(scores, seen, weights, near, gsd_m).solved()
        shows = scores.at(shifts)[seen] >= _LEAST_CONTRAST
        everyone = np.column_stack([np.arange(len(seen)), near])
        trusted[seen] = shows[everyone].mean(axis=1) >= _LEAST_SHARE
    return shifts, trusted


def nearest(points: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the nearest other points of each point, (n, at most `count`), the nearest first.

    Parameters
    ----------
    points : (n, 2) float array
    count : int
    """
    count = min(count, len(points) - 1)
    if count < 1:
        return np.zeros((len(points), 0), np.int64)
    centred = (points - points.mean(axis=0)).astype(np.float32)
    exact = {"algorithm": 4}  # a single k-d tree
    # OpenCV's stubs leave it out.
    index: Any = cv2.flann_Index(centred, exact)  # type: ignore[attr-defined]
    rows, _ = index.knnSearch(centred, count + 1, params={})
    # A point is its own nearest, unless another lies at the same place.
    own = rows == np.arange(len(points))[:, None]
    own[~own.any(axis=1), -1] = True
    return np.asarray(rows[~own].reshape(len(points), count), np.int64)


class _Field:
    """The shifts of groups in sight, as places in the flat array of a group's scores."""

    def __init__(
        self,
        scores: ShiftScores,
        groups: NDArray[np.int64],
        weights: NDArray[np.float64],
        near: NDArray[np.int64],
        gsd_m: float,
    ) -> None:
        self._scores, self._groups, self._near = scores, groups, near
        self._weights = weights.astype(np.float32)
        self._side = scores.contrast.shape[1]
        self._penalties = _penalties(scores.radius, gsd_m)

    def solved(self) -> NDArray[np.float64]:
        places = self._first()
        changed = np.ones(len(places), bool)
        # Neighbours that change at once could swap their shifts for ever.
        turn = np.arange(len(places)) % 2
        for step in range(2 * _PASSES):
            due = np.flatnonzero((turn == step % 2) & (changed | changed[self._near].any(axis=1)))
            changed[turn == step % 2] = False
            for batch in _batches(due):
                fresh = self._posterior(batch, places).argmax(axis=1)
                changed[batch] = fresh != places[batch]
                places[batch] = fresh
            if not changed.any():
                break
        return np.concatenate(
            [
                self._refined(self._posterior(batch, places), places[batch])
                for batch in _batches(np.arange(len(places)))
            ]
        )

    def _weighted(self, which: NDArray[np.int64]) -> NDArray[np.float32]:
        contrast = self._scores.contrast[self._groups[which]].astype(np.float32)
        return contrast.reshape(len(which), self._side**2) * self._weights[which][:, None]

    def _first(self) -> NDArray[np.int64]:
        """Return the shift that each group and the groups around it fit best at together."""
        places = np.empty(len(self._groups), np.int64)
        for batch in _batches(np.arange(len(places))):
            total = self._weighted(batch)
            for neighbour in self._near[batch].T:
                total += self._weighted(neighbour)
            places[batch] = total.argmax(axis=1)
        return places

    def _posterior(
        self, which: NDArray[np.int64], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return log posteriors of groups at every shift, given their neighbours' shifts."""
        posterior = self._weighted(which)
        near = self._near[which]
        for neighbour in near.T:
            posterior -= self._penalties[places[neighbour]] / near.shape[1]
        return posterior

    def _refined(
        self, posterior: NDArray[np.float32], places: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return shifts in pixels, refined by parabolas through the posteriors beside them."""
        side, radius = self._side, self._scores.radius
        rows, cols = np.divmod(places, side)
        each = np.arange(len(places))
        squares = np.pad(
            posterior.reshape(-1, side, side).astype(np.float64), ((0, 0), (1, 1), (1, 1)), "edge"
        )
        middle = squares[each, rows + 1, cols + 1]
        shift = np.stack([cols, rows], axis=1) - float(radius)
        for axis, (down, right) in enumerate(((0, 1), (1, 0))):
            after = squares[each, rows + 1 + down, cols + 1 + right]
            before = squares[each, rows + 1 - down, cols + 1 - right]
            bend = 2 * middle - before - after
            inner = np.abs(shift[:, axis]) < radius
            step = np.where(bend > 0, (after - before) / np.where(bend > 0, 2 * bend, 1), 0)
            shift[:, axis] += np.clip(step, -0.5, 0.5) * inner
        return shift


def _batches(which: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.split(which, range(_BATCH, len(which), _BATCH))


def _penalties(radius: int, gsd_m: float) -> NDArray[np.float32]:
    """Return the smoothness term between every two shifts, (shifts, shifts)."""
    steps = np.arange(-radius, radius + 1) * gsd_m
    y, x = (each.ravel() for each in np.meshgrid(steps, steps, indexing="ij"))
    apart = np.hypot(x[:, None] - x, y[:, None] - y).astype(np.float32)
    linear = _LINEAR_M * (apart - _LINEAR_M / 2)
    return np.asarray(np.where(apart < _LINEAR_M, apart**2 / 2, linear) / _ALIKE_M**2, np.float32)

"""Width over which a mosaic's scenes are feathered into each other, estimated from its borders.

Across a hard border tones step between two neighbouring pixels, across a feathered one little by
little. The width is the one with which the steps of all borders together are the most likely, given
how much the ground itself changes over the same distances.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geossda.balance.profiles import Profile

# Ends of the shells around a border, in pixels from it, and the most pixels averaged at an end.
_ENDS_PX = (0, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192)
_AVERAGED_PX = 16
# Widths that are distinguished; 0 is a hard border.
WIDTHS_PX = (0, 16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384)
# Logarithm of the likelihood ratio from which a border is unlike the others.
_UNLIKE = 6.0
# Most that one border says of the width, as such a logarithm: what is between its profiles is not
# independent, and the clearest border would decide alone.
_MOST_SAID = 15.0
_ROUNDS = 4
_TONES = 3


def _ramps() -> NDArray[np.float64]:
    """Return the share of the step that every shell takes, for every width, (widths, shells)."""
    near = np.array(_ENDS_PX)
    count = np.minimum(np.diff(near, append=near[-1] + _AVERAGED_PX), _AVERAGED_PX)
    distance = np.where(near > 0, 2 * near + count, 1)
    widths = np.maximum(np.array(WIDTHS_PX), 1)
    return np.diff(np.minimum(1, distance / widths[:, None]), axis=1, prepend=0.0)


_RAMPS = _ramps()


def measure_changes(profiles: Sequence[Profile]) -> NDArray[np.float64]:
    """Measure how tones change with the distance between the two sides of a border.

    Parameters
    ----------
    profiles : sequence of Profile
        Across one border, as wide as :data:`REACH_PX` on either side.

    Returns
    -------
    (profiles, tones, shells) float64 array
        What is added to the step from each shell to the next; NaN where unknown.
    """
    return np.stack([_changes(profile) for profile in profiles])


def estimate_feathers(changes: Sequence[NDArray[np.float64]]) -> list[int]:
    """Estimate over how many pixels every border is feathered.

    All feathered borders of a mosaic have one width. A border is taken as hard or feathered as the
    others are, unless its own profiles clearly say otherwise.

    Parameters
    ----------
    changes : sequence of (profiles, tones, shells) arrays
        Of every border, as :func:`measure_changes` returns them.

    Returns
    -------
    list of int
        Width of each border in pixels; 0 if it is hard.
    """
    if not changes:
        return []
    ground = _ground(changes)
    gains = np.stack([_gains(each, ground) for each in changes])  # (borders, widths)
    said = gains * np.minimum(1, _MOST_SAID / np.maximum(gains.max(1, keepdims=True), 1e-9))
    widest = np.full(len(gains), int(gains.sum(0).argmax()))
    for _ in range(_ROUNDS):
        soft = widest > 0
        # Of the feathered ones, if there are any, and of those that could be.
        width = 1 + int(said[soft if soft.any() else slice(None)].sum(0)[1:].argmax())
        mostly = int(gains[:, width].sum() > gains[:, 0].sum())
        margin = gains[:, width] - gains[:, 0]
        hard = margin < (-_UNLIKE if mostly else _UNLIKE)
        widest = np.where(hard, 0, width)
    return [WIDTHS_PX[int(each)] for each in widest]


def _changes(profile: Profile) -> NDArray[np.float64]:
    """Return how tones change from shell to shell on both sides, (tones, shells)."""
    tones = _tones(profile)
    middle = tones.shape[1] // 2
    steps = []
    for near, far in zip(_ENDS_PX, (*_ENDS_PX[1:], _ENDS_PX[-1] + _AVERAGED_PX), strict=True):
        count = min(far - near, _AVERAGED_PX) if near else 1
        right = tones[:, middle + near : middle + near + count]
        left = tones[:, middle - near - count : middle - near]
        steps.append(_mean(right) - _mean(left))
    return np.diff(np.array(steps).T, axis=1, prepend=0.0)


def _tones(profile: Profile) -> NDArray[np.float64]:
    """Compute mean, dark and bright values of every band at every distance from a border.

    Returns
    -------
    (3 * bands, 2 * reach) array
        NaN where less than half of the pixels are valid.
    """
    valid = profile.valid
    count = valid.sum(0)
    values = np.where(valid, profile.pixels, 0).astype(np.float32)
    mean = values.sum(1) / np.maximum(count, 1)
    filled = np.where(valid, values, mean[:, None])
    dark, bright = np.quantile(filled, [0.1, 0.9], axis=1)
    return np.where(count * 2 > len(valid), np.concatenate([mean, dark, bright]), np.nan)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the finite values of every row; NaN where there are none."""
    known = np.isfinite(values)
    count = known.sum(1)
    total = np.where(known, values, 0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ground(changes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the variance between the profiles of a border, of all borders, (tones, shells)."""
    squares, count = np.zeros(changes[0].shape[1:]), np.zeros(changes[0].shape[1:])
    for of_border in changes:
        known = np.isfinite(of_border)
        number = known.sum(0)
        mean = np.where(known, of_border, 0).sum(0) / np.maximum(number, 1)
        squares += np.where(known, (of_border - mean) ** 2, 0).sum(0)
        count += np.maximum(number - 1, 0)
    return np.asarray((squares + 1e-6) / np.maximum(count, 1))


def _gains(changes: NDArray[np.float64], ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log of the likelihood ratio of every width to no step at all, (widths,)."""
    known = np.isfinite(changes)
    weight = known.sum(0) / ground
    mean = np.where(known, changes, 0).sum(0) / np.maximum(known.sum(0), 1)
    # Mean, dark and bright values of a band go together.
    independent = len(mean) / _TONES
    gains = []
    for shares in _RAMPS:
        along = (weight * mean * shares).sum(1) ** 2
        gains.append((along / np.maximum((weight * shares**2).sum(1), 1e-12)).mean())
    return np.array(gains) * independent / 2

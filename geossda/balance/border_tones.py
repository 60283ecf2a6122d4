"""Tones of scenes on both sides of their borders, and the width of feathered borders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.balance.feather_width import estimate_feathers, measure_changes
from geossda.balance.profiles import Profile, read_profiles
from geossda.balance.scenes import Scenes, SharedBorder
from geossda.balance.tone_curves import QUANTILES, Border
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.windows import Window

# Width of the profiles on either side of a border, in pixels.
_REACH_PX = 320
# Width in pixels of the stripe compared on either side of a hard and of a feathered border: next to
# a hard one the ground is the same.
_HARD_STRIPE_PX, _FEATHERED_STRIPE_PX = 4, 64
# Shortest border that is measured, and fewest pixels of a section of it, on either side.
_MIN_LENGTH_PX, _MIN_SECTION_PX = 100, 100


def measure_borders(
    mosaic: Mosaic,
    scenes: Scenes,
    limits: tuple[float, float],
    *,
    progress: Progress = SILENT,
) -> tuple[list[Border], dict[tuple[int, int], int]]:
    """Measure both sides of every border between scenes.

    Parameters
    ----------
    mosaic : Mosaic
        A mosaic of one source.
    scenes : Scenes
    limits : (float, float)
        Values taken as 0 and 1.
    progress : Progress

    Returns
    -------
    borders : list of Border
        Those long enough to be measured.
    feathers : dict
        For pairs of scenes with a feathered border, its width in pixels.
    """
    shared = scenes.borders(mosaic.shape)
    progress.stage("balancing scenes", 2 * len(shared))
    visible, changes = [], []
    for border in shared:
        profiles = _profiles(mosaic, border, scenes)
        progress.advance()
        if profiles:
            visible.append(border)
            changes.append(measure_changes(profiles))
    widths = estimate_feathers(changes)
    borders = []
    # Read again: the profiles of all borders together would take gigabytes.
    for border, width in zip(visible, widths, strict=True):
        profiles = _profiles(mosaic, border, scenes)
        borders.append(_measure_border(profiles, border, width, limits))
        progress.advance()
    feathers = {
        (border.first, border.second): width
        for border, width in zip(visible, widths, strict=True)
        if width
    }
    return [border for border in borders if border is not None], feathers


def _profiles(mosaic: Mosaic, border: SharedBorder, scenes: Scenes) -> list[Profile]:
    profiles = read_profiles(mosaic, border.line, _REACH_PX)
    oriented = [orient(profile, border, scenes) for profile in profiles]
    return [profile for profile in oriented if profile.valid.any()]


def orient(profile: Profile, border: SharedBorder, scenes: Scenes) -> Profile:
    """Turn a profile so that the first scene is on its left, and mask other scenes.

    Parameters
    ----------
    profile : Profile
    border : SharedBorder
        Border of the two scenes.
    scenes : Scenes

    Returns
    -------
    Profile
    """
    top, left = int(profile.rows.min()), int(profile.cols.min())
    bottom, right = int(profile.rows.max()) + 1, int(profile.cols.max()) + 1
    window = Window(top, left, bottom - top, right - left)
    labels = scenes.labels(window)[profile.rows - top, profile.cols - left]
    middle = labels.shape[1] // 2
    front, back = labels[:, :middle], labels[:, middle:]
    if (front == border.second).sum() + (back == border.first).sum() > (
        (front == border.first).sum() + (back == border.second).sum()
    ):
        labels = labels[:, ::-1]
        profile = Profile(
            profile.pixels[:, :, ::-1],
            profile.valid[:, ::-1],
            profile.rows[:, ::-1],
            profile.cols[:, ::-1],
        )
    wanted = np.repeat([border.first, border.second], middle)
    return profile._replace(valid=profile.valid & (labels == wanted))


def _measure_border(
    profiles: Sequence[Profile], border: SharedBorder, width: int, limits: tuple[float, float]
) -> Border | None:
    """Measure the tones of both sides, section by section, beyond the feathered width."""
    gap = min(width * 3 // 4, _REACH_PX - _FEATHERED_STRIPE_PX)
    stripe = _HARD_STRIPE_PX
    if width:
        stripe = min(max(_FEATHERED_STRIPE_PX, width // 2), _REACH_PX - gap)
    middle = profiles[0].valid.shape[1] // 2
    low, high = limits
    front, back = middle - gap - stripe, middle + gap
    fewest = min(
        sum(_count_valid(profile, start, stripe) for profile in profiles) for start in (front, back)
    )
    # At the same distance but on the same side of the border: differences of the ground itself.
    apart = 2 * gap + stripe
    ahead, behind = max(0, front - apart), min(2 * middle - stripe, back + apart)
    tones = np.stack(
        [
            [_quantiles(profile, at, stripe) for at in (ahead, front, back, behind)]
            for profile in profiles
        ]
    )
    tones = (_without_clipped(tones, profiles[0].pixels.dtype) - low) / (high - low)
    tones = np.where((tones >= 0) & (tones <= 1), tones, np.nan)
    ground = np.concatenate([tones[:, 1] - tones[:, 0], tones[:, 2] - tones[:, 3]])
    sides = tones[:, 1:3]
    known = np.asarray(np.isfinite(sides).all(axis=1))
    sides = sides[known.any(axis=(1, 2))]
    if fewest < _MIN_LENGTH_PX * stripe or not np.isfinite(ground).any() or len(sides) == 0:
        return None
    length = float(np.mean([len(profile.valid) for profile in profiles]))
    return Border(border.first, border.second, sides, ground, width, length)


def _count_valid(profile: Profile, start: int, stripe: int) -> int:
    return int(profile.valid[:, start : start + stripe].sum())


def _quantiles(profile: Profile, start: int, stripe: int) -> NDArray[np.float64]:
    """Compute the quantiles of some columns, (bands, quantiles); NaN if few pixels are valid."""
    columns = slice(start, start + stripe)
    values = profile.pixels[:, :, columns][:, profile.valid[:, columns]].astype(np.float32)
    if values.shape[1] < _MIN_SECTION_PX:
        return np.full((len(values), len(QUANTILES)), np.nan)
    return np.asarray(np.quantile(values, QUANTILES, axis=1, method="hazen").T)


def _without_clipped(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Replace values at an end of an integer type by NaN: they may be clipped."""
    if dtype.kind not in "ui":
        return values
    ends = np.iinfo(dtype)
    return np.where((values > ends.min + 1) & (values < ends.max - 1), values, np.nan)

"""Tones of scenes on both sides of their borders, and the width of feathered borders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.balance.profiles import Profile, read_profiles
from geossda.balance.scenes import Scenes, SharedBorder
from geossda.balance.tone_curves import QUANTILES, Border
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.windows import Window

# Width of the profiles on either side of a border, in pixels.
_REACH_PX = 320
# Distances between the two sides at which steps are measured, in pixels, and the widths of
# feathering that are distinguished.
_STEP_DISTANCES_PX = (2, 16, 32, 64, 96, 128, 192, 256, 384)
_FEATHER_WIDTHS_PX = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384)
# Width in pixels of the stripe compared on either side of a hard and of a feathered border: next to
# a hard one the ground is the same.
_HARD_STRIPE_PX, _FEATHERED_STRIPE_PX = 4, 64
# Pixels that a step is averaged over where it is not measured between single ones.
_AVERAGED_PX = 16
# A border is hard if a third of its whole step is between neighbouring pixels, and that exceeds
# chance by this factor.
_HARD_FACTOR = 4
# Fewest pixels on a side that a border is measured with, and fewest of a section.
_MIN_BORDER_PX, _MIN_SECTION_PX = 2000, 100


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
    feathered, unclear, borders = [], [], []
    scores = np.zeros(len(_STEP_DISTANCES_PX))
    for border in shared:
        profiles = _profiles(mosaic, border, scenes)
        progress.advance()
        if not profiles:
            continue
        sharp, averaged = _step_scores(profiles)
        if sharp[0] <= sharp.max() / 3:
            feathered.append(border)
            scores += averaged / max(averaged.max(), 1e-9)
        elif sharp[0] > _HARD_FACTOR * 3 * mosaic.count / len(profiles):
            borders.append(_measure_border(profiles, border, 0, limits))
        else:
            unclear.append(border)
    # A mosaic is feathered alike all over, so unclear borders are treated as the others are.
    feathered += unclear if feathered else []
    width = feather_width(scores) if feathered else 0
    for border in feathered or unclear:
        profiles = _profiles(mosaic, border, scenes)
        borders.append(_measure_border(profiles, border, width, limits))
    progress.advance(len(shared))
    measured = [border for border in borders if border is not None]
    mean = float(np.mean([border.weight for border in measured])) if measured else 1.0
    measured = [border._replace(weight=border.weight / mean) for border in measured]
    return measured, {(border.first, border.second): width for border in feathered}


def _profiles(mosaic: Mosaic, border: SharedBorder, scenes: Scenes) -> list[Profile]:
    profiles = read_profiles(mosaic, border.line, _REACH_PX)
    oriented = [orient(profile, border, scenes) for profile in profiles]
    return [profile for profile in oriented if profile.valid.any()]


def feather_width(scores: NDArray[np.float64]) -> int:
    """Estimate the width over which scenes are feathered.

    Within the feathered width a step grows with the distance, and its score with the square of it;
    beyond, the step is constant. The width that fits the scores best is returned.

    Parameters
    ----------
    scores : (distances,) array
        Sum over the feathered borders of what :func:`_step_scores` returns for averaged steps.

    Returns
    -------
    int
        In pixels.
    """
    distances = np.array(_STEP_DISTANCES_PX) + _AVERAGED_PX
    errors = []
    for width in _FEATHER_WIDTHS_PX:
        rise = np.minimum(1, distances / width) ** 2
        errors.append(float(((scores - rise * (rise @ scores) / (rise @ rise)) ** 2).sum()))
    return _FEATHER_WIDTHS_PX[int(np.argmin(errors))]


def _step_scores(profiles: list[Profile]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score how clearly two sides differ, between single pixels and between averages.

    Returns
    -------
    two (distances,) arrays
        Squares of steps relative to their variance along the border, summed over tones.
    """
    tones = np.stack([_tones(profile) for profile in profiles])
    middle, scores = tones.shape[2] // 2, []
    for averaged in (1, _AVERAGED_PX):
        for distance in _STEP_DISTANCES_PX:
            left, right = middle - distance // 2, middle + distance // 2
            sides = tones[:, :, right : right + averaged], tones[:, :, left - averaged : left]
            scores.append(_score(_mean(sides[0], 2) - _mean(sides[1], 2)))
    return np.array(scores[: len(_STEP_DISTANCES_PX)]), np.array(scores[len(_STEP_DISTANCES_PX) :])


def _score(steps: NDArray[np.float64]) -> float:
    """Sum the squares of mean steps, (profiles, tones), relative to their variance."""
    mean = _mean(steps, 0)
    variance = _mean((steps - mean) ** 2, 0)
    known = np.isfinite(mean) & (variance > 0)
    return float((mean[known] ** 2 / variance[known]).sum())


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the mean of finite values; NaN where there are none."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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
    covariance = _covariance(np.concatenate([tones[:, 1] - tones[:, 0], tones[:, 2] - tones[:, 3]]))
    sides = tones[:, 1:3]
    known = np.asarray(np.isfinite(sides).all(axis=1))
    sides = sides[known.any(axis=(1, 2))]
    if fewest < _MIN_BORDER_PX or covariance is None or len(sides) == 0:
        return None
    # Wide stripes have more pixels than narrow ones, but tell no more of the border.
    return Border(border.first, border.second, sides, covariance, fewest / stripe)


def _covariance(steps: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Estimate the covariance of steps of tones across ordinary ground.

    Outliers are weighted down (Tyler 1987).

    Parameters
    ----------
    steps : (sections, bands, quantiles) array
        NaN where unknown.

    Returns
    -------
    (bands, quantiles, quantiles) array or None
        None if a band has no known step.
    """
    covariances = []
    for band in range(steps.shape[1]):
        known = steps[np.isfinite(steps[:, band]).any(1), band]
        if len(known) == 0:
            return None
        known = np.where(np.isfinite(known), known, 0)  # an unknown step does not vary
        weights = np.ones(len(known))
        for _ in range(4):
            covariance = (known * weights[:, None]).T @ known / weights.sum()
            regular = covariance + np.diag(0.25 * np.diag(covariance) + 1e-6)
            weights = 1 / (1 + ((known @ np.linalg.inv(regular)) * known).mean(1))
        covariances.append(covariance)
    return np.stack(covariances)


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

"""What scenes show on both sides of their borders, and over how far they fade into each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.balance.profiles import Piece, pieces
from geossda.balance.scenes import Scenes, SharedBorder
from geossda.balance.tone_curves import SHARES, Border
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.windows import Window

# How far across a border it is looked, at what distances, which widths of feathering are told
# apart, and how wide a stripe is compared on either side of hard and soft borders, in pixels: next
# to a hard one the ground is the same.
REACH = 320
FEATHERS = (2, 16, 32, 64, 96, 128, 192, 256, 384)
WIDTHS = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384)
HARD, SOFT = 4, 64
# Pixels that steps are averaged over where they are not taken between single ones.
BEYOND = 16
# A border is hard if a third of all its step is between neighbours, and that is so many times what
# would be there by chance.
PLAIN = 4
# The least number of pixels on a side that a border is worth measuring with, and of a piece.
FEWEST, PIECE = 2000, 100


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
        Of one source.
    scenes : Scenes
    limits : (float, float)
        Values taken as 0 and 1.
    progress : Progress

    Returns
    -------
    borders : list of Border
        Those long enough to be measured.
    feathers : dict
        By pair of scenes, over how many pixels they fade into each other, where they do.
    """
    meetings = scenes.meetings(mosaic.shape)
    progress.stage("levelling scenes", 2 * len(meetings))
    soft, unclear, borders = [], [], []
    scores = np.zeros(len(FEATHERS))
    for meeting in meetings:
        found = _found(mosaic, meeting, scenes)
        progress.advance()
        if not found:
            continue
        sharp, wide = _steps(found)
        if sharp[0] <= sharp.max() / 3:
            soft.append(meeting)
            scores += wide / max(wide.max(), 1e-9)
        elif sharp[0] > PLAIN * 3 * mosaic.count / len(found):
            borders.append(_border(found, meeting, 0, limits))
        else:
            unclear.append(meeting)
    # Mosaics are feathered alike all over, so faint borders are taken for what the others are.
    soft += unclear if soft else []
    width = feather_width(scores) if soft else 0
    for meeting in soft or unclear:
        borders.append(_border(_found(mosaic, meeting, scenes), meeting, width, limits))
    progress.advance(len(meetings))
    known = [border for border in borders if border is not None]
    mean = float(np.mean([border.weight for border in known])) if known else 1.0
    known = [border._replace(weight=border.weight / mean) for border in known]
    return known, {(meeting.first, meeting.second): width for meeting in soft}


def _found(mosaic: Mosaic, meeting: SharedBorder, scenes: Scenes) -> list[Piece]:
    turned = [oriented(piece, meeting, scenes) for piece in pieces(mosaic, meeting.line, REACH)]
    return [piece for piece in turned if piece.valid.any()]


def feather_width(scores: NDArray[np.float64]) -> int:
    """Say over how many pixels scenes fade into each other, from :func:`_steps` of soft borders.

    Within the fade a step grows with the distance, and its score with the square of that; beyond,
    it stays. The width that fits the scores best is taken.
    """
    distances = np.array(FEATHERS) + BEYOND
    errors = []
    for width in WIDTHS:
        rise = np.minimum(1, distances / width) ** 2
        errors.append(float(((scores - rise * (rise @ scores) / (rise @ rise)) ** 2).sum()))
    return WIDTHS[int(np.argmin(errors))]


def _steps(found: list[Piece]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Say how plainly two sides differ, in tones at single distances and averaged beyond them.

    Returns
    -------
    two (FEATHERS,) arrays
        Squares of steps over how they vary along the border, added up over tones.
    """
    tones = np.stack([_tones(piece) for piece in found])
    middle, scores = tones.shape[2] // 2, []
    for beyond in (1, BEYOND):
        for width in FEATHERS:
            left, right = middle - width // 2, middle + width // 2
            sides = tones[:, :, right : right + beyond], tones[:, :, left - beyond : left]
            scores.append(_plainly(_mean(sides[0], 2) - _mean(sides[1], 2)))
    return np.array(scores[: len(FEATHERS)]), np.array(scores[len(FEATHERS) :])


def _plainly(step: NDArray[np.float64]) -> float:
    """Add up the squares of the mean steps of pieces, (pieces, tones), over how they vary."""
    mean = _mean(step, 0)
    spread = _mean((step - mean) ** 2, 0)
    known = np.isfinite(mean) & (spread > 0)
    return float((mean[known] ** 2 / spread[known]).sum())


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Average what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _tones(piece: Piece) -> NDArray[np.float64]:
    """Give mean, dark and bright values of every band at every distance from a border.

    Returns
    -------
    (3 * bands, 2 * reach) array
        NaN where less than half of the pixels are valid.
    """
    valid = piece.valid
    count = valid.sum(0)
    values = np.where(valid, piece.pixels, 0).astype(np.float32)
    mean = values.sum(1) / np.maximum(count, 1)
    filled = np.where(valid, values, mean[:, None])
    dark, bright = np.quantile(filled, [0.1, 0.9], axis=1)
    return np.where(count * 2 > len(valid), np.concatenate([mean, dark, bright]), np.nan)


def oriented(piece: Piece, meeting: SharedBorder, scenes: Scenes) -> Piece:
    """Turn a piece so that the first scene lies in front, and leave out what is in neither."""
    top, left = int(piece.rows.min()), int(piece.cols.min())
    bottom, right = int(piece.rows.max()) + 1, int(piece.cols.max()) + 1
    window = Window(top, left, bottom - top, right - left)
    labels = scenes.labels(window)[piece.rows - top, piece.cols - left]
    middle = labels.shape[1] // 2
    front, back = labels[:, :middle], labels[:, middle:]
    if (front == meeting.second).sum() + (back == meeting.first).sum() > (
        (front == meeting.first).sum() + (back == meeting.second).sum()
    ):
        labels = labels[:, ::-1]
        piece = Piece(
            piece.pixels[:, :, ::-1], piece.valid[:, ::-1], piece.rows[:, ::-1], piece.cols[:, ::-1]
        )
    wanted = np.repeat([meeting.first, meeting.second], middle)
    return piece._replace(valid=piece.valid & (labels == wanted))


def _border(
    found: list[Piece], meeting: SharedBorder, width: int, limits: tuple[float, float]
) -> Border | None:
    """Measure the tones of both sides, piece by piece, beyond the width over which they fade."""
    gap = min(width * 3 // 4, REACH - SOFT)
    stripe = min(max(SOFT, width // 2), REACH - gap) if width else HARD
    middle = found[0].valid.shape[1] // 2
    low, high = limits
    front, back = middle - gap - stripe, middle + gap
    fewest = min(sum(_count(piece, start, stripe) for piece in found) for start in (front, back))
    # As far apart, but on the same side of the border: what the ground differs by itself.
    apart = 2 * gap + stripe
    ahead, behind = max(0, front - apart), min(2 * middle - stripe, back + apart)
    tones = np.stack(
        [[_quantiles(piece, at, stripe) for at in (ahead, front, back, behind)] for piece in found]
    )
    tones = (_unclipped(tones, found[0].pixels.dtype) - low) / (high - low)
    tones = np.where((tones >= 0) & (tones <= 1), tones, np.nan)
    usual = _varying(np.concatenate([tones[:, 1] - tones[:, 0], tones[:, 2] - tones[:, 3]]))
    sides = tones[:, 1:3]
    seen = np.asarray(np.isfinite(sides).all(axis=1))
    sides = sides[seen.any(axis=(1, 2))]
    if fewest < FEWEST or usual is None or len(sides) == 0:
        return None
    return Border(meeting.first, meeting.second, sides, usual, float(fewest))


def _varying(steps: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Say how tones of ordinary ground vary together, from steps (pieces, bands, shares).

    Returns
    -------
    (bands, shares, shares) array or None
        Pieces far out of the ordinary count less (Tyler 1987). None where nothing is known.
    """
    found = []
    for band in range(steps.shape[1]):
        known = steps[np.isfinite(steps[:, band]).any(1), band]
        if len(known) == 0:
            return None
        known = np.where(np.isfinite(known), known, 0)  # what is not known varies not at all
        weights = np.ones(len(known))
        for _ in range(4):
            covariance = (known * weights[:, None]).T @ known / weights.sum()
            sure = covariance + np.diag(0.25 * np.diag(covariance) + 1e-6)
            weights = 1 / (1 + ((known @ np.linalg.inv(sure)) * known).mean(1))
        found.append(covariance)
    return np.stack(found)


def _count(piece: Piece, start: int, stripe: int) -> int:
    return int(piece.valid[:, start : start + stripe].sum())


def _quantiles(piece: Piece, start: int, stripe: int) -> NDArray[np.float64]:
    """Give the values at SHARES of some columns, (bands, shares); NaN of too few pixels."""
    columns = slice(start, start + stripe)
    values = piece.pixels[:, :, columns][:, piece.valid[:, columns]].astype(np.float32)
    if values.shape[1] < PIECE:
        return np.full((len(values), len(SHARES)), np.nan)
    return np.asarray(np.quantile(values, SHARES, axis=1, method="hazen").T)


def _unclipped(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Set aside what lies at an end of the type, where more may have been cut off."""
    if dtype.kind not in "ui":
        return values
    ends = np.iinfo(dtype)
    return np.where((values > ends.min + 1) & (values < ends.max - 1), values, np.nan)

"""What scenes show on both sides of their borders, and over how far they fade into each other."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.color.levelling import SHARES, Border
from geossda.inference.across import Piece, pieces
from geossda.progress import SILENT, Progress
from geossda.raster.reading import Mosaic
from geossda.raster.scenes import Meeting, Scenes
from geossda.raster.windows import Window

# How far across a border it is looked, at what distances, which widths of feathering are told
# apart, and how wide a stripe is compared on either side of hard and soft borders, in pixels: next
# to a hard one the ground is the same.
REACH = 320
FEATHERS = (2, 16, 32, 64, 96, 128, 192, 256, 384)
WIDTHS = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384)
HARD, SOFT = 4, 128
# Pixels that steps are averaged over where they are not taken between single ones.
BEYOND = 16
# The least number of pixels a border is worth measuring with.
FEWEST = 2000


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
    soft, scores, borders = [], np.zeros(len(FEATHERS)), []
    for meeting in meetings:
        found = _found(mosaic, meeting, scenes)
        progress.advance()
        if not found:
            continue
        sharp, wide = _steps(found)
        if sharp[0] > sharp.max() / 3:  # all of the step is between neighbours
            borders.append(_border(found, meeting, 0, limits))
        else:
            soft.append(meeting)
            scores += wide / wide.max()
    width = feather_width(scores) if soft else 0
    for meeting in soft:  # mosaics are feathered alike all over
        borders.append(_border(_found(mosaic, meeting, scenes), meeting, width, limits))
    progress.advance(len(meetings))
    known = [border for border in borders if border is not None]
    mean = float(np.mean([border.weight for border in known])) if known else 1.0
    known = [border._replace(weight=border.weight / mean) for border in known]
    return known, {(meeting.first, meeting.second): width for meeting in soft}


def _found(mosaic: Mosaic, meeting: Meeting, scenes: Scenes) -> list[Piece]:
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
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pieces without a pixel so far out
                step = np.nanmean(tones[:, :, right : right + beyond], axis=2) - np.nanmean(
                    tones[:, :, left - beyond : left], axis=2
                )
                score = np.nanmean(step, axis=0) ** 2 / np.nanvar(step, axis=0)
            scores.append(float(np.nansum(np.where(np.isfinite(score), score, 0))))
    return np.array(scores[: len(FEATHERS)]), np.array(scores[len(FEATHERS) :])


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


def oriented(piece: Piece, meeting: Meeting, scenes: Scenes) -> Piece:
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
    found: list[Piece], meeting: Meeting, width: int, limits: tuple[float, float]
) -> Border | None:
    """Measure the tones of both sides, beyond the width over which they fade."""
    gap = min(width * 5 // 8, REACH - SOFT)
    stripe = SOFT if width else HARD
    middle = found[0].valid.shape[1] // 2
    low, high = limits
    front, back = middle - gap - stripe, middle + gap
    pooled = [_values(found, start, stripe) for start in (front, back)]
    fewest = min(values.shape[1] for values in pooled)
    if fewest < FEWEST:
        return None
    tones = np.stack([_quantiles(values) for values in pooled])
    # As far apart, but on the same side of the border: what the ground differs by itself.
    apart = 2 * gap + stripe
    pairs = ((front, max(0, front - apart)), (back, min(2 * middle - stripe, back + apart)))
    steps = []
    for piece in found:
        for near, far in pairs:
            one, other = (_values([piece], start, stripe) for start in (near, far))
            if min(one.shape[1], other.shape[1]) >= len(SHARES):
                steps.append((_quantiles(one) - _quantiles(other)) / (high - low))
    usual = np.einsum("nbi,nbj->bij", steps, steps) / len(steps) if steps else None
    scaled = (_unclipped(tones, found[0].pixels.dtype) - low) / (high - low)
    scaled[(scaled < 0) | (scaled > 1)] = np.nan
    if usual is None:
        return None
    return Border(meeting.first, meeting.second, scaled, usual, float(fewest))


def _values(found: list[Piece], start: int, stripe: int) -> NDArray[Any]:
    """Give the valid pixels of some columns, (bands, pixels)."""
    cut = slice(start, start + stripe)
    return np.concatenate([p.pixels[:, :, cut][:, p.valid[:, cut]] for p in found], axis=1)


def _quantiles(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.quantile(values.astype(np.float32), SHARES, axis=1, method="hazen").T)


def _unclipped(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """Set aside what lies at an end of the type, where more may have been cut off."""
    if dtype.kind not in "ui":
        return values
    ends = np.iinfo(dtype)
    return np.where((values > ends.min + 1) & (values < ends.max - 1), values, np.nan)

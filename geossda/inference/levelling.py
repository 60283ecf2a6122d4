"""Scenes of a mosaic, measured at their borders and brought to one radiometry."""

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geossda.color.levelling import KNOTS, SHARES, Border, level
from geossda.color.methods import as_dtype
from geossda.inference.across import Piece, pieces
from geossda.inference.seams import find_scenes
from geossda.progress import SILENT, Progress
from geossda.raster.radiometry import working_range
from geossda.raster.reading import Mosaic
from geossda.raster.scenes import Meeting, Scenes, read_scenes
from geossda.raster.statistics import histograms
from geossda.raster.windows import Window

# What may stand in the place of a file of footprints.
WORDS = ("auto", "feathered", "none")
# Percentiles need far fewer pixels than histograms that are matched.
RANGE_PX = 2**22
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


@dataclass(frozen=True)
class Levelling:
    """One curve a scene and band, fading into each other where borders are feathered.

    Attributes
    ----------
    scenes : Scenes
    grid : GeoBox
        Whose pixels the scenes are given in.
    limits : (float, float)
        Values at the first and the last knot; beyond them the last change goes on.
    curves : (scenes, bands, knots) float64 array
        What values at the knots become, in 0..1 of `limits`.
    feathers : dict
        By pair of scenes, over how many pixels they fade into each other, where they do.
    """

    scenes: Scenes
    grid: GeoBox
    limits: tuple[float, float]
    curves: NDArray[np.float64]
    feathers: dict[tuple[int, int], int]

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, grid: GeoBox
    ) -> NDArray[Any]:
        """Level the (bands, height, width) pixels of a window; what is not valid stays."""
        scenes, scale = _moved(self.scenes, self.grid, grid)
        margin = round(scale * max(self.feathers.values(), default=0) / 2) + 1
        wide = Window(
            window.row - margin,
            window.col - margin,
            window.height + 2 * margin,
            window.width + 2 * margin,
        )
        labels = scenes.labels(wide if self.feathers else window)
        inner = window.within(wide)
        here = np.flatnonzero(np.bincount(labels.ravel())).tolist()
        soft = [pair for pair in self.feathers if pair[0] in here and pair[1] in here]
        own = labels[inner] if self.feathers else labels
        if not soft:
            made = pixels
            for scene in here:
                curved = as_dtype(self._curved(pixels, scene), pixels.dtype)
                made = curved if len(here) == 1 else np.where(own == scene, curved, made)
            return made if valid.all() else np.where(valid, made, pixels)
        shares = {scene: (own == scene).astype(np.float32) for scene in here}
        for first, second in soft:
            width = scale * self.feathers[first, second]
            for mine, other in ((first, second), (second, first)):
                distance = cv2.distanceTransform(
                    (labels != other).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
                )[inner]
                # Half a pixel is where the border lies, between two centres.
                given = np.clip(0.5 - (distance - 0.5) / width, 0, 0.5) * (own == mine)
                shares[mine] -= given
                shares[other] += given
        total = np.zeros(pixels.shape, np.float32)
        for scene, share in shares.items():
            if share.any():
                total += self._curved(pixels, scene) * share
        return np.where(valid, as_dtype(total, pixels.dtype), pixels)

    def _curved(self, pixels: NDArray[Any], scene: int) -> NDArray[np.float32]:
        low, high = self.limits
        knots = low + (high - low) * np.linspace(0, 1, KNOTS)
        made = np.empty(pixels.shape, np.float32)
        small = pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2
        for band, curve in enumerate(self.curves[scene]):
            change = low + (high - low) * curve - knots
            if small:
                values = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float64)
                table = (values + np.interp(values, knots, change)).astype(np.float32)
                made[band] = table[pixels[band]]
            else:
                values = pixels[band].astype(np.float64)
                made[band] = values + np.interp(values, knots, change)
        return made

    def numbers(self) -> dict[str, Any]:
        """Give what :meth:`from_numbers` makes it of, for saving."""
        return {
            "scenes": [shape.wkb_hex for shape in self.scenes.polygons],
            "limits": [float(end) for end in self.limits],
            "curves": self.curves,
            "pairs": np.array(sorted(self.feathers), np.int64).reshape(-1, 2),
            "widths": np.array([self.feathers[pair] for pair in sorted(self.feathers)], np.int64),
        }

    @classmethod
    def from_numbers(cls, numbers: dict[str, Any], grid: GeoBox) -> "Levelling":
        """Make a levelling of the source of a grid out of its numbers."""
        pairs = map(tuple, np.asarray(numbers["pairs"]).tolist())
        low, high = numbers["limits"]
        return cls(
            Scenes(tuple(shapely.from_wkb(text) for text in numbers["scenes"])),
            grid,
            (low, high),
            np.asarray(numbers["curves"]),
            dict(zip(pairs, np.asarray(numbers["widths"]).tolist(), strict=True)),
        )


def with_levels(mosaic: Mosaic, levels: list[dict[str, Any] | None]) -> Mosaic:
    """Level a mosaic's sources as they were measured: the numbers of each, None for no change."""
    sources = tuple(
        replace(source, correction=Levelling.from_numbers(numbers, source.grid))
        if numbers
        else source
        for source, numbers in zip(mosaic.sources, levels, strict=True)
    )
    return replace(mosaic, sources=sources)


def count_scenes(levels: dict[str, Any] | None) -> int:
    """Say of how many scenes a source was found to be."""
    return len(levels["scenes"]) if levels else 1


@lru_cache(maxsize=64)
def _moved(scenes: Scenes, own: GeoBox, grid: GeoBox) -> tuple[Scenes, float]:
    """Give scenes in the pixels of a grid, and how many of those make one of their own."""
    if own == grid:
        return scenes, 1.0
    moved = scenes.on(own, grid)
    box = Scenes((shapely.box(0, 0, own.shape.x, own.shape.y),))
    areas = (box.on(own, grid).polygons[0].area, box.polygons[0].area)
    return moved, float(np.sqrt(areas[0] / areas[1]))


def check_scenes(mosaic: Mosaic, scenes: str) -> None:
    """Raise what :func:`levelled` would, if footprints of scenes cannot be used."""
    if scenes not in WORDS:
        for source in mosaic.sources:
            read_scenes(scenes, source.grid)


def levelled(
    mosaic: Mosaic, scenes: str, *, progress: Progress = SILENT
) -> tuple[Mosaic, list[Levelling | None]]:
    """Bring the scenes of a mosaic's sources to one radiometry, source by source.

    Parameters
    ----------
    mosaic : Mosaic
    scenes : str
        ``"auto"`` finds scenes with hard straight borders, ``"feathered"`` others too, ``"none"``
        does nothing; else a vector file of their footprints.
    progress : Progress

    Returns
    -------
    mosaic : Mosaic
        Whose pixels are levelled as they are read.
    levellings : list of Levelling or None
        Of each source; None where there is one scene only.
    """
    found: list[Levelling | None] = []
    for index in range(len(mosaic.sources)):
        alone = mosaic.alone(index)
        if scenes == "none":
            cut = Scenes(())
        elif scenes in ("auto", "feathered"):
            cut = find_scenes(alone, soft=scenes == "feathered", progress=progress)
        else:
            cut = read_scenes(scenes, alone.grid)
        if not cut.polygons:
            found.append(None)
            continue
        limits = working_range(
            histograms(alone, budget_px=RANGE_PX, progress=progress), mosaic.dtype
        )
        found.append(measure_levelling(alone, cut, limits, progress=progress))
    sources = tuple(
        replace(source, correction=levelling)
        for source, levelling in zip(mosaic.sources, found, strict=True)
    )
    return replace(mosaic, sources=sources), found


def measure_levelling(
    mosaic: Mosaic,
    scenes: Scenes,
    limits: tuple[float, float],
    *,
    progress: Progress = SILENT,
) -> Levelling:
    """Measure both sides of every border between scenes and choose the curves.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    scenes : Scenes
    limits : (float, float)
        Values between which curves bend.
    progress : Progress
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
    pairs = {(meeting.first, meeting.second): width for meeting in soft}
    return Levelling(scenes, mosaic.grid, limits, level(known, scenes.count, mosaic.count), pairs)


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

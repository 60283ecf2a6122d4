"""Scenes of a mosaic, measured at their borders and brought to one radiometry."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from geossda.balance.border_tones import measure_borders
from geossda.balance.scenes import Scenes, read_scenes
from geossda.balance.seam_detection import find_scenes
from geossda.balance.tone_curves import KNOTS, level
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype, working_range
from geossda.raster.statistics import histograms
from geossda.raster.windows import Window

# What may stand in the place of a file of footprints.
SCENE_KEYWORDS = ("auto", "none")
# Percentiles need far fewer pixels than histograms that are matched.
RANGE_PX = 2**22


@dataclass(frozen=True)
class ToneBalance:
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

    def to_state(self) -> dict[str, Any]:
        """Give what :meth:`from_state` makes it of, for saving."""
        return {
            "scenes": [shape.wkb_hex for shape in self.scenes.polygons],
            "limits": [float(end) for end in self.limits],
            "curves": self.curves,
            "pairs": np.array(sorted(self.feathers), np.int64).reshape(-1, 2),
            "widths": np.array([self.feathers[pair] for pair in sorted(self.feathers)], np.int64),
        }

    @classmethod
    def from_state(cls, numbers: dict[str, Any], grid: GeoBox) -> "ToneBalance":
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
        replace(source, correction=ToneBalance.from_state(numbers, source.grid))
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
    if scenes not in SCENE_KEYWORDS:
        for source in mosaic.sources:
            read_scenes(scenes, source.grid)


def levelled(
    mosaic: Mosaic, scenes: str, *, progress: Progress = SILENT
) -> tuple[Mosaic, list[ToneBalance | None]]:
    """Bring the scenes of a mosaic's sources to one radiometry, source by source.

    Parameters
    ----------
    mosaic : Mosaic
    scenes : str
        ``"auto"`` finds scenes with straight borders, ``"none"`` does nothing; else a vector
        file of their footprints.
    progress : Progress

    Returns
    -------
    mosaic : Mosaic
        Whose pixels are levelled as they are read.
    levellings : list of ToneBalance or None
        Of each source; None where there is one scene only.
    """
    found: list[ToneBalance | None] = []
    for index in range(len(mosaic.sources)):
        alone = mosaic.alone(index)
        if scenes == "none":
            cut = Scenes(())
        elif scenes == "auto":
            cut = find_scenes(alone, progress=progress)
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
) -> ToneBalance:
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
    borders, feathers = measure_borders(mosaic, scenes, limits, progress=progress)
    return ToneBalance(
        scenes, mosaic.grid, limits, level(borders, scenes.count, mosaic.count), feathers
    )

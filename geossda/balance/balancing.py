"""Balancing of a mosaic's scenes: measured at their borders, applied as pixels are read."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from geossda.balance.border_tones import measure_borders
from geossda.balance.scene_detection import find_scenes
from geossda.balance.scenes import Scenes, read_scenes
from geossda.balance.tone_curves import KNOTS, solve_curves
from geossda.progress import SILENT, Progress
from geossda.raster.grid import Grid
from geossda.raster.histograms import histograms
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype, working_range
from geossda.raster.windows import Window

# Accepted in place of a file of scene outlines.
SCENE_KEYWORDS = ("auto", "none")
# Pixels that the working range is measured on: percentiles need far fewer than matched histograms.
_RANGE_SAMPLE_PX = 2**22


@dataclass(frozen=True)
class ToneBalance:
    """Tone curve of every scene and band, blended where borders are feathered.

    Attributes
    ----------
    scenes : Scenes
    grid : Grid
        Grid of the scenes' pixels.
    limits : (float, float)
        Values at the first and the last knot; beyond them the change is constant.
    curves : (scenes, bands, knots) float64 array
        Output values at the knots, in 0..1 of `limits`.
    feathers : dict
        For pairs of scenes with a feathered border, its width in pixels.
    """

    scenes: Scenes
    grid: Grid
    limits: tuple[float, float]
    curves: NDArray[np.float64]
    feathers: dict[tuple[int, int], int]

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], window: Window, grid: Grid
    ) -> NDArray[Any]:
        """Balance the pixels of a window.

        Parameters
        ----------
        pixels : (bands, height, width) array
        valid : (height, width) bool array
            Other pixels are returned unchanged.
        window : Window
            Position of the pixels in `grid`.
        grid : Grid

        Returns
        -------
        (bands, height, width) array
            Of the type of `pixels`.
        """
        scenes, scale = _on_grid(self.scenes, self.grid, grid)
        margin = round(scale * max(self.feathers.values(), default=0) / 2) + 1
        padded = Window(
            window.row - margin,
            window.col - margin,
            window.height + 2 * margin,
            window.width + 2 * margin,
        )
        labels = scenes.labels(padded if self.feathers else window)
        inner = window.within(padded)
        present = np.flatnonzero(np.bincount(labels.ravel())).tolist()
        feathered = [pair for pair in self.feathers if pair[0] in present and pair[1] in present]
        own = labels[inner] if self.feathers else labels
        if not feathered:
            balanced = pixels
            for scene in present:
                curved = as_dtype(self._apply_curves(pixels, scene), pixels.dtype)
                balanced = curved if len(present) == 1 else np.where(own == scene, curved, balanced)
            return balanced if valid.all() else np.where(valid, balanced, pixels)
        weights = {scene: (own == scene).astype(np.float32) for scene in present}
        for first, second in feathered:
            width = scale * self.feathers[first, second]
            for scene, other in ((first, second), (second, first)):
                distance = cv2.distanceTransform(
                    (labels != other).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
                )[inner]
                # The border lies half a pixel away, between two pixel centres.
                share = np.clip(0.5 - (distance - 0.5) / width, 0, 0.5) * (own == scene)
                weights[scene] -= share
                weights[other] += share
        total = np.zeros(pixels.shape, np.float32)
        for scene, weight in weights.items():
            if weight.any():
                total += self._apply_curves(pixels, scene) * weight
        return np.where(valid, as_dtype(total, pixels.dtype), pixels)

    def _apply_curves(self, pixels: NDArray[Any], scene: int) -> NDArray[np.float32]:
        low, high = self.limits
        knots = low + (high - low) * np.linspace(0, 1, KNOTS)
        curved = np.empty(pixels.shape, np.float32)
        has_table = pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2
        for band, curve in enumerate(self.curves[scene]):
            change = low + (high - low) * curve - knots
            if has_table:
                values = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float64)
                table = (values + np.interp(values, knots, change)).astype(np.float32)
                curved[band] = table[pixels[band]]
            else:
                values = pixels[band].astype(np.float64)
                curved[band] = values + np.interp(values, knots, change)
        return curved

    def to_state(self) -> dict[str, Any]:
        """Return the state that :meth:`from_state` restores."""
        return {
            "scenes": [shape.wkb_hex for shape in self.scenes.polygons],
            "limits": [float(end) for end in self.limits],
            "curves": self.curves,
            "pairs": np.array(sorted(self.feathers), np.int64).reshape(-1, 2),
            "widths": np.array([self.feathers[pair] for pair in sorted(self.feathers)], np.int64),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], grid: Grid) -> "ToneBalance":
        """Restore a balance from its state.

        Parameters
        ----------
        state : dict
            As :meth:`to_state` returns it.
        grid : Grid
            Grid of the source.
        """
        pairs = map(tuple, np.asarray(state["pairs"]).tolist())
        low, high = state["limits"]
        return cls(
            Scenes(tuple(shapely.from_wkb(text) for text in state["scenes"])),
            grid,
            (low, high),
            np.asarray(state["curves"]),
            dict(zip(pairs, np.asarray(state["widths"]).tolist(), strict=True)),
        )


def with_balance(mosaic: Mosaic, states: list[dict[str, Any] | None]) -> Mosaic:
    """Return a mosaic whose sources are balanced as their pixels are read.

    Parameters
    ----------
    mosaic : Mosaic
    states : list of dict or None
        State of each source's :class:`ToneBalance`; None for no change.

    Returns
    -------
    Mosaic
    """
    sources = tuple(
        replace(source, correction=ToneBalance.from_state(state, source.grid)) if state else source
        for source, state in zip(mosaic.sources, states, strict=True)
    )
    return replace(mosaic, sources=sources)


def count_scenes(state: dict[str, Any] | None) -> int:
    """Return the number of scene outlines in the state of a source; 1 without a state."""
    return len(state["scenes"]) if state else 1


@lru_cache(maxsize=64)
def _on_grid(scenes: Scenes, own: Grid, grid: Grid) -> tuple[Scenes, float]:
    """Return scenes in the pixels of a grid, and how many of those one of their own spans."""
    if own == grid:
        return scenes, 1.0
    on_grid = scenes.on(own, grid)
    box = Scenes((shapely.box(0, 0, own.shape.x, own.shape.y),))
    areas = (box.on(own, grid).polygons[0].area, box.polygons[0].area)
    return on_grid, float(np.sqrt(areas[0] / areas[1]))


def check_scenes(mosaic: Mosaic, scenes: str) -> None:
    """Check that scene outlines can be read and lie on every source.

    Parameters
    ----------
    mosaic : Mosaic
    scenes : str
        ``"auto"``, ``"none"`` or a vector file.

    Raises
    ------
    VectorError, GeoreferenceError
        As :func:`geossda.balance.scenes.read_scenes`.
    """
    if scenes not in SCENE_KEYWORDS:
        for source in mosaic.sources:
            read_scenes(scenes, source.grid)


def balance_scenes(
    mosaic: Mosaic, scenes: str, *, progress: Progress = SILENT
) -> tuple[Mosaic, list[ToneBalance | None]]:
    """Balance the scenes of a mosaic's sources to one radiometry, source by source.

    Parameters
    ----------
    mosaic : Mosaic
    scenes : str
        ``"auto"`` detects scenes, ``"none"`` does nothing; else a vector
        file of their outlines.
    progress : Progress

    Returns
    -------
    mosaic : Mosaic
        The mosaic whose pixels are balanced as they are read.
    balances : list of ToneBalance or None
        Balance of each source; None where there is a single scene.
    """
    balances: list[ToneBalance | None] = []
    for index in range(len(mosaic.sources)):
        alone = mosaic.alone(index)
        if scenes == "none":
            outlines = Scenes(())
        elif scenes == "auto":
            outlines = find_scenes(alone, progress=progress)
        else:
            outlines = read_scenes(scenes, alone.grid)
        if not outlines.polygons:
            balances.append(None)
            continue
        limits = working_range(
            histograms(alone, budget_px=_RANGE_SAMPLE_PX, progress=progress), mosaic.dtype
        )
        balances.append(measure_balance(alone, outlines, limits, progress=progress))
    sources = tuple(
        replace(source, correction=balance)
        for source, balance in zip(mosaic.sources, balances, strict=True)
    )
    return replace(mosaic, sources=sources), balances


def measure_balance(
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
        A mosaic of one source.
    scenes : Scenes
    limits : (float, float)
        Values between which curves bend.
    progress : Progress

    Returns
    -------
    ToneBalance
    """
    borders, feathers = measure_borders(mosaic, scenes, limits, progress=progress)
    curves = solve_curves(borders, scenes.count, mosaic.count)
    return ToneBalance(scenes, mosaic.grid, limits, curves, feathers)

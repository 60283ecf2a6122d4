"""The parts of a raster of probabilities: opened, measured and made, here or on a worker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from geossda.config import SegmentConfig
from geossda.devices import choose
from geossda.models.card import SegmenterCard
from geossda.models.segmenter import load_segmenter
from geossda.models.tta import Symmetric
from geossda.progress import SILENT, Progress
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.scaling import scaling_from
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, starts
from geossda.runs.distribute import consecutive
from geossda.runs.shards import LEAST_PX, Layout, Shards
from geossda.segmentation.prepare import (
    NODATA,
    choose_bands,
    ready_to_predict,
    require_place,
)
from geossda.segmentation.sliding_window import Strip, WindowReader, predict


@dataclass(frozen=True)
class SegmentTask:
    """What a worker needs to know to make parts of a raster of probabilities.

    Attributes
    ----------
    paths : tuple of str
        Absolute, or URLs.
    config : SegmentConfig
    clearance_m : float
        How far buildings stay away from nodata, in metres.
    folder : str
        Of the parts, where the measurements are too.
    key : str
        Another one for other measurements.
    """

    paths: tuple[str, ...]
    config: SegmentConfig
    clearance_m: float
    folder: str
    key: str


@dataclass(frozen=True)
class SegmentJob:
    """Makes the parts of one raster of probabilities, on the model's grid.

    Attributes
    ----------
    reader : WindowReader
    network : torch.nn.Module
    card : SegmenterCard
    parts : Shards
    config : SegmentConfig
    """

    reader: WindowReader
    network: torch.nn.Module
    card: SegmenterCard
    parts: Shards
    config: SegmentConfig

    # A run's first line of windows needs those of the line above.
    least_run: ClassVar[int] = 8

    @cached_property
    def model(self) -> torch.nn.Module:
        """The network, asked as often as the settings say."""
        count = self.config.tta
        return self.network if count == 1 else Symmetric(self.network, count)

    def steps(self, index: int) -> int:
        """Count the windows of a part."""
        card, strip = self.card, self.parts.layout.strips[index]
        stride = card.patch_px - card.overlap_px
        rows = starts(self.reader.mosaic.shape[0], card.patch_px, card.overlap_px)
        inside = sum(strip.row <= row < strip.row + strip.height for row in rows)
        return inside * len(range(0, max(1, strip.width - card.overlap_px), stride))

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Make parts; advances by one a window."""
        for run in consecutive(indexes):
            strips = self._predicted(run, progress)
            for index in run:
                part = self.parts.layout.strips[index]
                filled = 0
                with self.parts.writing(index) as writer:
                    while filled < part.height:
                        strip = next(strips)
                        height, width = strip.probability.shape
                        window = Window(strip.row - part.row, 0, height, width)
                        writer.write(window, strip.probability[None], strip.valid)
                        filled += height

    def _predicted(self, run: list[int], progress: Progress) -> Iterator[Strip]:
        first, last = (self.parts.layout.strips[index] for index in (run[0], run[-1]))
        stride = self.card.patch_px - self.card.overlap_px
        lines = len(starts(self.reader.mosaic.shape[0], self.card.patch_px, self.card.overlap_px))
        end = (
            lines
            if last.row + last.height == self.reader.mosaic.shape[0]
            else ((last.row + last.height) // stride)
        )
        return predict(
            self.reader,
            self.model,
            choose(self.config.device),
            overlap_px=self.card.overlap_px,
            batch=self.config.batch,
            lines=range(first.row // stride, end),
            progress=progress,
        )


def open_for(paths: Sequence[str], config: SegmentConfig) -> Mosaic:
    """Open the mosaic that is segmented, the same here and on workers.

    Raises
    ------
    GeoreferenceError
        It has no place on the ground, or the bounds lie beside it.
    """
    with gdal_environment():
        mosaic = open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)
        require_place(mosaic)
        if config.bounds is not None:
            mosaic = mosaic.cropped(config.bounds, config.bounds_crs)
    return mosaic


def layout_of(mosaic: Mosaic, card: SegmenterCard, gsd_m: float) -> Layout:
    """Cut the model's grid into parts of whole lines of windows."""
    grid = grid_at_gsd(mosaic.grid, gsd_m)
    height, width = int(grid.shape.y), int(grid.shape.x)
    rows = starts(height, card.patch_px, card.overlap_px)
    lines = max(1, -(-LEAST_PX // ((card.patch_px - card.overlap_px) * width)))
    firsts = rows[::lines]
    strips = tuple(
        Window(row, 0, end - row, width)
        for row, end in zip(firsts, [*firsts[1:], height], strict=True)
    )
    return Layout(grid, 1, np.dtype(np.float32), "nodata", NODATA, strips)


def open_segment_job(recipe: SegmentTask) -> SegmentJob:
    """Open all that a recipe names, on a worker."""
    config = recipe.config
    network, card = load_segmenter(config.model)
    mosaic = choose_bands(open_for(recipe.paths, config), card)
    gsd_m = config.gsd or card.gsd_m
    with gdal_environment():
        parts = Shards(Path(recipe.folder), layout_of(mosaic, card, gsd_m))
        reader = ready_to_predict(
            mosaic,
            card,
            gsd_m,
            clearance_m=recipe.clearance_m,
            scalings=[scaling_from(numbers) for numbers in parts.load("measured")],
        )
    return SegmentJob(reader, network, card, parts, config)

"""Segmentation of one mosaic, shard by shard, in this process or on a worker."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from geossda.config import SegmentConfig, StretchOf
from geossda.layers import split_layer
from geossda.models.card import SegmenterCard
from geossda.progress import SILENT, Progress
from geossda.raster.area import read_area
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.scaling import scaling_from, state_of
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, starts
from geossda.runs.distribute import ShardTask, consecutive
from geossda.runs.fingerprint import fingerprints
from geossda.runs.run import OpenRun
from geossda.runs.shard_layout import MIN_STRIP_PX, Layout
from geossda.runs.shards import Shards
from geossda.runtime.segmenter_network import SegmenterNetwork, open_segmenter
from geossda.segmentation.prepare import (
    NODATA,
    choose_bands,
    measure_scalings,
    ready_to_predict,
    require_place,
)
from geossda.segmentation.sliding_window import Strip, WindowReader, predict

STATE = "scalings"


@dataclass(frozen=True)
class SegmentJob:
    """Makes the shards of one raster of probabilities, on the model's grid.

    Attributes
    ----------
    reader : WindowReader
    network : SegmenterNetwork
    shards : Shards
    config : SegmentConfig
    """

    reader: WindowReader
    network: SegmenterNetwork
    shards: Shards
    config: SegmentConfig

    # The first row of windows of consecutive shards needs those of the row above.
    min_run: ClassVar[int] = 8

    def steps(self, index: int) -> int:
        """Return the number of windows of a shard."""
        card, strip = self.network.card, self.shards.layout.strips[index]
        stride = card.patch_px - card.overlap_px
        rows = starts(self.reader.mosaic.shape[0], card.patch_px, card.overlap_px)
        inside = sum(strip.row <= row < strip.row + strip.height for row in rows)
        return inside * len(range(0, max(1, strip.width - card.overlap_px), stride))

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Write shards; advances by one per window."""
        for run in consecutive(indexes):
            strips = self._predicted(run, progress)
            for index in run:
                shard = self.shards.layout.strips[index]
                rows_written = 0
                with self.shards.writing(index) as writer:
                    while rows_written < shard.height:
                        strip = next(strips)
                        height, width = strip.probability.shape
                        window = Window(strip.row - shard.row, 0, height, width)
                        writer.write(window, strip.probability[None], strip.valid)
                        rows_written += height

    def _predicted(self, run: list[int], progress: Progress) -> Iterator[Strip]:
        """Yield the strips of consecutive shards."""
        first, last = (self.shards.layout.strips[index] for index in (run[0], run[-1]))
        card = self.network.card
        stride = card.patch_px - card.overlap_px
        lines = len(starts(self.reader.mosaic.shape[0], card.patch_px, card.overlap_px))
        end = (
            lines
            if last.row + last.height == self.reader.mosaic.shape[0]
            else ((last.row + last.height) // stride)
        )
        return predict(
            self.reader,
            self.network,
            overlap_px=card.overlap_px,
            batch=self.config.batch,
            lines=range(first.row // stride, end),
            progress=progress,
        )


def open_for(paths: Sequence[str], config: SegmentConfig) -> Mosaic:
    """Open the mosaic to segment, alike in this process and on workers.

    Parameters
    ----------
    paths : sequence of str
    config : SegmentConfig

    Raises
    ------
    GeoreferenceError
        It has no CRS or transform, or the bounds lie outside it.
    """
    with gdal_environment():
        mosaic = open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)
        require_place(mosaic)
        if config.bounds is not None:
            mosaic = mosaic.cropped(config.bounds, config.bounds_crs)
        if config.area is not None:
            mosaic = mosaic.within(read_area(config.area)).cropped_to_area()
        mosaic.require_bounded()
    return mosaic


def layout_of(mosaic: Mosaic, card: SegmenterCard, gsd_m: float) -> Layout:
    """Return a layout of the model's grid in shards of whole rows of windows.

    Parameters
    ----------
    mosaic : Mosaic
    card : SegmenterCard
    gsd_m : float
        Ground sample distance to predict at, in metres.

    Raises
    ------
    GeoreferenceError
        As :meth:`geossda.raster.mosaic.Mosaic.at_gsd` raises it.
    """
    grid = mosaic.at_gsd(gsd_m).grid
    height, width = int(grid.shape.y), int(grid.shape.x)
    rows = starts(height, card.patch_px, card.overlap_px)
    lines = max(1, -(-MIN_STRIP_PX // ((card.patch_px - card.overlap_px) * width)))
    firsts = rows[::lines]
    strips = tuple(
        Window(row, 0, end - row, width)
        for row, end in zip(firsts, [*firsts[1:], height], strict=True)
    )
    return Layout(grid, 1, np.dtype(np.float32), "nodata", NODATA, strips)


def measure_state(
    mosaic: Mosaic,
    card: SegmenterCard,
    clearance_m: float,
    stretch: StretchOf,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure the stretch of every source.

    Parameters
    ----------
    mosaic : Mosaic
    card : SegmenterCard
    clearance_m : float
        How far buildings stay away from nodata, in metres.
    stretch : {"source", "mosaic"}
        Whether each source has a stretch of its own, or all have one.
    progress : Progress

    Returns
    -------
    dict
        As :func:`reader_from` takes it, to be saved for later attempts and workers.
    """
    scalings = measure_scalings(mosaic, card, stretch, progress)
    return {"scalings": list(map(state_of, scalings)), "clearance_m": clearance_m}


def reader_from(
    mosaic: Mosaic,
    state: dict[str, Any],
    card: SegmenterCard,
    gsd_m: float,
    progress: Progress = SILENT,
) -> WindowReader:
    """Return the reader of a mosaic whose state was measured before.

    Parameters
    ----------
    mosaic : Mosaic
    state : dict
        As :func:`measure_state` returns it.
    card : SegmenterCard
    gsd_m : float
        Ground sample distance to predict at, in metres.
    progress : Progress
    """
    return ready_to_predict(
        mosaic,
        card,
        gsd_m,
        clearance_m=state["clearance_m"],
        scalings=list(map(scaling_from, state["scalings"])),
        progress=progress,
    )


def open_segment_job(task: ShardTask[SegmentConfig]) -> SegmentJob:
    """Open everything that a task names, on a worker."""
    config = task.config
    network = open_segmenter(config)
    card = network.card
    mosaic = choose_bands(open_for(task.paths, config), card)
    gsd_m = config.gsd or card.gsd_m
    with gdal_environment():
        shards = task.shards(layout_of(mosaic, card, gsd_m))
        reader = reader_from(mosaic, shards.load(STATE), card, gsd_m)
    return SegmentJob(reader, network, shards, config)


def inputs_of(
    paths: Sequence[str],
    config: SegmentConfig,
    network: SegmenterNetwork,
    gsd_m: float,
    clearance_m: float,
) -> dict[str, Any]:
    """Return what the probabilities depend on, so that a run with others does not resume.

    Parameters
    ----------
    paths : sequence of str
    config : SegmentConfig
    network : SegmenterNetwork
    gsd_m : float
        Ground sample distance to predict at, in metres.
    clearance_m : float
        How far buildings stay away from nodata, in metres.
    """
    area = [] if config.area is None else fingerprints([split_layer(config.area)[0]])
    chosen = [config.tta, config.bidx, config.nodata, config.stretch]
    return {
        "sources": fingerprints(paths),
        "model": [network.card.sha256, network.card.temperature, network.runtime.tag],
        "settings": [gsd_m, clearance_m, *chosen],
        "area": [config.bounds, config.bounds_crs, *area],
    }


def make_probabilities(
    work: OpenRun[SegmentConfig],
    mosaic: Mosaic,
    network: SegmenterNetwork,
    gsd_m: float,
    clearance_m: float,
) -> WindowReader:
    """Predict the shards of a run that are missing, and return the reader of their windows.

    Parameters
    ----------
    work : OpenRun
        Opened with the layout of the mosaic.
    mosaic : Mosaic
        With the model's bands.
    network : SegmenterNetwork
    gsd_m : float
        Ground sample distance to predict at, in metres.
    clearance_m : float
        How far buildings stay away from nodata, in metres.
    """
    config, progress, card = work.run.config, work.run.progress, network.card
    if work.workers.alone and work.shards.missing():
        network.prepare()
    measure = functools.partial(measure_state, mosaic, card, clearance_m, config.stretch, progress)
    reader = reader_from(mosaic, work.compute_once(STATE, measure), card, gsd_m, progress)
    job = SegmentJob(reader, network, work.shards, config)
    work.make_shards(job, open_segment_job, "segmenting")
    return reader

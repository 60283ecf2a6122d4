"""Predict over a mosaic: windows to batches to the model, blended and given back by strip."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from geossda.devices import mixed_precision
from geossda.errors import InputError
from geossda.inference.threads import threads
from geossda.progress import SILENT, Progress
from geossda.raster.radiometry import Scaling
from geossda.raster.reading import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, starts


class Strip(NamedTuple):
    """Finished rows of a prediction.

    Attributes
    ----------
    row : int
        First row.
    probability : (height, width) float32 array
        0..1, and 0 where not valid.
    valid : (height, width) bool array
    """

    row: int
    probability: NDArray[np.float32]
    valid: NDArray[np.bool_]


class _Read(NamedTuple):
    window: Window
    image: NDArray[np.uint8]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class WindowReader:
    """Reads model input from a mosaic on the model's grid.

    Attributes
    ----------
    mosaic : Mosaic
    scalings : sequence of Scaling
        One a source, so that each keeps its own radiometry.
    patch_px : int
        Side of the windows given back; past the raster's edge they are filled with 0, as nodata
        is.
    clearance_px : int
        Pixels this near to nodata count as invalid too.
    """

    mosaic: Mosaic
    scalings: Sequence[Scaling]
    patch_px: int
    clearance_px: int

    def read(self, row: int, col: int) -> _Read:
        """Read the window whose first pixel is at `row` and `col`."""
        height, width = self.mosaic.shape
        window = Window(row, col, min(self.patch_px, height - row), min(self.patch_px, width - col))
        wide = window.grown(self.clearance_px, (height, width))
        image = np.zeros((self.mosaic.count, wide.height, wide.width), np.uint8)
        valid = np.zeros((wide.height, wide.width), bool)
        with gdal_environment():
            for index, scaling in enumerate(self.scalings):
                pixels, here = self.mosaic.read_source(index, wide)
                fresh = here & ~valid
                if fresh.all():
                    image = scaling.to_bytes(pixels)
                elif fresh.any():
                    image[:, fresh] = scaling.to_bytes(pixels)[:, fresh]
                valid |= here
                if valid.all():
                    break
        inner = window.within(wide)
        if not valid.all() and self.clearance_px:
            size = 2 * self.clearance_px + 1
            near = cv2.erode(valid.view(np.uint8), np.ones((size, size), np.uint8))
            valid = np.asarray(near, bool)
        patch = np.zeros((self.mosaic.count, self.patch_px, self.patch_px), np.uint8)
        patch[:, : window.height, : window.width] = image[:, *inner]
        return _Read(window, patch, valid[inner])


def predict(
    reader: WindowReader,
    network: torch.nn.Module,
    device: torch.device,
    *,
    overlap_px: int,
    batch: int,
    lines: range | None = None,
    progress: Progress = SILENT,
) -> Iterator[Strip]:
    """Predict the mosaic and give it back strip by strip, from the top.

    Windows lie on a fixed lattice from the raster's origin and fade into each other over their
    overlap, so no pixel depends on the batch size or on the machine's memory. Windows without a
    valid pixel are not run.

    Parameters
    ----------
    reader : WindowReader
    network : torch.nn.Module
        (N, bands, patch, patch) in 0..1 to (N, 1, patch, patch) logits.
    device : torch.device
    overlap_px : int
    batch : int
        Windows a batch; the last one is filled up, so that shapes never change. Halved where a
        GPU's memory does not hold it.
    lines : range, optional
        Only these lines of the lattice, which are strips; all by default. The windows of the line
        above are run again for their share, so pixels are those of the whole.
    progress : Progress
        Told of the windows.
    """
    height, width = reader.mosaic.shape
    patch = reader.patch_px
    rows, cols = starts(height, patch, overlap_px), starts(width, patch, overlap_px)
    stride = patch - overlap_px
    lines = range(len(rows)) if lines is None else lines
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    taper = _taper(patch, overlap_px)
    total = np.zeros((patch, cols[-1] + patch), np.float32)
    weight = np.zeros_like(total)
    valid = np.zeros(total.shape, bool)
    done = max(0, lines.start - 1)
    places = [(row, col) for row in rows[done : lines.stop] for col in cols]

    def flush(row: int) -> Strip:
        count = min(stride, height - row) if row != rows[-1] else height - row
        finished = total[:count, :width] / np.maximum(weight[:count, :width], 1e-12)
        clear = valid[:count, :width].copy()
        strip = Strip(row, np.where(clear, finished, np.float32(0)), clear)
        for buffer in (total, weight, valid):
            buffer[: patch - stride] = buffer[stride:]
            buffer[patch - stride :] = 0
        return strip

    # The model takes every core of a CPU and waits for the slowest of its threads at each layer:
    # reading beside it costs more than reading before it. A GPU leaves the cores to the readers.
    ahead_of_model = 0 if device.type == "cpu" else 2 * batch
    fitting = Fitting(batch)
    for group in _groups(places, reader.read, batch, ahead_of_model):
        probabilities = _run(network, group, device, fitting)
        for read, probability in zip(group, probabilities, strict=True):
            row, col = read.window.row, read.window.col
            while row > rows[done]:
                strip = flush(rows[done])
                if done in lines:
                    yield strip
                done += 1
            if probability is not None:
                total[:, col : col + patch] += probability * taper
            weight[:, col : col + patch] += taper
            part = valid[: read.window.height, col : col + read.window.width]
            part |= read.valid
            if row >= rows[lines.start]:
                progress.advance()
    yield flush(rows[done])


def _groups(
    places: list[tuple[int, int]], read: Callable[[int, int], _Read], batch: int, beyond: int
) -> Iterator[list[_Read]]:
    """Read windows in threads, in order, at most `beyond` more than the next batch needs."""
    with ThreadPoolExecutor(threads()) as readers:
        ahead: list[Future[_Read]] = []
        group: list[_Read] = []
        used = 0
        todo = iter(places)
        try:
            while True:
                while len(ahead) < batch - used + beyond:
                    if (place := next(todo, None)) is None:
                        break
                    ahead.append(readers.submit(read, *place))
                if not ahead:
                    break
                group.append(ahead.pop(0).result())
                used += bool(group[-1].valid.any())
                if used == batch or len(group) == 4 * batch:  # wide nodata must not pile up
                    yield group
                    group, used = [], 0
            if group:
                yield group
        finally:
            readers.shutdown(cancel_futures=True)


@torch.inference_mode()
def _run(
    network: torch.nn.Module, group: list[_Read], device: torch.device, fitting: "Fitting"
) -> list[NDArray[np.float32] | None]:
    """Run the windows that have data; None for the others."""
    used = [index for index, item in enumerate(group) if item.valid.any()]
    results: list[NDArray[np.float32] | None] = [None] * len(group)
    if not used:
        return results

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        stacked = torch.from_numpy(images).to(device).to(memory_format=torch.channels_last)
        stacked = stacked.float().div_(255)
        with mixed_precision(device):
            logits = network(stacked)
        return np.asarray(torch.sigmoid(logits.float()).cpu().numpy()[:, 0])

    made = fitting(run, np.stack([group[index].image for index in used]))
    for index, probability in zip(used, made, strict=True):
        results[index] = probability
    return results


class Fitting:
    """Runs batches of one size, and of half of it once a GPU's memory did not hold them.

    Parameters
    ----------
    batch : int
        Windows a batch to begin with.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def __call__(
        self, run: Callable[[NDArray[np.uint8]], NDArray[np.float32]], images: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Run images batch by batch; the last one is filled up, so that shapes never change.

        Raises
        ------
        InputError
            Not even one image fits.
        """
        results: list[NDArray[np.float32]] = []
        place = 0
        while place < len(images):
            some = images[place : place + self.batch]
            filled = np.zeros((self.batch, *images.shape[1:]), images.dtype)
            filled[: len(some)] = some
            try:
                results.append(run(filled)[: len(some)])
            except torch.cuda.OutOfMemoryError as error:
                if self.batch == 1:
                    raise InputError(
                        f"the GPU's memory does not hold one window of {images.shape[2]} px: close "
                        "other programs that use it, or give --device cpu"
                    ) from error
                self.batch //= 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            place += len(some)
        return np.concatenate(results)


def _taper(patch: int, overlap: int) -> NDArray[np.float32]:
    """Weights that fall off linearly across the overlap; those of neighbours add up to 1."""
    ramp = np.ones(patch, np.float32)
    if overlap:
        rise = (np.arange(overlap, dtype=np.float32) + np.float32(0.5)) / np.float32(overlap)
        ramp[:overlap], ramp[-overlap:] = rise, rise[::-1]
    return np.asarray(ramp[:, None] * ramp[None, :])

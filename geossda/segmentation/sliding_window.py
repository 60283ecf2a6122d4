"""Prediction over a mosaic by sliding window, blended and yielded strip by strip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.progress import SILENT, Progress
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import Scaling
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, starts
from geossda.segmentation.model_runner import Network, Read, run_windows


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


@dataclass(frozen=True)
class WindowReader:
    """Reads model input from a mosaic on the model's grid.

    Attributes
    ----------
    mosaic : Mosaic
    scalings : sequence of Scaling
        One a source, so that each keeps its own radiometry.
    patch_px : int
        Side of the windows; past the raster's edge they are filled with 0, as nodata is.
    clearance_px : int
        Pixels this near to nodata count as invalid too.
    """

    mosaic: Mosaic
    scalings: Sequence[Scaling]
    patch_px: int
    clearance_px: int

    def read(self, row: int, col: int) -> Read:
        """Read the window whose first pixel is at `row` and `col`."""
        height, width = self.mosaic.shape
        window = Window(row, col, min(self.patch_px, height - row), min(self.patch_px, width - col))
        wide = window.grown(self.clearance_px, (height, width))
        image = np.zeros((self.mosaic.count, wide.height, wide.width), np.uint8)
        valid = np.zeros((wide.height, wide.width), bool)
        with gdal_environment():
            for index, scaling in enumerate(self.scalings):
                pixels, present = self.mosaic.read_source(index, wide, beyond_area=True)
                fresh = present & ~valid
                if fresh.all():
                    image = scaling.to_bytes(pixels)
                elif fresh.any():
                    image[:, fresh] = scaling.to_bytes(pixels)[:, fresh]
                valid |= present
                if valid.all():
                    break
        inner = window.within(wide)
        if not valid.all() and self.clearance_px:
            size = 2 * self.clearance_px + 1
            near = cv2.erode(valid.view(np.uint8), np.ones((size, size), np.uint8))
            valid = np.asarray(near, bool)
        inside = valid[inner]
        if self.mosaic.area is not None:
            # The model sees what is around the area; buildings are drawn up to its border.
            inside = inside & self.mosaic.area.mask(window, self.mosaic.grid)
        patch = np.zeros((self.mosaic.count, self.patch_px, self.patch_px), np.uint8)
        patch[:, : window.height, : window.width] = image[:, *inner]
        return Read(window, patch, inside)

    def spread_places(self, overlap_px: int, most: int) -> list[tuple[int, int]]:
        """Return the first pixels of some windows of the lattice, spread over the raster.

        Parameters
        ----------
        overlap_px : int
            Overlap of the windows of the lattice.
        most : int
            Greatest number of windows; all are returned where there are fewer.
        """
        rows, cols = (starts(length, self.patch_px, overlap_px) for length in self.mosaic.shape)
        places = [(row, col) for row in rows for col in cols]
        chosen = np.linspace(0, len(places) - 1, min(most, len(places)))
        return [places[index] for index in np.unique(np.rint(chosen).astype(int)).tolist()]

    def warn_of_nothing(self, progress: Progress) -> None:
        """Warn that all pixels are too near to nodata for a prediction.

        Parameters
        ----------
        progress : Progress
        """
        distance = self.clearance_px * max(ground_sample_distance(self.mosaic.grid))
        where = "" if self.mosaic.area is None else " of the area"
        progress.warn(
            f"{self.mosaic.name}: nothing was predicted, since all valid pixels{where} lie within "
            f"{distance:.1f} m of nodata, where no footprint is drawn: check its nodata value, "
            "mask or alpha band"
        )


def predict(
    reader: WindowReader,
    network: Network,
    *,
    overlap_px: int,
    batch: int,
    lines: range | None = None,
    progress: Progress = SILENT,
) -> Iterator[Strip]:
    """Predict a mosaic strip by strip, from the top.

    Windows lie on a fixed lattice from the raster's origin and fade into each other over their
    overlap, so no pixel depends on the batch size or on the machine's memory. Windows without a
    valid pixel are not run.

    Parameters
    ----------
    reader : WindowReader
    network : Network
        (N, bands, patch, patch) images to (N, patch, patch) logits.
    overlap_px : int
    batch : int
        Windows at a time.
    lines : range, optional
        Only these lines of the lattice, which are strips; all by default. The windows of the line
        above are run again for their share, so pixels are those of the whole.
    progress : Progress
        Advanced by one per window.
    """
    height, width = reader.mosaic.shape
    patch = reader.patch_px
    rows, cols = starts(height, patch, overlap_px), starts(width, patch, overlap_px)
    stride = patch - overlap_px
    lines = range(len(rows)) if lines is None else lines
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

    for read, probability in run_windows(places, reader.read, network, batch):
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


def _taper(patch: int, overlap: int) -> NDArray[np.float32]:
    """Return weights that fall linearly across the overlap; those of neighbours add up to 1."""
    ramp = np.ones(patch, np.float32)
    if overlap:
        rise = (np.arange(overlap, dtype=np.float32) + np.float32(0.5)) / np.float32(overlap)
        ramp[:overlap], ramp[-overlap:] = rise, rise[::-1]
    return np.asarray(ramp[:, None] * ramp[None, :])

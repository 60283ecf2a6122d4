"""Random labelled patches for training, each a function of seed, step and place in the batch.

No state is carried from one to the next, so a resumed run draws what the uninterrupted one
would have drawn, whatever the number of reader threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from geossda.data.augment import jitter_color, turn
from geossda.data.labels import rasterize
from geossda.errors import EmptyRasterError
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.radiometry import Stretch, percentile_stretch
from geossda.raster.reading import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.statistics import histograms
from geossda.raster.windows import Window

# Below this many pixels a raster at working resolution is held in memory (3 bands: 192 MB).
HELD_PX = 2**26


class Patch(NamedTuple):
    """One training sample.

    Attributes
    ----------
    image : (bands, side, side) float32 array, 0..1
    label : (1, side, side) float32 array, 0 or 1
    weight : (1, side, side) float32 array, 0 where the image has no data
    """

    image: NDArray[np.float32]
    label: NDArray[np.float32]
    weight: NDArray[np.float32]


@dataclass
class LabelledRaster:
    """One raster at working resolution, scaled to 8 bit, with its footprints.

    Attributes
    ----------
    mosaic : Mosaic
        On the working grid.
    shapes : GeoSeries
        Footprints in the mosaic's CRS.
    stretch : Stretch
        Digital numbers to 0..1.
    """

    mosaic: Mosaic
    shapes: gpd.GeoSeries
    stretch: Stretch
    held: NDArray[np.uint8] | None = None

    @classmethod
    def prepare(
        cls,
        mosaic: Mosaic,
        shapes: gpd.GeoSeries,
        gsd_m: float,
        percent: tuple[float, float],
    ) -> "LabelledRaster":
        """Measure the stretch, and read small rasters into memory."""
        stretch = percentile_stretch(histograms(mosaic), *percent)
        made = cls(mosaic.resampled(grid_at_gsd(mosaic.grid, gsd_m)), shapes, stretch)
        height, width = made.mosaic.shape
        if height * width <= HELD_PX:
            made.held = made.read(Window(0, 0, height, width))
        return made

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read (bands + 2, height, width) bytes: scaled image, label, validity (1 or 0)."""
        if self.held is not None:
            return self.held[:, window.rows, window.cols]
        with gdal_environment():
            pixels, valid = self.mosaic.read(window)
        image = self.stretch.to_bytes(pixels)
        label = rasterize(self.shapes, self.mosaic.grid, window)
        return np.concatenate([image, label[None], valid[None].astype(np.uint8)])


@dataclass
class PatchSampler:
    """Draw augmented patches from labelled rasters.

    A raster's chance is the square root of its area: a large one is seen more, a small one
    often enough.

    Attributes
    ----------
    rasters : sequence of LabelledRaster
    side : int
        Patch side in pixels.
    seed : int
    scale : (float, float)
        Range of the random resize (log-uniform); 2 shows things twice as large.
    """

    rasters: Sequence[LabelledRaster]
    side: int
    seed: int
    scale: tuple[float, float] = (0.67, 1.5)

    def __post_init__(self) -> None:
        """Weigh the rasters."""
        if not self.rasters:
            raise EmptyRasterError("no labelled raster to draw patches from")
        areas = np.array([np.prod(raster.mosaic.shape) for raster in self.rasters], float)
        self._chance = np.sqrt(areas) / np.sqrt(areas).sum()

    def draw(self, step: int, place: int) -> Patch:
        """Give sample `place` of batch `step`."""
        rng = np.random.default_rng([self.seed, step, place])
        for _ in range(100):
            patch = self._draw(rng)
            if patch.weight.mean() > 0.25:
                return patch
        raise EmptyRasterError("100 patches in a row were mostly nodata: check the rasters' masks")

    def _draw(self, rng: np.random.Generator) -> Patch:
        raster = self.rasters[rng.choice(len(self.rasters), p=self._chance)]
        height, width = raster.mosaic.shape
        zoom = np.exp(rng.uniform(*np.log(self.scale)))
        side = max(8, round(self.side / zoom))
        tall, wide = min(side, height), min(side, width)
        window = Window(
            int(rng.integers(0, height - tall + 1)),
            int(rng.integers(0, width - wide + 1)),
            tall,
            wide,
        )
        read = raster.read(window)
        if (tall, wide) != (side, side):  # a raster smaller than a patch: the rest is nodata
            pad = ((0, 0), (0, side - tall), (0, side - wide))
            read = np.pad(read, pad)
        if side != self.side:
            how = cv2.INTER_AREA if side > self.side else cv2.INTER_LINEAR
            image = cv2.resize(
                read[:-2].transpose(1, 2, 0), (self.side, self.side), interpolation=how
            )
            image = image.reshape(self.side, self.side, -1).transpose(2, 0, 1)
            marks = cv2.resize(
                read[-2:].transpose(1, 2, 0),
                (self.side, self.side),
                interpolation=cv2.INTER_NEAREST,
            ).transpose(2, 0, 1)
            read = np.concatenate([image, marks])
        read = turn(read, rng)
        image = jitter_color(np.asarray(read[:-2] / np.float32(255), np.float32), rng)
        weight = read[-1:].astype(np.float32)
        return Patch(image * weight, read[-2:-1].astype(np.float32), weight)

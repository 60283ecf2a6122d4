"""Random unlabelled patches, two views each, for learning styles without domain labels.

Views are changed in space only (resize, crop, blur, turn), never in colour: that two views of one
image share their style is all the supervision there is. Each sample is a function of seed, step
and place, so a resumed run draws what the uninterrupted one would have drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.data.augment import turn
from geossda.errors import EmptyRasterError
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import Scaling, scaling
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

TRIES = 200


@dataclass
class UnlabelledRaster:
    """One raster to draw from, as bytes.

    Attributes
    ----------
    mosaic : Mosaic
    stretch : Scaling
        8 bit is taken as it is; all else by the paper's cut of 2 % at either end.
    width : int
        Columns to draw from; those to the right are held back.
    held : array or None
        (bands + 1, height, width) bytes, the last band validity, if it fits in memory.
    """

    mosaic: Mosaic
    stretch: Scaling
    width: int
    held: NDArray[np.uint8] | None = None

    @classmethod
    def prepare(cls, mosaic: Mosaic, hold_out: float = 0.0, room_px: int = 0) -> "UnlabelledRaster":
        """Measure the stretch, and read the raster into memory if it has no more than `room_px`."""
        mosaic.require_colors()
        stretch = scaling("bits", mosaic)
        height, width = mosaic.shape
        made = cls(mosaic, stretch, round(width * (1 - hold_out)))
        if height * width <= room_px:
            made.held = made.read(Window(0, 0, height, width))
        return made

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read (bands + 1, height, width) bytes: the image and its validity."""
        if self.held is not None:
            return self.held[:, window.rows, window.cols]
        with gdal_environment():
            pixels, valid = self.mosaic.read(window)
        return np.concatenate([self.stretch.to_bytes(pixels), valid[None].astype(np.uint8)])


class Views(NamedTuple):
    """Two views of one image.

    Attributes
    ----------
    images : (2, bands, side, side) uint8 array
    raster : int
        Which of the sampler's rasters they are from.
    """

    images: NDArray[np.uint8]
    raster: int


@dataclass
class ViewSampler:
    """Draw pairs of views from rasters without labels.

    A raster's chance goes with the fourth root of its area: what counts is how many looks are seen,
    and a large raster has more of them, but not in proportion.

    Attributes
    ----------
    rasters : sequence of UnlabelledRaster
    bands : int
        Of a view. Rasters with more give a random choice of theirs, in random order; those with
        fewer repeat them.
    side : int
        Of a view, in pixels.
    seed : int
    reach : float
        How far apart, in sides, the two views of an image may lie; 0 crops both from one place.
    scale : (float, float)
        Range of the random resize (log-uniform); 2 shows things twice as large.
    blur : float
        Chance of a slight Gaussian blur.
    """

    rasters: Sequence[UnlabelledRaster]
    bands: int
    side: int
    seed: int
    reach: float = 2.0
    scale: tuple[float, float] = (0.5, 2.0)
    blur: float = 0.2

    def __post_init__(self) -> None:
        """Weigh the rasters."""
        if not self.rasters:
            raise EmptyRasterError("no raster to draw patches from")
        areas = np.array([r.mosaic.shape[0] * r.width for r in self.rasters], float)
        self._chance = areas**0.25 / (areas**0.25).sum()

    def draw(self, step: int, place: int) -> Views:
        """Give the views of sample `place` of batch `step`."""
        rng = np.random.default_rng([self.seed, step, place])
        for _ in range(TRIES):
            raster = int(rng.choice(len(self.rasters), p=self._chance))
            images = self._views(self.rasters[raster], rng)
            if images is not None:
                return Views(images, raster)
        raise EmptyRasterError(
            f"{TRIES} places in a row had nodata in them: check the rasters' masks, or give a "
            "smaller --patch"
        )

    def _views(
        self, raster: UnlabelledRaster, rng: np.random.Generator
    ) -> NDArray[np.uint8] | None:
        bands = self._choose(raster.mosaic.count, rng)
        height, width = raster.mosaic.shape[0], raster.width
        centre = rng.uniform(0, 1, 2) * (height, width)
        views = []
        for _ in range(2):
            zoom = float(np.exp(rng.uniform(*np.log(self.scale))))
            side = min(max(8, round(self.side / zoom)), height, width)
            at = centre + rng.uniform(-1, 1, 2) * (self.reach / 2 * self.side + side / 8)
            row = int(np.clip(at[0] - side / 2, 0, height - side))
            col = int(np.clip(at[1] - side / 2, 0, width - side))
            read = raster.read(Window(row, col, side, side))
            chosen = read[bands]
            # A band of one value (an alpha band taken for data, undeclared nodata) has no look.
            if not read[-1].all() or not np.ptp(chosen, axis=(1, 2)).all():
                return None
            views.append(self._show(chosen, rng))
        return np.stack(views)

    def _choose(self, count: int, rng: np.random.Generator) -> list[int]:
        """Choose bands; a raster that has just as many gives them in their order."""
        if count == self.bands:
            return list(range(count))
        if count < self.bands:
            return [min(band, count - 1) for band in range(self.bands)]
        return [int(band) for band in rng.permutation(count)[: self.bands]]

    def _show(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[Any]:
        side = image.shape[1]
        if side != self.side:
            how = cv2.INTER_AREA if side > self.side else cv2.INTER_LINEAR
            size = (self.side, self.side)
            image = np.stack([cv2.resize(band, size, interpolation=how) for band in image])
        if rng.random() < self.blur:
            sigma = rng.uniform(0.3, 1.0)
            image = np.stack([cv2.GaussianBlur(band, (0, 0), sigma) for band in image])
        return turn(image, rng)

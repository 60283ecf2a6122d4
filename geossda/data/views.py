"""Random unlabelled patches, two views each, for learning styles without domain labels.

Views are augmented in geometry and blur, never in colour: that two views of one image share their
style is the only supervision. Each sample is a function of seed, step and place in the batch, so a
resumed run draws what the uninterrupted one would have drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from geossda.data.augment import random_symmetry
from geossda.data.scaled_rasters import UnlabelledRaster
from geossda.errors import EmptyRasterError
from geossda.raster.windows import Window

# Patches with nodata, in a row, before a sampler gives up.
MAX_TRIES = 200


class Views(NamedTuple):
    """Two views of each of some places of one image.

    Attributes
    ----------
    images : (2 * places, bands, side, side) uint8 array
    raster : int
        Index of the sampler's raster that they were drawn from.
    """

    images: NDArray[np.uint8]
    raster: int


@dataclass
class ViewSampler:
    """Draw pairs of views from rasters without labels.

    A raster's probability is proportional to the fourth root of its area: styles should be drawn
    equally often, and a large raster has more of them, but not in proportion.

    Attributes
    ----------
    rasters : sequence of UnlabelledRaster
    bands : int
        Bands of a view. Of rasters with more, bands are drawn at random, in random order; those of
        rasters with fewer are repeated.
    side : int
        Side of a view in pixels.
    seed : int
    reach : float
        Largest distance of the two views of an image, in sides; 0 crops both at one position.
    scale : (float, float)
        Range of the random resize (log-uniform); at 2 objects are twice as large.
    blur : float
        Probability of a slight Gaussian blur, in 0..1.
    places : int
        Places of the raster that two views each are drawn of, in the same bands.
    domains : sequence of str
        The domain of each raster: samples are then drawn from all domains in turn. By default from
        all rasters alike.
    """

    rasters: Sequence[UnlabelledRaster]
    bands: int
    side: int
    seed: int
    reach: float = 2.0
    scale: tuple[float, float] = (0.5, 2.0)
    blur: float = 0.2
    places: int = 1
    domains: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Compute the rasters' probabilities to be drawn from."""
        if not self.rasters:
            raise EmptyRasterError("no raster to draw patches from")
        areas = np.array([r.mosaic.shape[0] * r.width for r in self.rasters], float)
        weights = areas**0.25
        if self.domains:  # one row each
            names = np.unique(self.domains)
            weights = weights * (np.array(self.domains) == names[:, None])
        self._probabilities = np.atleast_2d(weights / weights.sum(-1, keepdims=True))

    def draw(self, step: int, place: int) -> Views:
        """Return the views of sample `place` of batch `step`.

        Raises
        ------
        EmptyRasterError
            Almost all patches hold nodata.
        """
        rng = np.random.default_rng([self.seed, step, place])
        probabilities = self._probabilities[place % len(self._probabilities)]
        for _ in range(MAX_TRIES):
            raster = int(rng.choice(len(self.rasters), p=probabilities))
            images = self._views(self.rasters[raster], rng)
            if images is not None:
                return Views(images, raster)
        raise EmptyRasterError(
            f"{MAX_TRIES} patches in a row held nodata: check the rasters' masks, or give a "
            "smaller --patch"
        )

    def _views(
        self, raster: UnlabelledRaster, rng: np.random.Generator
    ) -> NDArray[np.uint8] | None:
        bands = self._draw_bands(raster.mosaic.count, rng)
        height, width = raster.mosaic.shape[0], raster.width
        views = []
        for view in range(2 * self.places):
            if view % 2 == 0:
                centre = rng.uniform(0, 1, 2) * (height, width)
            zoom = float(np.exp(rng.uniform(*np.log(self.scale))))
            side = min(max(8, round(self.side / zoom)), height, width)
            at = centre + rng.uniform(-1, 1, 2) * (self.reach / 2 * self.side + side / 8)
            row = int(np.clip(at[0] - side / 2, 0, height - side))
            col = int(np.clip(at[1] - side / 2, 0, width - side))
            read = raster.read(Window(row, col, side, side))
            image = read[bands]
            # A band of one value (undeclared alpha or nodata) has no style.
            if not read[-1].all() or not np.ptp(image, axis=(1, 2)).all():
                return None
            views.append(self._augment(image, rng))
        return np.stack(views)

    def _draw_bands(self, count: int, rng: np.random.Generator) -> list[int]:
        """Return random bands; if the raster has as many as a view, all in their order."""
        if count == self.bands:
            return list(range(count))
        if count < self.bands:
            return [min(band, count - 1) for band in range(self.bands)]
        return [int(band) for band in rng.permutation(count)[: self.bands]]

    def _augment(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[Any]:
        side = image.shape[1]
        if side != self.side:
            interpolation = cv2.INTER_AREA if side > self.side else cv2.INTER_LINEAR
            size = (self.side, self.side)
            image = np.stack([cv2.resize(b, size, interpolation=interpolation) for b in image])
        if rng.random() < self.blur:
            sigma = rng.uniform(0.3, 1.0)
            image = np.stack([cv2.GaussianBlur(band, (0, 0), sigma) for band in image])
        return random_symmetry(image, rng)

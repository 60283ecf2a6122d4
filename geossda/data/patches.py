"""Random patches for training, each a function of seed, step and place in the batch.

No state passes from one patch to the next, so a resumed run draws what the uninterrupted one would
have drawn, whatever the number of reader threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.data.augment import jitter_color, random_symmetry
from geossda.data.degradations import degrade
from geossda.data.label_maps import label_maps, rescale_distances
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import EmptyRasterError
from geossda.raster.windows import Window

# Patches that are mostly nodata, in a row, before a sampler gives up.
MAX_TRIES = 100
# Fraction of the patches that a sampler with `degrade` degrades.
DEGRADED = 0.75


class Patch(NamedTuple):
    """One training sample.

    Attributes
    ----------
    image : (bands, side, side) float32 array, 0..1
    label : (outputs, side, side) float32 array, 0..1
        The first is 1 in buildings: see :func:`geossda.data.label_maps.label_maps`.
    weight : (1, side, side) float32 array, 0 where the image has no data
    """

    image: NDArray[np.float32]
    label: NDArray[np.float32]
    weight: NDArray[np.float32]


class TargetPatch(NamedTuple):
    """One patch of target imagery.

    Attributes
    ----------
    image : (bands, side, side) float32 array, 0..1
        The patch as it is, for the teacher.
    restyled : (bands, side, side) float32 array, 0..1
        The patch in another style, for the network in training.
    weight : (1, side, side) float32 array, 0 where the image has no data
    raster : int
        Index of the target raster that it was drawn from.
    """

    image: NDArray[np.float32]
    restyled: NDArray[np.float32]
    weight: NDArray[np.float32]
    raster: int


class Recolor(Protocol):
    """Changes the colours of training patches, as an adaptation strategy does."""

    def __call__(
        self, image: NDArray[np.uint8], valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> NDArray[np.uint8]:
        """Return a (bands, side, side) patch of the raster of this index in other colours."""
        ...


@dataclass
class PatchSampler:
    """Draw augmented patches from labelled rasters, as often as :func:`draw_probabilities` says.

    Attributes
    ----------
    rasters : sequence of WorkingRaster
    side : int
        Patch side in pixels.
    seed : int
    recolor : callable, optional
        Recolours patches, as an adaptation strategy does.
    share : float
        Fraction of the patches that are recoloured, in 0..1.
    jitter : bool
        Whether colours are also jittered at random.
    scale : (float, float)
        Range of the random resize (log-uniform); at 2 objects are twice as large.
    stride : int
        Patches begin at multiples of so many pixels.
    degrade : bool
        Whether most patches are degraded: see :func:`geossda.data.degradations.degrade`.
    outputs : int
        Number of label maps of a patch, from 1 to 3.
    """

    rasters: Sequence[WorkingRaster]
    side: int
    seed: int
    recolor: Recolor | None = None
    share: float = 0.5
    jitter: bool = True
    scale: tuple[float, float] = (0.67, 1.5)
    stride: int = 1
    degrade: bool = False
    outputs: int = 3

    def __post_init__(self) -> None:
        """Compute the rasters' probabilities to be drawn from."""
        if not self.rasters:
            raise EmptyRasterError("no labelled raster to draw patches from")
        self._probabilities = draw_probabilities(self.rasters)

    def draw(self, step: int, place: int) -> Patch:
        """Return sample `place` of batch `step`.

        Raises
        ------
        EmptyRasterError
            The rasters are mostly nodata.
        """
        rng = np.random.default_rng([self.seed, step, place])
        for _ in range(MAX_TRIES):
            raster = int(rng.choice(len(self.rasters), p=self._probabilities))
            read = random_patch(self.rasters[raster], self.side, rng, self.scale, self.stride)
            if read[-1].mean() > 0.25:
                break
        else:
            raise EmptyRasterError(
                f"{MAX_TRIES} patches in a row were mostly nodata: check the rasters' masks"
            )
        image, label, valid = read[:-2], read[-2:-1], read[-1:]
        # Drawn whether needed or not, so that all strategies get the same patches.
        chosen = rng.random() < self.share
        if self.recolor is not None and chosen:
            image = self.recolor(image, valid[0] > 0, raster, rng)
        scaled = np.asarray(image / np.float32(255), np.float32)
        if self.degrade and rng.random() < DEGRADED:
            scaled = degrade(scaled, rng)
        if self.jitter:
            scaled = jitter_color(scaled, rng)
        weight = valid.astype(np.float32)
        return Patch(scaled * weight, label_maps(label[0])[: self.outputs], weight)


@dataclass
class TargetSampler:
    """Draw patches of target imagery, as they are and in another style.

    Attributes
    ----------
    rasters : sequence of WorkingRaster
    side : int
        Patch side in pixels.
    seed : int
    restyle : callable, optional
        Recolours patches, as an adaptation strategy does.
    share : float
        Fraction of the patches that are recoloured, in 0..1.
    jitter : bool
        Whether the colours of the second view are also jittered.
    scale : (float, float)
        Range of the random resize (log-uniform).
    """

    rasters: Sequence[WorkingRaster]
    side: int
    seed: int
    restyle: Recolor | None = None
    share: float = 0.5
    jitter: bool = False
    scale: tuple[float, float] = (0.67, 1.5)

    def __post_init__(self) -> None:
        """Compute the rasters' probabilities to be drawn from."""
        self._probabilities = draw_probabilities(self.rasters)

    def draw(self, step: int, place: int) -> TargetPatch:
        """Return sample `place` of batch `step`.

        Raises
        ------
        EmptyRasterError
            The rasters are mostly nodata.
        """
        # The last number keeps its random numbers apart from PatchSampler's.
        rng = np.random.default_rng([self.seed, step, place, 1])
        for _ in range(MAX_TRIES):
            raster = int(rng.choice(len(self.rasters), p=self._probabilities))
            read = random_patch(self.rasters[raster], self.side, rng, self.scale)
            if read[-1].mean() > 0.25:
                break
        else:
            raise EmptyRasterError(f"{MAX_TRIES} target patches in a row were mostly nodata")
        image, valid = read[:-2], read[-1:]
        recolored = image
        if self.restyle is not None and rng.random() < self.share:
            recolored = self.restyle(image, valid[0] > 0, raster, rng)
        weight = valid.astype(np.float32)
        plain, restyled = (np.asarray(x / np.float32(255), np.float32) for x in (image, recolored))
        if self.jitter:
            restyled = jitter_color(restyled, rng)
        return TargetPatch(plain * weight, restyled * weight, weight, raster)


def draw_probabilities(rasters: Sequence[WorkingRaster]) -> NDArray[np.float64]:
    """Compute each raster's probability of being drawn from.

    That of a place (the rasters of one folder) is proportional to the square root of its area, so
    that a small one is seen often enough, however many files a large one is cut into. Within its
    place a raster's is proportional to its area.
    """
    areas_px = np.array([raster.mosaic.shape[0] * raster.width for raster in rasters], float)
    folders = [raster.folder for raster in rasters]
    places_px = np.array(
        [
            sum(area for area, other in zip(areas_px, folders, strict=True) if other == folder)
            for folder in folders
        ]
    )
    weights = areas_px / np.sqrt(places_px)
    return np.asarray(weights / weights.sum())


def random_patch(
    raster: WorkingRaster,
    side: int,
    rng: Generator,
    scale: tuple[float, float] = (1, 1),
    stride: int = 1,
) -> NDArray[np.uint8]:
    """Read a random patch, resized, rotated and mirrored at random.

    Parameters
    ----------
    raster : WorkingRaster
    side : int
        Side of the patch in pixels.
    rng : Generator
    scale : (float, float)
        Range of the random resize (log-uniform); at 2 objects are twice as large.
    stride : int
        The patch begins at a multiple of so many pixels.

    Returns
    -------
    (bands + 2, side, side) uint8 array
        As :meth:`WorkingRaster.read` returns it.
    """
    height, width = raster.mosaic.shape[0], raster.width
    zoom = np.exp(rng.uniform(*np.log(scale)))
    read_px = max(8, round(side / zoom))
    rows, cols = min(read_px, height), min(read_px, width)
    row = int(rng.integers(0, (height - rows) // stride + 1)) * stride
    col = int(rng.integers(0, (width - cols) // stride + 1)) * stride
    read = raster.read(Window(row, col, rows, cols))
    if (rows, cols) != (read_px, read_px):  # a raster smaller than a patch: the rest is nodata
        read = np.pad(read, ((0, 0), (0, read_px - rows), (0, read_px - cols)))
    if read_px != side:
        interpolation = cv2.INTER_AREA if read_px > side else cv2.INTER_LINEAR
        # One by one: OpenCV 5 averages at most four bands at a time.
        image = np.stack(
            [cv2.resize(band, (side, side), interpolation=interpolation) for band in read[:-2]]
        )
        masks = cv2.resize(
            read[-2:].transpose(1, 2, 0), (side, side), interpolation=cv2.INTER_NEAREST
        ).transpose(2, 0, 1)
        read = np.concatenate([image, rescale_distances(masks[:1], side / read_px), masks[1:]])
    return random_symmetry(read, rng)

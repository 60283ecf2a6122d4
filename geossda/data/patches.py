"""Random labelled patches for training, each a function of seed, step and place in the batch.

No state is carried from one to the next, so a resumed run draws what the uninterrupted one
would have drawn, whatever the number of reader threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import geopandas as gpd
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.data.augment import jitter_color, turn
from geossda.data.degradations import degrade
from geossda.data.label_maps import label_maps, rasterize_distances, rescale_distances
from geossda.data.labels import rasterize
from geossda.errors import EmptyRasterError
from geossda.raster.gsd import grid_at_gsd
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import Scaling
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

# Below this many pixels a raster at working resolution is held in memory (3 bands: 192 MB).
HELD_PX = 2**26
TRIES = 100
# Share of patches that a sampler with `degrade` degrades.
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
        As it is: what the teacher sees.
    restyled : (bands, side, side) float32 array, 0..1
        In another look: what the network sees.
    weight : (1, side, side) float32 array, 0 where the image has no data
    raster : int
        Which of the target's it is of.
    """

    image: NDArray[np.float32]
    restyled: NDArray[np.float32]
    weight: NDArray[np.float32]
    raster: int


class Recolor(Protocol):
    """Changes the colours of training patches: what an adaptation method does."""

    def __call__(
        self, image: NDArray[np.uint8], valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> NDArray[np.uint8]:
        """Give a (bands, side, side) patch of labelled raster `raster` other colours."""
        ...


@dataclass
class WorkingRaster:
    """One raster at working resolution, scaled to 8 bit.

    Attributes
    ----------
    mosaic : Mosaic
        On the working grid.
    scaling : Scaling
        Digital numbers to 0..1.
    shapes : GeoSeries or None
        Footprints in the mosaic's CRS, where they are known.
    width : int
        Columns to draw from; those to the right are held back.
    held : array or None
        What :meth:`read` gives of the whole, if it fits in memory.
    area : GeoSeries or None
        Polygons in the mosaic's CRS; what lies outside counts as nodata.
    """

    mosaic: Mosaic
    scaling: Scaling
    shapes: gpd.GeoSeries | None = None
    width: int = 0
    held: NDArray[np.uint8] | None = None
    area: gpd.GeoSeries | None = None

    @classmethod
    def prepare(
        cls,
        mosaic: Mosaic,
        gsd_m: float,
        scaling: Scaling,
        *,
        shapes: gpd.GeoSeries | None = None,
        area: gpd.GeoSeries | None = None,
        hold_out: float = 0.0,
        room_px: int = HELD_PX,
    ) -> "WorkingRaster":
        """Put a raster on the working grid, of an area no more than its bounds.

        One of at most `room_px` pixels is read into memory.
        """
        working = mosaic.resampled(grid_at_gsd(mosaic.grid, gsd_m))
        if area is not None:
            working = working.cropped(area.total_bounds)
        height, width = working.shape
        made = cls(working, scaling, shapes, round(width * (1 - hold_out)), area=area)
        if height * width <= room_px:
            made.held = made.read(Window(0, 0, height, width))
        return made

    @property
    def folder(self) -> Path:
        """The folder its first file lies in: its place, or its domain."""
        return Path(self.mosaic.sources[0].path).resolve().parent

    @property
    def held_px(self) -> int:
        """Pixels held in memory."""
        return 0 if self.held is None else self.held[0].size

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window.

        Returns
        -------
        (bands + 2, height, width) uint8 array
            The scaled image; distances of building pixels to the edge, 0 outside buildings
            (:func:`geossda.data.label_maps.rasterize_distances`); validity, 1 or 0.
        """
        if self.held is not None:
            return self.held[:, window.rows, window.cols]
        with gdal_environment():
            pixels, valid = self.mosaic.read(window)
        image = self.scaling.to_bytes(pixels)
        if self.shapes is None:
            label = np.zeros(valid.shape, np.uint8)
        else:
            label = rasterize_distances(self.shapes, self.mosaic.grid, window)
        if self.area is not None:
            valid = valid & (rasterize(self.area, self.mosaic.grid, window) > 0)
        return np.concatenate([image, label[None], valid[None].astype(np.uint8)])


@dataclass
class PatchSampler:
    """Draw augmented patches from labelled rasters, as often as :func:`chances` says.

    Attributes
    ----------
    rasters : sequence of WorkingRaster
    side : int
        Patch side in pixels.
    seed : int
    recolor : callable, optional
        What an adaptation method does to the colours.
    share : float
        Of the patches that are recoloured.
    jitter : bool
        Whether colours are jittered at random besides.
    scale : (float, float)
        Range of the random resize (log-uniform); 2 shows things twice as large.
    stride : int
        Patches start at multiples of so many pixels.
    degrade : bool
        Whether most patches are degraded as imagery is.
    outputs : int
        How many label maps a patch has, from 1 to 3.
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
        """Weigh the rasters."""
        if not self.rasters:
            raise EmptyRasterError("no labelled raster to draw patches from")
        self._chance = chances(self.rasters)

    def draw(self, step: int, place: int) -> Patch:
        """Give sample `place` of batch `step`."""
        rng = np.random.default_rng([self.seed, step, place])
        for _ in range(TRIES):
            raster = int(rng.choice(len(self.rasters), p=self._chance))
            read = cut(self.rasters[raster], self.side, rng, self.scale, self.stride)
            if read[-1].mean() > 0.25:
                break
        else:
            raise EmptyRasterError(
                f"{TRIES} patches in a row were mostly nodata: check the rasters' masks"
            )
        image, label, valid = read[:-2], read[-2:-1], read[-1:]
        # Drawn whether needed or not: then all methods are given the same patches.
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
    """Draw patches of target imagery, as they are and in another look.

    Attributes
    ----------
    rasters : sequence of WorkingRaster
    side : int
        Patch side in pixels.
    seed : int
    restyle : callable, optional
        Gives patches other looks.
    share : float
        Of the patches that are given another look.
    jitter : bool
        Whether the colours of the second view are jittered besides.
    scale : (float, float)
        Range of the random resize.
    """

    rasters: Sequence[WorkingRaster]
    side: int
    seed: int
    restyle: Recolor | None = None
    share: float = 0.5
    jitter: bool = False
    scale: tuple[float, float] = (0.67, 1.5)

    def __post_init__(self) -> None:
        """Weigh the rasters."""
        self._chance = chances(self.rasters)

    def draw(self, step: int, place: int) -> TargetPatch:
        """Give sample `place` of batch `step`."""
        # The last number keeps its random numbers apart from PatchSampler's.
        rng = np.random.default_rng([self.seed, step, place, 1])
        for _ in range(TRIES):
            raster = int(rng.choice(len(self.rasters), p=self._chance))
            read = cut(self.rasters[raster], self.side, rng, self.scale)
            if read[-1].mean() > 0.25:
                break
        else:
            raise EmptyRasterError(f"{TRIES} target patches in a row were mostly nodata")
        image, valid = read[:-2], read[-1:]
        other = image
        if self.restyle is not None and rng.random() < self.share:
            other = self.restyle(image, valid[0] > 0, raster, rng)
        weight = valid.astype(np.float32)
        plain, restyled = (np.asarray(x / np.float32(255), np.float32) for x in (image, other))
        if self.jitter:
            restyled = jitter_color(restyled, rng)
        return TargetPatch(plain * weight, restyled * weight, weight, raster)


def chances(rasters: Sequence[WorkingRaster]) -> NDArray[np.float64]:
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


def cut(
    raster: WorkingRaster,
    side: int,
    rng: Generator,
    scale: tuple[float, float] = (1, 1),
    stride: int = 1,
) -> NDArray[np.uint8]:
    """Cut a random patch, resized and turned: (bands + 2, side, side) as the raster reads them."""
    height, width = raster.mosaic.shape[0], raster.width
    zoom = np.exp(rng.uniform(*np.log(scale)))
    across = max(8, round(side / zoom))
    tall, wide = min(across, height), min(across, width)
    row = int(rng.integers(0, (height - tall) // stride + 1)) * stride
    col = int(rng.integers(0, (width - wide) // stride + 1)) * stride
    read = raster.read(Window(row, col, tall, wide))
    if (tall, wide) != (across, across):  # a raster smaller than a patch: the rest is nodata
        read = np.pad(read, ((0, 0), (0, across - tall), (0, across - wide)))
    if across != side:
        how = cv2.INTER_AREA if across > side else cv2.INTER_LINEAR
        image = cv2.resize(read[:-2].transpose(1, 2, 0), (side, side), interpolation=how)
        image = image.reshape(side, side, -1).transpose(2, 0, 1)
        marks = cv2.resize(
            read[-2:].transpose(1, 2, 0), (side, side), interpolation=cv2.INTER_NEAREST
        ).transpose(2, 0, 1)
        read = np.concatenate([image, rescale_distances(marks[:1], side / across), marks[1:]])
    return turn(read, rng)

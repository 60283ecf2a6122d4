"""Rasters to draw training patches from, scaled to 8 bit and in memory if they are small."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geossda.data.label_maps import rasterize_distances
from geossda.data.labels import rasterize
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import Scaling, scaling
from geossda.raster.shapes import Shapes
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window

# A raster of up to so many pixels at working resolution is kept in memory (3 bands: 192 MB).
MAX_IN_MEMORY_PX = 2**26


@dataclass(kw_only=True)
class ScaledRaster(ABC):
    """One raster, scaled to 8 bit.

    Attributes
    ----------
    mosaic : Mosaic
    scaling : Scaling
        Maps digital numbers to 0..1.
    width : int
        Columns to draw from; those to the right are held out.
    in_memory : array or None
        What :meth:`read` returns for the whole raster, if it fits in memory.
    """

    mosaic: Mosaic
    scaling: Scaling
    width: int
    in_memory: NDArray[np.uint8] | None = None

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window, from memory if it is kept there.

        Returns
        -------
        (bands + masks, height, width) uint8 array
            The scaled image and its masks; validity, 1 or 0, is the last.
        """
        if self.in_memory is not None:
            return self.in_memory[:, window.rows, window.cols]
        with gdal_environment():
            pixels, valid = self.mosaic.read(window)
        return np.concatenate([self.scaling.to_bytes(pixels), self.masks(window, valid)])

    @abstractmethod
    def masks(self, window: Window, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return what :meth:`read` returns besides the image.

        Parameters
        ----------
        window : Window
        valid : (height, width) bool array
            Where the mosaic has data.

        Returns
        -------
        (masks, height, width) uint8 array
        """

    def load(self, max_pixels: int) -> None:
        """Read the whole raster into memory if it has at most `max_pixels`."""
        height, width = self.mosaic.shape
        if height * width <= max_pixels:
            self.in_memory = self.read(Window(0, 0, height, width))


@dataclass(kw_only=True)
class UnlabelledRaster(ScaledRaster):
    """One raster without labels: :meth:`read` returns image and validity.

    8-bit images are unchanged; others are cut by 2 % at either end, as in the paper.
    """

    @classmethod
    def prepare(
        cls, mosaic: Mosaic, hold_out: float = 0.0, max_pixels: int = 0
    ) -> "UnlabelledRaster":
        """Return a raster with its scaling measured, read into memory if it is small enough.

        Parameters
        ----------
        mosaic : Mosaic
        hold_out : float
            Fraction of the columns, from the right, that is not drawn from.
        max_pixels : int
            Largest raster that is read into memory, in pixels.
        """
        mosaic.require_colors()
        width = round(mosaic.shape[1] * (1 - hold_out))
        raster = cls(mosaic=mosaic, scaling=scaling("bits", mosaic), width=width)
        raster.load(max_pixels)
        return raster

    def masks(self, window: Window, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the validity, (1, height, width)."""
        return valid[None].astype(np.uint8)


@dataclass(kw_only=True)
class WorkingRaster(ScaledRaster):
    """One raster at working resolution: :meth:`read` returns image, distances and validity.

    Attributes
    ----------
    shapes : Shapes or None
        Footprints in the mosaic's CRS, if there are any.
    area : Shapes or None
        Polygons in the mosaic's CRS; pixels outside count as nodata.
    """

    shapes: Shapes | None = None
    area: Shapes | None = None

    @classmethod
    def prepare(
        cls,
        mosaic: Mosaic,
        gsd_m: float,
        scaling: Scaling,
        *,
        shapes: Shapes | None = None,
        area: Shapes | None = None,
        hold_out: float = 0.0,
        max_pixels: int = MAX_IN_MEMORY_PX,
    ) -> "WorkingRaster":
        """Return a raster on the working grid, read into memory if it is small enough.

        Parameters
        ----------
        mosaic : Mosaic
        gsd_m : float
            Working resolution in metres.
        scaling : Scaling
        shapes, area : Shapes, optional
            Footprints, and the polygons to draw within, in the mosaic's CRS. The working grid
            covers the bounds of the area only.
        hold_out : float
            Fraction of the columns, from the right, that is not drawn from.
        max_pixels : int
            Largest raster that is read into memory, in pixels.
        """
        working = mosaic.at_gsd(gsd_m)
        if area is not None:
            working = working.cropped(area.bounds.tolist())
        width = round(working.shape[1] * (1 - hold_out))
        raster = cls(mosaic=working, scaling=scaling, width=width, shapes=shapes, area=area)
        raster.load(max_pixels)
        return raster

    @property
    def folder(self) -> Path:
        """The folder of its first file: its place, or its domain."""
        return Path(self.mosaic.sources[0].path).resolve().parent

    @property
    def pixels_in_memory(self) -> int:
        """Number of pixels that are kept in memory."""
        return 0 if self.in_memory is None else self.in_memory[0].size

    def masks(self, window: Window, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return distances and validity, (2, height, width).

        Distances are those of building pixels to the edge, 0 outside buildings
        (:func:`geossda.data.label_maps.rasterize_distances`).

        Parameters
        ----------
        window : Window
        valid : (height, width) bool array
        """
        if self.shapes is None:
            label = np.zeros(valid.shape, np.uint8)
        else:
            label = rasterize_distances(self.shapes, self.mosaic.grid, window)
        if self.area is not None:
            valid = valid & (rasterize(self.area, self.mosaic.grid, window) > 0)
        return np.stack([label, valid.astype(np.uint8)])

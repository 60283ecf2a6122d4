"""Sample patches of several images, for `matrix` and `evaluate-style`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geossda.data.scaled_rasters import UnlabelledRaster
from geossda.errors import BandError, EmptyRasterError, InputError, counted
from geossda.progress import SILENT, Progress
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, spread
from geossda.urls import file_stem, public_name


@dataclass(frozen=True)
class Sample:
    """Patches of one image.

    Attributes
    ----------
    name : str
    pixels : (patches, bands, side, side) uint8 array
        8-bit images as they are, others stretched from 2 to 98 %; all pixels are valid.
    """

    name: str
    pixels: NDArray[np.uint8]

    @property
    def scaled(self) -> NDArray[np.float32]:
        """The pixels scaled to 0..1."""
        return np.asarray(self.pixels / np.float32(255), np.float32)


def sample_rasters(
    paths: Sequence[str],
    *,
    bands: tuple[int, ...] = (),
    nodata: float | None = None,
    patches: int,
    side: int,
    hold_out: float = 0.0,
    aligned: bool = False,
    progress: Progress = SILENT,
) -> list[Sample]:
    """Read patches on a regular grid over each raster, without those that hold nodata.

    Parameters
    ----------
    paths : sequence of path
        Rasters, one style each.
    bands : tuple of int
        1-based; all but alpha by default.
    nodata : float, optional
        For rasters that do not declare it.
    patches : int
        Maximum number per raster, spread evenly; 0 for all.
    side : int
        Side in pixels, reduced to a smaller multiple of 16 where a raster has no room for it.
    hold_out : float
        Fraction of the columns, from the right, that patches are read from: a training run with the
        same `hold_out` never draws them. 0 for the whole raster.
    aligned : bool
        Read the same windows of all rasters, where all are valid.
    progress : Progress
        Advanced by one per raster.

    Returns
    -------
    list of Sample
        One per raster.

    Raises
    ------
    EmptyRasterError
        A raster has no room for a patch without nodata.
    BandError, InputError
        The rasters have different numbers of bands, or there are fewer than two.
    """
    if len(paths) < 2:
        raise InputError(f"{len(paths)} image: styles are exchanged between two or more")
    progress.stage("reading rasters", len(paths))
    rasters: list[UnlabelledRaster] = []
    for path in paths:
        with gdal_environment():
            mosaic = open_mosaic(path, bands=bands or None, nodata=nodata)
            if rasters and mosaic.count != rasters[0].mosaic.count:
                raise BandError(
                    f"{path} has {counted(mosaic.count, 'band')}, {paths[0]} has "
                    f"{rasters[0].mosaic.count}: choose common ones with --bidx"
                )
            check_imagery(mosaic, progress)
            rasters.append(UnlabelledRaster.prepare(mosaic))
        progress.advance()
    if aligned:
        return _aligned(rasters, patches, side, hold_out)
    return [sample_raster(raster, patches, side, hold_out) for raster in rasters]


def sample_raster(raster: UnlabelledRaster, patches: int, side: int, hold_out: float) -> Sample:
    """Read patches of one raster; see :func:`sample_rasters`.

    Parameters
    ----------
    raster : UnlabelledRaster
    patches, side : int
    hold_out : float

    Raises
    ------
    EmptyRasterError
        No patch is free of nodata.
    """
    windows, side = _grid(raster.mosaic.shape, side, hold_out)
    kept: list[NDArray[np.uint8]] = []
    for window in spread(windows, 4 * patches or len(windows)):
        read = raster.read(window)
        if read[-1].all():
            kept.append(read[:-1])
    if not kept:
        raise EmptyRasterError(
            f"{raster.mosaic.name} has no {side} px patch without nodata: give a smaller --patch"
        )
    return Sample(_name(raster.mosaic), np.stack(list(spread(kept, patches or len(kept)))))


def _aligned(
    rasters: Sequence[UnlabelledRaster], patches: int, side: int, hold_out: float
) -> list[Sample]:
    height = min(raster.mosaic.shape[0] for raster in rasters)
    width = min(raster.mosaic.shape[1] for raster in rasters)
    windows, side = _grid((height, width), side, hold_out)
    kept: list[list[NDArray[np.uint8]]] = []
    for window in windows:
        reads = [raster.read(window) for raster in rasters]
        if all(read[-1].all() for read in reads):
            kept.append([read[:-1] for read in reads])
    if not kept:
        raise EmptyRasterError(f"no {side} px window is valid everywhere: give a smaller --patch")
    chosen = spread(kept, patches or len(kept))
    return [
        Sample(_name(raster.mosaic), np.stack([reads[index] for reads in chosen]))
        for index, raster in enumerate(rasters)
    ]


def _grid(shape: tuple[int, int], side: int, hold_out: float) -> tuple[list[Window], int]:
    """Return adjacent windows over the held-out columns, or all, and the side that fits."""
    height, width = shape
    left = round(width * (1 - hold_out)) if hold_out else 0
    room = min(height, width - left)
    side = side if side <= room else room // 16 * 16
    if side < 16:
        raise EmptyRasterError(
            f"{height} x {width - left} px have no room for a patch: give a larger raster"
        )
    rows = range(0, height - side + 1, side)
    cols = range(left, width - side + 1, side)
    return [Window(row, col, side, side) for row in rows for col in cols], side


def _name(mosaic: Mosaic) -> str:
    path = mosaic.sources[0].path
    return f"{Path(public_name(path)).parent.name}/{file_stem(path)}"

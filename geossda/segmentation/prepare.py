"""Preparation of a mosaic for a segmenter, and rasters of its probabilities."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geossda.config import StretchOf
from geossda.errors import BandError, GeoreferenceError, counted
from geossda.models.card import SegmenterCard
from geossda.progress import SILENT, Progress
from geossda.raster.bands import RGB
from geossda.raster.cog import new_cog
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.scaling import Scaling, common_scaling, scaling
from geossda.raster.source import Source
from geossda.raster.windows import tiles
from geossda.segmentation.sliding_window import WindowReader

# Percentiles need far fewer pixels than histograms that are matched.
STRETCH_PX = 2**22
# Percentiles of fewer pixels than this follow what is on the ground more than the light.
SMALL_PX = 2**20
NODATA = -1.0


def choose_bands(mosaic: Mosaic, card: SegmenterCard, progress: Progress = SILENT) -> Mosaic:
    """Return a mosaic with the model's bands, by color interpretation if it has more.

    Parameters
    ----------
    mosaic : Mosaic
    card : SegmenterCard
    progress : Progress
        Warned where bands may be others than the model's.

    Raises
    ------
    BandError
        The bands cannot be identified.
    """
    mosaic.require_colors()
    wanted = len(card.bands)
    names = ", ".join(card.bands)
    if mosaic.count == wanted:
        for source in mosaic.sources:
            _check_colors(source, card, progress)
        return mosaic
    if tuple(card.bands) == RGB and all(set(RGB) <= set(s.colors) for s in mosaic.sources):
        sources = []
        for source in mosaic.sources:
            places = [source.colors.index(color) for color in RGB]
            sources.append(source.with_bands(places))
        progress.note(f"{mosaic.name}: using bands {list(sources[0].bands)} as {names}")
        return dataclasses.replace(mosaic, sources=tuple(sources))
    raise BandError(
        f"{mosaic.name} has {counted(mosaic.count, 'band')}, the model expects {wanted} "
        f"({names}): name them "
        "with --bidx"
    )


def _check_colors(source: Source, card: SegmenterCard, progress: Progress) -> None:
    """Warn if a source declares other colours than the model's, or note that it declares none."""
    names = ", ".join(card.bands)
    if not any(source.colors):
        progress.note(f"{source.name} does not say what its bands show: they are taken as {names}")
    elif any(c not in (None, band) for c, band in zip(source.colors, card.bands, strict=True)):
        colors = ", ".join(color or "unknown" for color in source.colors)
        progress.warn(
            f"{source.name} declares its bands as {colors}, the model expects {names}: expect "
            "wrong buildings, or give the right bands with --bidx"
        )


def require_place(mosaic: Mosaic) -> None:
    """Check that a mosaic has a place on the ground.

    Raises
    ------
    GeoreferenceError
        It has no CRS or no transform.
    """
    if mosaic.grid.crs is None:
        raise GeoreferenceError(mosaic.sources[0].lacks_crs)
    if mosaic.grid.transform.is_identity:
        raise GeoreferenceError(
            f"{mosaic.name} has no transform, so it has no place on the ground: georeference it"
        )


def measure_scalings(
    mosaic: Mosaic,
    card: SegmenterCard,
    stretch: StretchOf = "source",
    progress: Progress = SILENT,
) -> list[Scaling]:
    """Measure the stretch of every source.

    Parameters
    ----------
    mosaic : Mosaic
    card : SegmenterCard
        Its kind of scaling, percentiles and floor.
    stretch : {"source", "mosaic"}
        Whether each source has its own, or all have one.
    progress : Progress
    """
    percent = card.low_percent, card.high_percent
    if stretch == "mosaic":
        one = common_scaling(card.scaling, mosaic, percent, floor=card.floor, progress=progress)
        return [one] * len(mosaic.sources)
    sizes = [height * width for height, width in (s.grid.shape for s in mosaic.sources)]
    if len(sizes) > 1 and np.median(sizes) < SMALL_PX:
        progress.note(
            f"{len(sizes)} small rasters are scaled one by one: if they are tiles of one "
            "acquisition, --stretch mosaic scales them alike"
        )
    return [
        scaling(
            card.scaling,
            mosaic,
            percent,
            source=index,
            floor=card.floor,
            budget_px=STRETCH_PX,
            progress=progress,
        )
        for index in range(len(mosaic.sources))
    ]


def ready_to_predict(
    mosaic: Mosaic,
    card: SegmenterCard,
    gsd_m: float,
    *,
    clearance_m: float,
    scalings: Sequence[Scaling] | None = None,
    progress: Progress = SILENT,
) -> WindowReader:
    """Return a reader of a mosaic on the model's grid, with the stretch of every source.

    Parameters
    ----------
    mosaic : Mosaic
        With a CRS.
    card : SegmenterCard
    gsd_m : float
        Ground sample distance to predict at, in metres.
    clearance_m : float
        How far buildings stay away from nodata, in metres.
    scalings : sequence of Scaling, optional
        Those measured before.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        A source without a valid pixel.
    GeoreferenceError
        As :meth:`geossda.raster.mosaic.Mosaic.at_gsd` raises it.
    """
    own = max(ground_sample_distance(mosaic.grid))
    if own > 2 * gsd_m:
        progress.warn(
            f"{mosaic.name} has pixels of {own:.2g} m, the model was made for {gsd_m:g} m: expect "
            "small buildings to be missed"
        )
    working = mosaic.at_gsd(gsd_m)
    if scalings is None:
        scalings = measure_scalings(mosaic, card, progress=progress)
    resampled = working.grid != mosaic.grid or len(mosaic.sources) > 1
    if resampled and any(source.tests.nodata for source in mosaic.sources):
        # A resampled pixel is valid if any pixel that it is interpolated from is.
        clearance_m += max(gsd_m, own / 2)
    clearance_px = int(np.ceil(clearance_m / gsd_m))
    return WindowReader(working, scalings, card.patch_px, clearance_px)


def write_on_grid(
    probabilities: Path,
    mosaic: Mosaic,
    output: Path,
    *,
    threshold: float | None,
    tags: dict[str, str],
    options: dict[str, str],
    progress: Progress = SILENT,
) -> None:
    """Write probabilities, or the mask above a threshold, on the mosaic's own grid.

    Parameters
    ----------
    probabilities : path
        Raster on the model's grid.
    mosaic : Mosaic
        Its grid is the output's.
    output : path
    threshold : float or None
        With one, a mask (0, 1, nodata 255) is written; without, float32 probabilities.
    tags, options : dict
    progress : Progress
    """
    coarse = open_mosaic(probabilities).resampled(mosaic.grid)
    kind: dict[str, Any] = {"dtype": np.dtype(np.float32), "nodata": NODATA}
    if threshold is not None:
        kind = {"dtype": np.dtype(np.uint8), "nodata": 255, "overviews": "nearest"}
    windows = list(tiles(coarse.shape, 1024))
    progress.stage(f"writing {output.name}", len(windows))
    with new_cog(
        output, mosaic.grid, 1, validity="nodata", tags=tags, options=options, **kind
    ) as writer:
        for window in windows:
            pixels, valid = coarse.read(window)
            if mosaic.area is not None:
                valid &= mosaic.area.mask(window, mosaic.grid)
            if threshold is not None:
                pixels = (pixels >= threshold).astype(np.uint8)
            writer.write(window, pixels, valid)
            progress.advance()

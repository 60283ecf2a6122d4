"""Open one raster file, and check its metadata."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError

from geossda.errors import BandError, GeoreferenceError, RasterError
from geossda.local_only import RASTER_DRIVERS, local_only
from geossda.raster.alpha import alpha_band
from geossda.raster.bands import declared_colors, rgb_first
from geossda.raster.grid import Grid
from geossda.raster.handles import Handles
from geossda.raster.source import GDAL_ERRORS, Source, gdal_environment, gdal_reason
from geossda.raster.validity import ValidityTests, can_hold, exact, mask_value, masks_of
from geossda.urls import is_remote, public_name

# Bytes of a block of one band: GDAL reads whole blocks.
LARGEST_BLOCK = 2**31
_PARTS_NAMED = 3
# Of a pixel: what coordinates may be rounded to.
_LEAST_PRECISION = 0.1
# Units of any CRS: the Earth is 4e10 mm around. PROJ takes minutes for coordinates of 1e302.
_FARTHEST = 1e15


@gdal_environment()
def open_source(
    path: str | os.PathLike[str],
    *,
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
) -> Source:
    """Open one raster.

    Parameters
    ----------
    path : path or URL
    bands : sequence of int, optional
        1-based, read in this order. By default all but alpha: in the file's order, or red, green
        and blue first where the file declares all three.
    nodata : float, optional
        Stands in for the file's own, which may be missing; a mask or an alpha band counts besides.

    Raises
    ------
    RasterError
        Missing, not a raster, of mixed or complex dtype, or of blocks too large to read.
    GeoreferenceError
        A transform that is not finite, or cannot be inverted.
    BandError
        A band number the file does not have.
    """
    path = os.fspath(path)
    name = public_name(path)
    _require_file(path)
    handles = Handles()
    try:
        return _describe(handles.get(path), path, handles, bands, nodata)
    except (*GDAL_ERRORS, CRSError) as error:
        which = f"of the formats {', '.join(RASTER_DRIVERS)}" if local_only() else "GDAL can open"
        raise RasterError(f"{name} is not a raster {which} ({gdal_reason(error)})") from error


def _require_file(path: str) -> None:
    if is_remote(path):
        if local_only():
            raise RasterError(
                f"{public_name(path)} is not a local file, and GEOSSDA_LOCAL_ONLY is set: copy it "
                "here first"
            )
        return
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise RasterError(
            f"{path!a} is a name that is not UTF-8, which GDAL cannot open: rename the file"
        ) from error
    name = path
    if "\0" in path or not os.path.exists(path):
        raise RasterError(f"{name} does not exist")
    if os.path.isdir(path):
        raise RasterError(f"{name} is a folder, one raster was expected")


def _describe(
    dataset: Any,
    path: str,
    handles: "Handles",
    bands: Sequence[int] | None,
    nodata: float | None,
) -> Source:
    """Describe an open dataset as a source, and check that it can be read."""
    name = public_name(path)
    if dataset.driver == "VRT":
        _check_kernels(path)
    dtype = _dtype_of(dataset, name)
    alpha = alpha_band(dataset)
    others = tuple(b for b in dataset.indexes if alpha is None or b != alpha.band)
    chosen = tuple(bands) if bands else rgb_first(others, declared_colors(dataset, others))
    if wrong := [band for band in chosen if band not in dataset.indexes]:
        raise BandError(f"band {wrong[0]} was asked for, {name} has bands 1 to {dataset.count}")
    if not chosen:
        raise BandError(f"{name} has an alpha band only")
    if nodata is not None and not can_hold(dtype, nodata):
        raise RasterError(f"nodata {exact(nodata)} was given, {name} is {dtype} and cannot hold it")
    values = tuple(dataset.nodatavals[band - 1] if nodata is None else nodata for band in chosen)
    # A nodata value that no pixel can have marks none.
    values = tuple(v if v is not None and can_hold(dtype, v) else None for v in values)
    masks = masks_of(dataset, chosen)
    tests = ValidityTests(
        values if any(value is not None for value in values) else (),
        masks,
        255 if masks == "none" else mask_value(dataset, chosen[0]),
        None if alpha is None else alpha.band,
        1.0 if alpha is None else alpha.opaque,
    )
    transform = dataset.transform
    if not _invertible(transform) or _rounds_away(transform, dataset.width, dataset.height):
        raise GeoreferenceError(
            f"{name} has a transform that places all its pixels on a line or nowhere "
            f"({', '.join(f'{value:g}' for value in transform[:6])}): georeference it anew"
        )
    grid = Grid(
        (dataset.height, dataset.width),
        transform,
        dataset.crs.to_wkt() if dataset.crs else None,
    )
    kind, value = tests.output()
    return Source(
        path=path,
        grid=grid,
        bands=chosen,
        dtype=dtype,
        validity=kind,
        nodata=value,
        tests=tests,
        colors=declared_colors(dataset, chosen),
        paletted=dataset.colorinterp[chosen[0] - 1] == ColorInterp.palette,
        reordered=not bands and chosen != others,
        placed_by=_placement(dataset),
        _handles=handles,
    )


def _check_kernels(path: str) -> None:
    """Raise RasterError for a VRT with a filter without kernel, as reading it GDAL 3.12 crashes."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # no local file
        return
    for filtered in re.findall(r"(?is)<KernelFilteredSource\b.*?</KernelFilteredSource>", text):
        size = re.search(r"(?is)<Kernel\b[^>]*>.*?<Size>\s*(\d+)", filtered)
        if size is None or not int(size[1]):
            raise RasterError(
                f"{public_name(path)} has a KernelFilteredSource without Kernel: make the VRT anew"
            )


def _rounds_away(transform: Affine, width: int, height: int) -> bool:
    """Return whether coordinates are nowhere, or those of neighbouring pixels the same."""
    a, b, _, d, e, _ = transform[:6]
    corners = [transform * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    steps = max(abs(a), abs(b)), max(abs(d), abs(e))
    return any(
        math.ulp(farthest := max(map(abs, values))) > _LEAST_PRECISION * step
        or farthest > _FARTHEST
        for values, step in zip(zip(*corners, strict=True), steps, strict=True)
    )


def _invertible(transform: Affine) -> bool:
    """Return whether GDAL can invert a transform: if it turns, within a relative bound."""
    a, b, _, d, e, _ = transform[:6]
    determinant = a * e - b * d
    if not all(map(math.isfinite, transform[:6])) or determinant == 0:
        return False
    largest = max(abs(a), abs(b), abs(d), abs(e))
    # A square would be an error where a product is infinite.
    return bool(b == d == 0 or abs(determinant) > 1e-10 * largest * largest)


def _placement(dataset: Any) -> Literal["crs", "gcps", "rpcs", "nothing"]:
    if dataset.crs:
        return "crs"
    if dataset.gcps[0]:
        return "gcps"
    return "rpcs" if dataset.rpcs is not None else "nothing"


def _dtype_of(dataset: Any, name: str) -> np.dtype[Any]:
    """Return the type of all bands, and check that GDAL can read their blocks in bounded memory."""
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:_PARTS_NAMED]) or "none that GDAL names"
        raise RasterError(f"{name} has no bands of its own: name one of its subdatasets ({parts})")
    if len(set(dataset.dtypes)) > 1:
        raise RasterError(
            f"{name} mixes band types {sorted(set(dataset.dtypes))}: convert it to one type"
        )
    try:
        dtype: np.dtype[Any] = np.dtype(dataset.dtypes[0])
    except TypeError:
        dtype = np.dtype(np.complex64)  # GDAL's complex integers
    if dtype.kind not in "uif":
        raise RasterError(
            f"{name} has pixels of type {dataset.dtypes[0]}, integers or floats were expected"
        )
    rows, cols = dataset.block_shapes[0]
    if rows * cols * dtype.itemsize > LARGEST_BLOCK:
        raise RasterError(
            f"{name} is stored in blocks of {cols:,} x {rows:,} px, which take "
            f"{rows * cols * dtype.itemsize / 1e9:.1f} GB each to read: rewrite it with "
            "gdal_translate -co TILED=YES"
        )
    return dtype

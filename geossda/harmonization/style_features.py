"""Style statistics of rasters, as SS(DA)² measures them over a whole image."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.config import Structure
from geossda.errors import EmptyRasterError, StyleError
from geossda.harmonization.model_statistics import Covariance, Features
from geossda.harmonization.ssda import measure_look, scale
from geossda.harmonization.style import Style
from geossda.models.style_arrays import ImageStyle, LevelMoments, PixelGaussian
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.statistics import over_windows, sample_windows
from geossda.raster.windows import Window
from geossda.runtime.style_network import StyleModel

# Windows spread over the image on which features are measured, and their sides in pixels; those of
# `lock`, which sees cells of several pixels, are larger.
PATCHES = 32
PATCH_PX: dict[Structure, int] = {"full": 256, "lock": 512}
# Numbers of patches that a network is compiled for are multiples of this: small rasters share one.
_PATCHES_STEP = 8
# The fewest cells of the deepest level whose standard deviation means something.
MIN_CELLS = 16

PixelMoments = tuple[NDArray[np.float64], NDArray[np.float64]]


class Patches(NamedTuple):
    """Windows spread over an image, those with the most valid pixels.

    Attributes
    ----------
    image : (patches, bands, side, side) float32 array
        0..1 within the limits.
    valid : (patches, side, side) bool array
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]


def read_patches(
    mosaic: Mosaic,
    structure: Structure,
    limits: tuple[float, float],
    *,
    progress: Progress = SILENT,
) -> Patches:
    """Read the windows that style statistics are measured on.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    structure : {"lock", "full"}
    limits : (float, float)
        Digital numbers taken as 0 and 1.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    side = PATCH_PX[structure]
    windows = _windows(mosaic, structure)
    progress.stage("computing style statistics", len(windows))

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with gdal_environment():
            return mosaic.read(window)

    patches = []
    for pixels, valid in over_windows(mosaic, read, windows):
        progress.advance()
        if valid.any():
            patches.append((pixels, valid))
    if not patches:
        raise EmptyRasterError(f"{mosaic.name} has no valid pixel where its style is measured")
    patches.sort(key=lambda patch: -np.count_nonzero(patch[1]) / side**2)
    image = np.zeros((len(patches[:PATCHES]), mosaic.count, side, side), np.float32)
    mask = np.zeros((len(image), side, side), np.bool_)
    for index, (pixels, valid) in enumerate(patches[:PATCHES]):
        height, width = valid.shape
        image[index, :, :height, :width] = in_limits(pixels, valid, limits)
        mask[index, :height, :width] = valid
    return Patches(image, mask)


def prepare_features(mosaic: Mosaic, model: StyleModel, structure: Structure) -> None:
    """Prepare a model to measure a raster, beside other work.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    model : StyleModel
    structure : {"lock", "full"}
    """
    count = min(PATCHES, len(_windows(mosaic, structure)))
    model.prepare_measuring(_compiled_for(count), PATCH_PX[structure] // scale(structure))


def _windows(mosaic: Mosaic, structure: Structure) -> list[Window]:
    """Return the windows that patches are chosen from."""
    side = PATCH_PX[structure]
    # Twice as many windows as needed: many mosaics are half nodata.
    return sample_windows(mosaic, 2 * PATCHES * side**2, side)


def _compiled_for(patches: int) -> int:
    """Return the number of patches that a network is compiled for to measure so many."""
    return -(-patches // _PATCHES_STEP) * _PATCHES_STEP


def measure_features(
    pixels: PixelMoments, patches: Patches, model: StyleModel, structure: Structure
) -> ImageStyle:
    """Measure the style statistics of one source's image, nodata left out.

    An image too small to have features measured has none (``groups`` is empty).

    Parameters
    ----------
    pixels : pair of (bands,) and (bands, bands) arrays
        Mean and covariance of all pixels, in units of the patches' limits.
    patches : Patches
        Of the same image, for the same structure and limits.
    model : StyleModel
    structure : {"lock", "full"}
    """
    image, valid = patches
    side = valid.shape[1]
    cell = model.stride * scale(structure)
    cells = valid.reshape(len(valid), side // cell, cell, side // cell, cell).all((2, 4)).sum()
    if model.runtime.name == "openvino":  # which takes longer to compile than to measure a few
        missing = _compiled_for(len(image)) - len(image)
        image, valid = (
            np.concatenate([each, np.zeros((missing, *each.shape[1:]), each.dtype)])
            for each in (image, valid)
        )
    statistics = measure_look(model, image, valid, pixels, structure)
    return statistics if cells >= MIN_CELLS else ImageStyle(statistics.pixels, ())


def features_of(statistics: ImageStyle) -> list[Any]:
    """Return the features as lists, as a style file keeps them."""
    return [[[m.mean.tolist(), m.std.tolist()] for m in levels] for levels in statistics.groups]


def statistics_of(style: Style, model: StyleModel, structure: Structure) -> ImageStyle:
    """Return a style's statistics for a model.

    Parameters
    ----------
    style : Style
    model : StyleModel
    structure : {"lock", "full"}

    Raises
    ------
    StyleError
        The style was not measured with this model, or was too small for it.
    """
    features, spread = style.get(Features), style.get(Covariance)
    measured = features.models.get(model.key, {}) if features else {}
    if structure not in measured or spread is None:
        raise StyleError(
            f"the style {style.name} has no statistics of the style model {model.card.name}: it "
            "was made without it, or of too small a raster; make it again with geossda style"
        )
    low, high = style.working_range
    pixels = PixelGaussian(
        np.asarray((spread.mean - low) / (high - low), np.float32),
        np.asarray(spread.matrix / (high - low) ** 2, np.float32),
    )
    groups = tuple(
        tuple(LevelMoments(*np.asarray(moments, np.float32)) for moments in levels)
        for levels in measured[structure]
    )
    statistics = ImageStyle(pixels, groups)
    model.require_levels(statistics, style.name)
    return statistics


def in_limits(
    pixels: NDArray[Any], valid: NDArray[np.bool_], limits: tuple[float, float]
) -> NDArray[np.float32]:
    """Return digital numbers scaled to 0..1; pixels that are not valid become 0.

    Parameters
    ----------
    pixels : (bands, height, width) array
    valid : (height, width) bool array
    limits : (float, float)
        Digital numbers that become 0 and 1.
    """
    low, high = limits
    scaled = np.where(valid, pixels, low).astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return scaled

"""Statistics of sources and styles of references, measured on rasters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from geossda.color.lab import lab_moments, lab_sums
from geossda.color.style import SHARES, Style
from geossda.color.value_curves import SourceStatistics
from geossda.config import Structure
from geossda.errors import EmptyRasterError
from geossda.progress import SILENT, Progress
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import working_range
from geossda.raster.statistics import histograms, over_tiles, sample_windows
from geossda.urls import file_name

if TYPE_CHECKING:
    from geossda.models.style_model import StyleModel


# Colors for mixtures: so many pixels, from tiles of this side, of at most so many pixels in all.
SAMPLE_COLORS = 4096
# Drawn at first for each that is kept, so that rasters of few valid pixels have enough.
DRAWN_PER_COLOR = 16
COLORS_PX, COLORS_TILE_PX = 2**22, 128


def measure_source(
    mosaic: Mosaic,
    *,
    lab: bool,
    style: Style | None = None,
    progress: Progress = SILENT,
) -> SourceStatistics:
    """Measure a mosaic of one source.

    Parameters
    ----------
    mosaic : Mosaic
    lab : bool
        Whether to read it once more for its moments in L*a*b*, if it has three bands.
    style : Style, optional
        The target. If its type is the source's, digital numbers mean the same in both, and its
        working range is taken.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    check_imagery(mosaic, progress)
    counted = histograms(mosaic, progress=progress)
    limits = mosaic.sources[0].common_range or working_range(counted, mosaic.dtype)
    if style is not None and style.dtype == mosaic.dtype:
        limits = style.working_range
    mean = std = None
    if lab and mosaic.count >= 3:
        windows = sample_windows(mosaic)
        progress.stage("reading statistics", len(windows))
        sums = over_tiles(
            mosaic, windows, lambda p, v: lab_sums(p, v, limits), np.add, progress=progress
        )
        mean, std = lab_moments(sums)
    return SourceStatistics(counted, mosaic.dtype, limits, mean, std)


def sample_colors(mosaic: Mosaic, *, progress: Progress = SILENT) -> NDArray[np.float64]:
    """Return the colors of valid pixels spread over a mosaic of one source.

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress

    Returns
    -------
    (bands, n) array
        Digital numbers of at most `SAMPLE_COLORS` pixels.

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    windows = sample_windows(mosaic, COLORS_PX, COLORS_TILE_PX)
    progress.stage("sampling colours", len(windows))
    area = sum(window.height * window.width for window in windows)
    # Every valid pixel has the same chance, wherever it lies: tiles at the border hold fewer. An
    # odd stride does not return to the same columns of a tile.
    stride = max(1, area // (DRAWN_PER_COLOR * SAMPLE_COLORS)) | 1

    def colors(pixels: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        known = np.flatnonzero(valid)[::stride]
        return pixels.reshape(len(pixels), -1)[:, known].astype(np.float64)

    drawn = over_tiles(
        mosaic,
        windows,
        colors,
        lambda one, other: np.concatenate([one, other], axis=1),
        progress=progress,
    )
    count = drawn.shape[1]
    if not count:
        raise EmptyRasterError(f"{mosaic.name} has no valid pixel in {len(windows)} sampled tiles")
    return drawn[:, np.linspace(0, count - 1, min(SAMPLE_COLORS, count)).astype(int)]


def check_colors(style: Style, mosaic: Mosaic, progress: Progress) -> None:
    """Warn if the bands of a style and of a mosaic's sources do not show the same colours.

    Parameters
    ----------
    style : Style
        Of as many bands.
    mosaic : Mosaic
    progress : Progress
        Warned of the first source that differs, or whose order of bands the style may not have.
    """
    for source in mosaic.sources:
        pairs = list(zip(source.colors, style.colors, strict=False))
        if any(one and other and one != other for one, other in pairs):
            of_source, of_style = (
                ", ".join(color or "unknown" for color in colors)
                for colors in zip(*pairs, strict=True)
            )
            progress.warn(
                f"{source.name} has the bands {of_source}, the style {style.name} {of_style}: each "
                "is matched with the one in its place; choose alike ones with --bidx"
            )
            return
        if source.reordered and not any(style.colors):
            progress.warn(
                f"the style {style.name} does not say what its bands show: they are taken as "
                f"{', '.join(color or 'unknown' for color in source.colors)}, as {source.name} "
                "declares its own"
            )
            return


def measure_style(
    mosaic: Mosaic,
    progress: Progress = SILENT,
    *,
    like: Style | None = None,
    model: "StyleModel | None" = None,
    structures: Sequence[Structure] = get_args(Structure),
    lab: bool = True,
    sample: bool = True,
) -> Style:
    """Measure a reference raster (the first source of `mosaic`).

    Parameters
    ----------
    mosaic : Mosaic
    progress : Progress
    like : Style, optional
        A style to be pooled with, whose working range is taken if their types are the same.
    model : StyleModel, optional
        Measures what the learned method needs, if it takes no more bands than there are.
    structures : sequence of {"lock", "full"}
        What it will be used for.
    lab : bool
        Whether the moments of L*a*b* are wanted.
    sample : bool
        Whether colors of pixels are wanted.
    """
    alone = mosaic.alone(0)
    source = measure_source(alone, lab=lab, style=like, progress=progress)
    counted = source.histograms
    low, high = source.working_range
    features: dict[str, dict[str, Any]] = {}
    spread = None
    if model is not None and model.card.bands <= mosaic.count:
        # Imported here, since it loads torch, which the classical methods do without.
        from geossda.harmonization.style_features import (
            features_of,
            measure_features,
            measure_pixels,
            read_patches,
        )

        limits = source.working_range
        pixels = measure_pixels(alone, limits, progress=progress)
        statistics = {
            structure: measure_features(
                pixels, read_patches(alone, structure, limits, progress=progress), model, structure
            )
            for structure in structures
        }
        if all(each.groups for each in statistics.values()):
            features[model.key] = {
                structure: features_of(each) for structure, each in statistics.items()
            }
        spread = pixels[1] * (high - low) ** 2
    return Style(
        file_name(mosaic.sources[0].path),
        str(mosaic.dtype),
        source.working_range,
        counted.quantiles(SHARES),
        counted.mean(),
        counted.std(),
        source.lab_mean,
        source.lab_std,
        counted.pixels,
        spread,
        features,
        alone.sources[0].colors,
        sample_colors(alone, progress=progress) if sample else None,
    )

"""From rasters to what the colour methods need to know of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from geossda.color.classical import Source
from geossda.color.lab import lab_moments, lab_sums
from geossda.color.style import SHARES, Style
from geossda.config import Structure
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import working_range
from geossda.raster.statistics import Histograms, histograms, over_tiles, sample_tiles

if TYPE_CHECKING:
    from geossda.models.style_model import StyleModel


def measure_source(
    mosaic: Mosaic,
    index: int,
    *,
    lab: bool,
    style: Style | None = None,
    progress: Progress = SILENT,
) -> Source:
    """Measure one source of a mosaic, over its own pixels.

    Parameters
    ----------
    mosaic : Mosaic
    index : int
    lab : bool
        Whether to read it once more for the moments of L*a*b*, if it has three bands.
    style : Style, optional
        What the source is to look like. If its type is the source's, digital numbers mean the
        same in both, and its working range is taken.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    mosaic.require_colors()
    alone = mosaic.alone(index)
    found = histograms(alone, progress=progress)
    limits = working_range(found, alone.dtype)
    if style is not None and style.dtype == alone.dtype:
        limits = style.working_range
    _hint_at_nodata(alone, found, progress)
    mean = std = None
    if lab and alone.count >= 3:
        windows = sample_tiles(alone.shape)
        progress.stage("reading colours", len(windows))
        sums = over_tiles(
            alone, windows, lambda p, v: lab_sums(p, v, limits), np.add, progress=progress
        )
        mean, std = lab_moments(sums)
    return Source(found, alone.dtype, limits, mean, std)


def measure_style(
    mosaic: Mosaic,
    progress: Progress = SILENT,
    *,
    like: Style | None = None,
    model: "StyleModel | None" = None,
    structures: Sequence[Structure] = get_args(Structure),
    lab: bool = True,
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
        What it is to be used for.
    lab : bool
        Whether the moments of L*a*b* are wanted.
    """
    source = measure_source(mosaic, 0, lab=lab, style=like, progress=progress)
    found = source.histograms
    low, high = source.working_range
    alone = mosaic.alone(0)
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
        looks = {
            structure: measure_features(
                pixels, read_patches(alone, structure, limits, progress=progress), model, structure
            )
            for structure in structures
        }
        if all(look.groups for look in looks.values()):
            features[model.key] = {name: features_of(look) for name, look in looks.items()}
        spread = pixels[1] * (high - low) ** 2
    return Style(
        Path(mosaic.sources[0].path).name,
        str(mosaic.dtype),
        source.working_range,
        found.quantiles(SHARES),
        found.mean(),
        found.std(),
        source.lab_mean,
        source.lab_std,
        found.pixels,
        spread,
        features,
    )


def _hint_at_nodata(mosaic: Mosaic, found: Histograms, progress: Progress) -> None:
    """Warn of what looks like nodata that the file does not declare."""
    source = mosaic.sources[0]
    zero = round(-found.first / found.step)
    if source.dtype.kind not in "ui" or not 0 <= zero < found.counts.shape[1]:
        return
    share = float(found.counts[:, zero].min()) / found.pixels
    if source.validity == "all" and share > 0.01:
        progress.warn(
            f"{source.path}: up to {share:.0%} of the pixels are 0 in every band and count as "
            "data; if they are not, give --nodata 0"
        )

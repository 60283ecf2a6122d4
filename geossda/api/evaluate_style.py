"""Measure how well methods match images to each other's styles."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from geossda.config import (
    TRANSLATIONS,
    EvaluateStyleConfig,
    MapMethod,
    MatchingMethod,
    config_from,
)
from geossda.errors import InputError
from geossda.evaluation.samples import sample_rasters
from geossda.evaluation.style_scores import (
    Method,
    StyleScores,
    by_colors,
    classical,
    identity,
    learned,
    score,
)
from geossda.harmonization.methods import sampled_map
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import find_sources
from geossda.runtime.style_network import open_style_model
from geossda.staging import PathLike

# Side of the smallest patches that style models measure.
LEAST_PX = 32


def evaluate_style(
    images: PathLike | Sequence[PathLike],
    *,
    config: EvaluateStyleConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> list[StyleScores]:
    """Match every image to the style of every other by every method, and measure the results.

    Parameters
    ----------
    images : path or sequence of path
        Two or more rasters, or folders of them, with the same number of bands; one style each.
    config : EvaluateStyleConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    list of StyleScores
        One per method: doing nothing, the pixelwise methods that match a style, the maps of colors,
        and the style model with both structures, by the name ``ssda`` or of its preset where that
        is another method's.

    Raises
    ------
    InputError
        An image has no room for patches of `LEAST_PX`.
    GeossdaError
        See :mod:`geossda.errors`.
    """
    config = config_from(EvaluateStyleConfig, config, settings)
    paths = find_sources(images)
    model = open_style_model(config.style_model, config, progress)
    for path in paths:  # whose folders have to be domains, of some models
        model.for_reference(path, np.uint8)
    samples = sample_rasters(
        paths,
        bands=config.bidx,
        nodata=config.nodata,
        patches=config.patches,
        side=config.patch,
        hold_out=config.hold_out,
        aligned=config.truth,
        progress=progress,
    )
    for sample in samples:
        if min(sample.pixels.shape[2:]) < LEAST_PX:
            raise InputError(
                f"{sample.name} has room for patches of {min(sample.pixels.shape[2:])} px, "
                f"{LEAST_PX} at least were expected: leave it out"
            )
    model.require_bands(samples[0].pixels.shape[1])
    name = model.card.preset if model.card.preset in TRANSLATIONS else "ssda"
    methods: dict[str, Method] = {
        "identity": identity,
        **{method: classical(method) for method in get_args(MatchingMethod)},
        **_by_colors(progress),
        f"{name} lock": learned(model, "lock"),
        f"{name} full": learned(model, "full"),
    }
    return score(samples, methods, truth=config.truth, progress=progress)


def _by_colors(progress: Progress) -> dict[str, Method]:
    """Return the methods that map colors by samples of them, but for those that lack a package."""
    methods = {}
    for name in get_args(MapMethod):
        try:
            methods[name] = by_colors(sampled_map(name))
        except InputError as error:
            progress.warn(f"{name} is left out: {error}")
    return methods

"""The adaptation methods by name: the rows of the paper's Table I."""

from collections.abc import Sequence
from typing import NamedTuple

from geossda.adapt.photometric import HistogramMatching, gamma, hsv
from geossda.adapt.style_transfer import domain_transfers, measure_looks, style_transfers
from geossda.config import AdaptMethod, TrainSegmenterConfig
from geossda.data.patches import Recolor, WorkingRaster
from geossda.errors import InputError
from geossda.models.style_model import load_style_model
from geossda.progress import SILENT, Progress

NEED_TARGET = ("rhm", "daug", "ssda")


class Strategy(NamedTuple):
    """What recolours patches while a segmenter is trained.

    Attributes
    ----------
    labelled : callable or None
        Makes labelled patches look like the target.
    unlabelled : callable or None
        Gives patches of the target other looks, where they teach.
    """

    labelled: Recolor | None
    unlabelled: Recolor | None


def resolved(method: AdaptMethod, targets: bool) -> AdaptMethod:
    """Say which method ``auto`` stands for.

    Raises
    ------
    InputError
        The method draws references from the target, and there is none.
    """
    if method == "auto":
        return "ssda" if targets else "none"
    if method in NEED_TARGET and not targets:
        raise InputError(f"--adapt {method} takes the looks of unlabelled imagery: give --target")
    return method


def strategy(
    config: TrainSegmenterConfig,
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    *,
    progress: Progress = SILENT,
) -> Strategy:
    """Make what recolours training patches.

    Parameters
    ----------
    config : TrainSegmenterConfig
        With ``adapt`` resolved.
    sources : sequence of WorkingRaster
        That labelled patches come from.
    targets : sequence of WorkingRaster
        That are to be prepared for, without labels.
    progress : Progress

    Returns
    -------
    Strategy
        Empty for ``none``, and for ``equalize``, which is a scaling of every raster instead.
    """
    if config.adapt == "hsv":
        return Strategy(hsv, hsv)
    if config.adapt == "gamma":
        return Strategy(gamma, gamma)
    if config.adapt == "rhm":
        return Strategy(
            HistogramMatching(targets, config.patch),
            HistogramMatching([*sources, *targets], config.patch),
        )
    if config.adapt in ("ssda", "daug"):
        model = load_style_model(config.style_model, config.device)
        bands = sources[0].mosaic.count
        model.require_bands(bands)
        if config.adapt == "daug":
            return Strategy(*domain_transfers(model, sources, targets))
        rasters = [*sources, *targets]
        looks = measure_looks(
            model, rasters, config.patch, config.structure, config.seed, progress=progress
        )
        return Strategy(*style_transfers(model, looks, sources, targets, config.structure))
    return Strategy(None, None)

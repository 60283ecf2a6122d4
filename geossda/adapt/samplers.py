"""The samplers of a segmenter's training, with a strategy's recolouring applied."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from geossda.adapt.strategies import STRATEGIES, TrainingRasters
from geossda.config import TrainSegmenterConfig
from geossda.data.patches import Patch, PatchSampler, TargetPatch, TargetSampler
from geossda.data.scaled_rasters import WorkingRaster
from geossda.models.card_checks import OUTPUTS
from geossda.progress import SILENT, Progress
from geossda.training.objective import Objective


class TrainingStreams(NamedTuple):
    """Samples by step and place in the batch, and the loss to train on them with.

    Attributes
    ----------
    labelled : callable
        ``labelled(step, place)`` returns a labelled patch.
    target : callable or None
        Likewise returns a patch of the target; None where none is learned from.
    preview : callable or None
        ``preview(number)`` returns a labelled patch as it is and as the strategy recolours it;
        None where the strategy leaves colours alone.
    objective : Objective
    places : int
        Number of places that the labels are of.
    """

    labelled: Callable[[int, int], Patch]
    target: Callable[[int, int], TargetPatch] | None
    preview: Callable[[int], tuple[Patch, Patch]] | None
    objective: Objective
    places: int


def training_streams(
    config: TrainSegmenterConfig,
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    *,
    progress: Progress = SILENT,
) -> TrainingStreams:
    """Prepare the strategy and return the samplers of a training.

    Parameters
    ----------
    config : TrainSegmenterConfig
        With ``adapt`` resolved.
    sources : sequence of WorkingRaster
        Rasters with labels.
    targets : sequence of WorkingRaster
        Rasters without.
    progress : Progress
    """
    rasters = TrainingRasters(config, sources, targets, progress)
    strategy = STRATEGIES[config.adapt].prepare(rasters)
    labelled = PatchSampler(
        sources,
        config.patch,
        config.seed,
        strategy.labelled,
        config.share,
        config.jitter,
        degrade=config.degrade,
        outputs=len(OUTPUTS) if config.auxiliary else 1,
    )
    plain = dataclasses.replace(labelled, recolor=None, jitter=False, degrade=False)
    recolored = dataclasses.replace(labelled, share=1.0, jitter=False, degrade=False)

    def preview(number: int) -> tuple[Patch, Patch]:
        return plain.draw(0, number), recolored.draw(0, number)

    target = None
    if config.mean_teacher and targets:
        # The second view is jittered in any case: without noise, consistency teaches nothing.
        target = TargetSampler(
            targets, config.patch, config.seed, strategy.target, config.share, jitter=True
        ).draw
    return TrainingStreams(
        labelled.draw,
        target,
        None if strategy.labelled is None else preview,
        strategy.objective(rasters),
        rasters.places,
    )

"""What a segmenter's training draws from, once a method is chosen."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

from geossda.adapt.strategies import strategy
from geossda.config import TrainSegmenterConfig
from geossda.data.patches import Patch, PatchSampler, TargetPatch, TargetSampler, WorkingRaster
from geossda.progress import SILENT, Progress


class TrainingStreams(NamedTuple):
    """Samples by step and place in the batch.

    Attributes
    ----------
    labelled : callable
    unlabelled : callable or None
        Patches of the target, where it teaches.
    shown : callable or None
        Labelled patches by number, as they are and as the method makes them, for the eye; none
        where it leaves colours alone.
    places : int
        That labels are of: folders that hold labelled rasters.
    """

    labelled: Callable[[int, int], Patch]
    unlabelled: Callable[[int, int], TargetPatch] | None
    shown: Callable[[int], tuple[Patch, Patch]] | None
    places: int


def samplers(
    config: TrainSegmenterConfig,
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    *,
    progress: Progress = SILENT,
) -> TrainingStreams:
    """Put a training's samplers together.

    Parameters
    ----------
    config : TrainSegmenterConfig
        With ``adapt`` resolved.
    sources : sequence of WorkingRaster
        With labels.
    targets : sequence of WorkingRaster
        Without.
    progress : Progress
    """
    made = strategy(config, sources, targets, progress=progress)
    labelled = PatchSampler(
        sources, config.patch, config.seed, made.labelled, config.share, config.jitter
    )
    plain = dataclasses.replace(labelled, recolor=None, jitter=False)
    always = dataclasses.replace(labelled, share=1.0, jitter=False)

    def shown(number: int) -> tuple[Patch, Patch]:
        return plain.draw(0, number), always.draw(0, number)

    unlabelled = None
    if config.teach and targets:
        # The second view is jittered in any case: without noise, teaching teaches nothing.
        unlabelled = TargetSampler(
            targets, config.patch, config.seed, made.unlabelled, config.share, jitter=True
        ).draw
    return TrainingStreams(
        labelled.draw,
        unlabelled,
        None if made.labelled is None else shown,
        len({raster.folder for raster in sources}),
    )

"""The ground sample distance to predict at: the model's own, or finer where it is surer so."""

import math

from geossda.config import SegmentConfig
from geossda.progress import SILENT, Progress
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.mosaic import Mosaic
from geossda.runtime.segmenter_network import SegmenterNetwork
from geossda.segmentation.model_runner import run_windows
from geossda.segmentation.prepare import measure_scalings, ready_to_predict
from geossda.segmentation.sliding_window import WindowReader

# Finest ground sample distance, of the model's: within the sizes that patches have in training.
# Imagery that is hardly finer than the model's is not tried.
_FINEST, _HARDLY_FINER = 0.75, 0.9
# Windows of each, spread over the mosaic, and probabilities between which a model is unsure.
_WINDOWS = 16
_UNSURE = (0.2, 0.8)


def choose_gsd(
    mosaic: Mosaic, network: SegmenterNetwork, config: SegmentConfig, progress: Progress = SILENT
) -> float:
    """Return the ground sample distance in metres that the model is surer at.

    Where houses are small, a model finds them better in imagery that is finer than its own, and
    large flats worse. Which is the case shows without labels: some windows are predicted at both,
    and the one with fewer unsure pixels for each pixel of a building is taken.

    Parameters
    ----------
    mosaic : Mosaic
        With the model's bands and a CRS.
    network : SegmenterNetwork
    config : SegmentConfig
        How rasters are stretched, and how many windows go at a time.
    progress : Progress
        Told of another distance than the model's own.
    """
    card = network.card
    finer = max(_FINEST * card.gsd_m, *ground_sample_distance(mosaic.grid))
    if finer > _HARDLY_FINER * card.gsd_m:
        return card.gsd_m
    progress.stage("choosing the resolution", 2)
    scalings = measure_scalings(mosaic, card, config.stretch)
    unsure = {}
    for gsd_m in (card.gsd_m, finer):
        reader = ready_to_predict(mosaic, card, gsd_m, clearance_m=0.0, scalings=scalings)
        unsure[gsd_m] = _unsure(reader, network, config.batch)
        progress.advance()
    if not unsure[finer] < unsure[card.gsd_m]:
        return card.gsd_m
    progress.note(
        f"{mosaic.name} is predicted at {finer:.3g} m, where the model is surer than at its own "
        f"{card.gsd_m:g} m: --gsd {card.gsd_m:g} predicts at that"
    )
    return finer


def _unsure(reader: WindowReader, network: SegmenterNetwork, batch: int) -> float:
    """Return the number of unsure pixels for each pixel of a building; infinite without one."""
    card = network.card
    windows = reader.spread_places(card.overlap_px, _WINDOWS)
    between = built = 0
    for read, probability in run_windows(windows, reader.read, network, batch):
        if probability is not None:
            values = probability[: read.window.height, : read.window.width][read.valid]
            between += int(((values > _UNSURE[0]) & (values < _UNSURE[1])).sum())
            built += int((values >= card.threshold).sum())
    return between / built if built else math.inf

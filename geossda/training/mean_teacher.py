"""Mean teacher: the EMA network predicts pseudo-labels on target imagery."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from geossda.devices import mixed_precision
from geossda.models.losses import masked_bce_dice
from geossda.training.objective import Batch, Objective, TargetBatch

# Bins of the histograms of predicted probabilities, over 0..1.
BINS = 256
# Decay of the histogram of all rasters per step, and of each raster's own per patch.
DECAY, RASTER_DECAY = 0.975, 0.9
# Fraction of the expected building pixels that every raster gets pseudo-labels for at least.
MIN_RASTER_FRACTION = 0.5
# Limits of the probability from which a pseudo-label is a building.
MIN_THRESHOLD, MAX_THRESHOLD = 0.02, 0.9
# Temperature of the pseudo-labels' logits: below 1, so they are more confident than the teacher.
TEMPERATURE = 0.7
# Fraction of the steps before the consistency loss begins, and fraction over which its weight
# rises to its full value.
BEGIN, RAMP = 0.3, 0.25


class MeanTeacher(Objective):
    """The supervised loss plus consistency with a mean teacher on target imagery.

    The EMA network predicts each target patch as it is; the network in training has to predict the
    same for the patch in another style (Tarvainen and Valpola 2017, with styles as the noise).

    A model is unsure on imagery that it was not trained on, and its own probabilities would
    say that next to nothing is a building. So the pseudo-labels' threshold is placed where the
    teacher finds the expected number of building pixels: the geometric mean of its mean
    probability and of the expected building fraction, if the labels are of one place. Without
    the latter a model of a dense place finds ever more in a sparse one. With one threshold for all
    rasters it finds ever less in the raster that it knows least, so each raster's threshold is
    lowered until some of it is labelled. A model trained on labels of several places estimates
    the fraction better than the prior does, which then weighs less, as the pseudo-labels do
    (docs/decisions/0007).

    Parameters
    ----------
    steps : int
        Optimizer steps of the whole training.
    building_fraction : float
        Expected building fraction of the target's ground, in 0..1.
    places : int
        Number of places that the labels are of.
    auxiliary : float
        Weight of the supervised loss of the auxiliary outputs.

    Attributes
    ----------
    histogram : (BINS,) float64 tensor
        Decaying histogram of the teacher's probabilities on all target rasters.
    raster_histograms : dict of int to (BINS,) float64 tensor
        The same for each target raster.
    """

    def __init__(
        self, steps: int, building_fraction: float, places: int = 1, auxiliary: float = 0.0
    ) -> None:
        super().__init__(auxiliary)
        self.steps, self.building_fraction, self.places = steps, building_fraction, places
        self.histogram = torch.zeros(BINS, dtype=torch.float64)
        self.raster_histograms: dict[int, torch.Tensor] = {}

    def weight(self, step: int) -> float:
        """Return the weight of the consistency loss at a step, counted from 1."""
        return float(np.clip((step / self.steps - BEGIN) / RAMP, 0, 1)) / self.places

    def loss(
        self,
        step: int,
        network: torch.nn.Module,
        average: torch.nn.Module,
        labelled: Batch,
        target: TargetBatch | None,
    ) -> torch.Tensor:
        """Compute the supervised loss plus the weighted consistency loss.

        Parameters
        ----------
        step, network, average, labelled, target
            As in :meth:`Objective.loss`.
        """
        weight = self.weight(step)
        if target is None or weight == 0:
            return super().loss(step, network, average, labelled, target)
        pseudo_labels = self.pseudo_labels(average, target.image, target.weight, target.rasters)
        # One batch, so that batch norms see labelled and target patches together, as they will
        # when predicting.
        image = torch.cat([labelled.image, target.restyled])
        image = image.contiguous(memory_format=torch.channels_last)
        with mixed_precision(image.device):
            logits = network(image)
        count = len(labelled.image)
        supervised = self.supervised(logits[:count], labelled)
        consistency = masked_bce_dice(logits[count:, :1], pseudo_labels, target.weight)
        return supervised + weight * consistency

    def pseudo_labels(
        self,
        average: torch.nn.Module,
        image: torch.Tensor,
        weight: torch.Tensor,
        rasters: Sequence[int],
    ) -> torch.Tensor:
        """Predict the probabilities to learn on target patches, and update the histograms.

        Parameters
        ----------
        average : torch.nn.Module
            The teacher, in evaluation mode.
        image : (N, bands, side, side) float tensor, 0..1
        weight : (N, 1, side, side) float tensor, 0 where the image has no data
        rasters : sequence of int
            Index of the target raster of each patch.

        Returns
        -------
        (N, 1, side, side) float tensor, 0..1
        """
        with torch.no_grad(), mixed_precision(image.device):
            logits = average(image)[:, :1].float()
        histograms = [
            torch.histc(probability[known > 0].cpu(), BINS, 0, 1).double()
            for probability, known in zip(torch.sigmoid(logits), weight, strict=True)
        ]
        self.histogram = self.histogram * DECAY + sum(histograms)
        for raster, histogram in zip(rasters, histograms, strict=True):
            earlier = self.raster_histograms.get(raster, 0)
            self.raster_histograms[raster] = earlier * RASTER_DECAY + histogram
        common = _threshold(self.histogram, self._expected_fraction())
        least = MIN_RASTER_FRACTION * self.building_fraction
        thresholds = torch.tensor(
            [min(common, _threshold(self.raster_histograms[raster], least)) for raster in rasters]
        )
        shift = torch.logit(thresholds).to(logits)[:, None, None, None]
        return torch.sigmoid((logits - shift) / TEMPERATURE)

    def state_dict(self) -> dict[str, Any]:
        """Return the histograms."""
        return {"histogram": self.histogram, "raster_histograms": self.raster_histograms}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the histograms."""
        self.histogram = state["histogram"]
        self.raster_histograms = state["raster_histograms"]

    def _expected_fraction(self) -> float:
        """Return the weighted geometric mean of the teacher's mean probability and the prior."""
        centers = (torch.arange(BINS) + 0.5) / BINS
        mean = (self.histogram * centers).sum() / self.histogram.sum().clamp(min=1)
        exponent = 1 / (1 + self.places)
        return float(mean ** (1 - exponent) * self.building_fraction**exponent)


def _threshold(histogram: torch.Tensor, fraction: float) -> float:
    """Return the probability that no more than a fraction of the counted pixels exceeds."""
    above = histogram.flip(0).cumsum(0).flip(0) / histogram.sum().clamp(min=1)
    index = int((above >= fraction).sum()) - 1
    return float(np.clip(index / BINS, MIN_THRESHOLD, MAX_THRESHOLD))

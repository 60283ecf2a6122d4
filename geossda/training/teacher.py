"""Learning from imagery without labels: the averaged network teaches the one in training."""

import numpy as np
import torch

from geossda.devices import mixed_precision

# Probabilities are counted in so many bins, and forgotten by this factor a step.
BINS, MEMORY = 256, 0.975
# Pixels this share of the way from the limit to 0 and to 1 are too doubtful to teach.
BELOW, ABOVE = 0.5, 0.25
LOWEST, HIGHEST = 0.02, 0.5
# Share of the steps that are over before teaching begins, and over which it gains weight.
BEGIN, RAMP = 0.3, 0.25


class Teacher:
    """Consistency across styles: a mean teacher (Tarvainen and Valpola 2017), styles for noise.

    What the teacher says of a patch as it is, the network is to say of it in another look.

    Where a model has not been trained it is doubtful, and a limit of 0.5 would teach it that next
    to nothing is a building. The limit is where it finds as many buildings as it expects: the
    share of pixels above is the mean probability of all.

    Attributes
    ----------
    average : torch.nn.Module
        The teacher, in evaluation mode.
    steps : int
        Of the whole training.
    counts : (bins,) float64 tensor
        Histogram of recent probabilities.
    """

    def __init__(self, average: torch.nn.Module, steps: int) -> None:
        self.average, self.steps = average, steps
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def weight(self, step: int) -> float:
        """Say how much teaching counts at a step, counted from 1."""
        return float(np.clip((step / self.steps - BEGIN) / RAMP, 0, 1))

    def lesson(
        self, image: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Say what is to be learned of (N, bands, side, side) patches: labels and their weights."""
        with torch.no_grad(), mixed_precision(image.device):
            probability = torch.sigmoid(self.average(image).float())
        limit = self._limit(probability[weight > 0])
        sure = (probability < BELOW * limit) | (probability > limit + ABOVE * (1 - limit))
        return (probability >= limit).float(), weight * sure

    def _limit(self, probability: torch.Tensor) -> float:
        found = torch.histc(probability.cpu(), BINS, 0, 1).double()
        self.counts = self.counts * MEMORY + found
        total = self.counts.sum().clamp(min=1)
        centres = (torch.arange(BINS) + 0.5) / BINS
        expected = (self.counts * centres).sum() / total
        above = self.counts.flip(0).cumsum(0).flip(0) / total
        place = int((above >= expected).sum()) - 1
        return float(np.clip(place / BINS, LOWEST, HIGHEST))

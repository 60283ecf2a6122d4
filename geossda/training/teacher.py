"""Learning from imagery without labels: the averaged network teaches the one in training."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from geossda.devices import mixed_precision

# Probabilities are counted in so many bins, those of all rasters remembered for so many patches,
# those of each for so many of its own.
BINS, ALL, EACH = 256, 160, 10
LOWEST, HIGHEST = 0.02, 0.9
# Logits are divided by this before they are taught: a little surer than the teacher is.
SHARPENING = 0.7
# Share of the steps that are over before teaching begins, and over which it gains weight.
BEGIN, RAMP = 0.3, 0.25


class Teacher:
    """Consistency across styles: a mean teacher (Tarvainen and Valpola 2017), styles for noise.

    What the teacher says of a patch as it is, the network is to say of it in another look.

    Where a model has not been trained it is doubtful, and its own probabilities would teach it that
    next to nothing is a building. So they are moved to have their middle where the teacher
    finds as many buildings as are to be expected: halfway, as a factor, between the mean
    probability it gives and the share that is thought to be built. Without the latter a model
    of a dense place finds ever more in a sparse one. Half of what is counted is of all rasters,
    half of the patch's own: by the former alone a raster that the model knows least is left
    without any building, by the latter alone sparse rasters get too many (docs/decisions/0007).

    Attributes
    ----------
    average : torch.nn.Module
        The teacher, in evaluation mode.
    steps : int
        Of the whole training.
    built : float
        Share of the target's ground thought to be built.
    counts : (1 + rasters, bins) float64 tensor
        Histograms of recent probabilities: of all rasters, and of each that has been seen.
    """

    def __init__(self, average: torch.nn.Module, steps: int, built: float) -> None:
        self.average, self.steps, self.built = average, steps, built
        self.counts = torch.zeros((1, BINS), dtype=torch.float64)

    def weight(self, step: int) -> float:
        """Say how much teaching counts at a step, counted from 1."""
        return float(np.clip((step / self.steps - BEGIN) / RAMP, 0, 1))

    def lesson(
        self, image: torch.Tensor, weight: torch.Tensor, rasters: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Say what is to be learned of (N, bands, side, side) patches.

        Parameters
        ----------
        image, weight : (N, bands or 1, side, side) tensors
        rasters : sequence of int
            Which raster each patch is of.

        Returns
        -------
        probabilities, weights : (N, 1, side, side) tensors
        """
        with torch.no_grad(), mixed_precision(image.device):
            logits = self.average(image).float()
        probability = torch.sigmoid(logits)
        for raster, given, known in zip(rasters, probability, weight, strict=True):
            self._count(raster, given[known > 0])
        middles = logits.new_tensor([self._middle(raster) for raster in rasters])
        return torch.sigmoid((logits - middles[:, None, None, None]) / SHARPENING), weight

    def _count(self, raster: int, probability: torch.Tensor) -> None:
        found = torch.histc(probability.cpu(), BINS, 0, 1).double()
        unseen = max(0, raster + 2 - len(self.counts))
        self.counts = torch.cat([self.counts, self.counts.new_zeros((unseen, BINS))])
        for row, patches in ((0, ALL), (raster + 1, EACH)):
            self.counts[row] = self.counts[row] * (1 - 1 / patches) + found

    def _middle(self, raster: int) -> float:
        """Give the logit above which a raster's patches have as many pixels as is expected."""
        counted = self.counts[[0, raster + 1]]
        share = (counted / counted.sum(1, keepdim=True).clamp(min=1)).mean(0)
        centres = (torch.arange(BINS) + 0.5) / BINS
        expected = ((share * centres).sum() * self.built).sqrt()
        above = share.flip(0).cumsum(0).flip(0)
        place = int((above >= expected).sum()) - 1
        limit = float(np.clip(place / BINS, LOWEST, HIGHEST))
        return math.log(limit / (1 - limit))

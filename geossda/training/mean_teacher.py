"""Learning from imagery without labels: the averaged network teaches the one in training."""

from collections.abc import Sequence

import numpy as np
import torch

from geossda.devices import mixed_precision

# Probabilities are counted in so many bins, and forgotten by this factor a step.
BINS, MEMORY = 256, 0.975
# Those of each raster likewise, a patch; and of none is less taught than this part of what is
# thought to be built.
OWN_MEMORY, LEAST = 0.9, 0.5
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
    finds as many buildings as are to be expected: between the mean probability it gives and
    the share that is thought to be built, halfway as a factor if labels are of one place.
    Without the latter a model of a dense place finds ever more in a sparse one; and with one limit
    for all rasters ever less in the one it knows least, so that of each raster some is taught.
    Labels of several places make a better model than the guess is: that counts for less
    then, and so do all lessons (docs/decisions/0007).

    Attributes
    ----------
    average : torch.nn.Module
        The teacher, in evaluation mode.
    steps : int
        Of the whole training.
    built : float
        Share of the target's ground thought to be built.
    places : int
        That labels are of.
    counts : (bins,) float64 tensor
        Histogram of recent probabilities.
    own : dict
        The same by raster.
    """

    def __init__(self, average: torch.nn.Module, steps: int, built: float, places: int = 1) -> None:
        self.average, self.steps, self.built, self.places = average, steps, built, places
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self.own: dict[int, torch.Tensor] = {}

    def weight(self, step: int) -> float:
        """Say how much teaching counts at a step, counted from 1."""
        return float(np.clip((step / self.steps - BEGIN) / RAMP, 0, 1)) / self.places

    def pseudo_labels(
        self, image: torch.Tensor, weight: torch.Tensor, rasters: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Say what is to be learned of (N, bands, side, side) patches of rasters.

        Returns
        -------
        probabilities, weights : (N, 1, side, side) tensors
        """
        with torch.no_grad(), mixed_precision(image.device):
            logits = self.average(image).float()
        known = [
            _histogram(one[here > 0])
            for one, here in zip(torch.sigmoid(logits), weight, strict=True)
        ]
        self.counts = self.counts * MEMORY + sum(known)
        for raster, found in zip(rasters, known, strict=True):
            self.own[raster] = self.own.get(raster, 0) * OWN_MEMORY + found
        common = self._common_limit()
        limits = torch.tensor(
            [min(common, _limit(self.own[raster], LEAST * self.built)) for raster in rasters]
        )
        middle = torch.logit(limits).to(logits)[:, None, None, None]
        return torch.sigmoid((logits - middle) / SHARPENING), weight

    def _common_limit(self) -> float:
        centres = (torch.arange(BINS) + 0.5) / BINS
        mean = (self.counts * centres).sum() / self.counts.sum().clamp(min=1)
        share = 1 / (1 + self.places)
        return _limit(self.counts, float(mean ** (1 - share) * self.built**share))


def _histogram(probability: torch.Tensor) -> torch.Tensor:
    return torch.histc(probability.cpu(), BINS, 0, 1).double()


def _limit(counts: torch.Tensor, share: float) -> float:
    """Give the probability that no more than a share of what was counted exceeds."""
    above = counts.flip(0).cumsum(0).flip(0) / counts.sum().clamp(min=1)
    place = int((above >= share).sum()) - 1
    return float(np.clip(place / BINS, LOWEST, HIGHEST))

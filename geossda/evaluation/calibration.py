"""Whether probabilities say how often they are right, and the temperature that makes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from geossda.data.patches import WorkingRaster
from geossda.devices import mixed_precision
from geossda.evaluation.metrics import Confusion
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, tiles
from geossda.training.segmenter_loop import Calibration

# Logits are counted in bins of this width up to this size; beyond, a probability is 0 or 1.
WIDTH, HIGHEST = 0.05, 16.0
CENTRES = np.arange(-HIGHEST, HIGHEST + WIDTH / 2, WIDTH)
SIDE = 512
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.1, 10.0


@dataclass(frozen=True, eq=False)
class Reliability:
    """Counts of pixels by logit, all and those that are buildings.

    Attributes
    ----------
    every, true : (bins,) int64 arrays
    """

    every: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def none(cls) -> "Reliability":
        """Begin with no pixel."""
        return cls(np.zeros(len(CENTRES), np.int64), np.zeros(len(CENTRES), np.int64))

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: NDArray[np.bool_]) -> "Reliability":
        """Count pixels, given as arrays of one shape."""
        places = np.rint((np.clip(logits, -HIGHEST, HIGHEST) + HIGHEST) / WIDTH).astype(np.int64)
        bins = len(CENTRES)
        # The middle bin is of logits from 0 on, where a building begins.
        places -= (places == bins // 2) & (logits < 0)
        return cls(
            np.bincount(places.ravel(), minlength=bins),
            np.bincount(places[labels].ravel(), minlength=bins),
        )

    @classmethod
    def from_lists(cls, every: Sequence[int], true: Sequence[int]) -> "Reliability":
        """Take up counts that were written down."""
        return cls(np.array(every, np.int64), np.array(true, np.int64))

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.every + other.every, self.true + other.true)

    def confusion(self) -> Confusion:
        """Count pixels of a probability of 0.5 and more as found."""
        above = CENTRES >= 0
        hit, found = int(self.true[above].sum()), int(self.every[above].sum())
        return Confusion(hit, found - hit, int(self.true.sum()) - hit)

    def likelihood(self, temperature: float) -> float:
        """Give the mean negative log-likelihood of the labels."""
        scaled = CENTRES / temperature
        # -log(sigmoid(x)) and -log(1 - sigmoid(x)), without overflow.
        lost = self.true * np.logaddexp(0, -scaled)
        lost += (self.every - self.true) * np.logaddexp(0, scaled)
        return float(lost.sum() / self.every.sum())

    def temperature(self) -> float:
        """Fit the temperature that logits are to be divided by (Guo et al. 2017)."""
        if not 0 < self.true.sum() < self.every.sum():
            return 1.0  # of one class only: nothing to learn from
        bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
        found = minimize_scalar(
            lambda x: self.likelihood(float(np.exp(x))), bounds=bounds, method="bounded"
        )
        return float(np.exp(found.x))

    def error(self, temperature: float = 1.0, bins: int = 15) -> float:
        """Give the expected calibration error (Naeini et al. 2015) of building probabilities.

        The mean over all pixels of the difference, bin by bin of equal width, between the mean
        probability and the share of buildings.
        """
        probability = 1 / (1 + np.exp(-CENTRES / temperature))
        place = np.minimum((probability * bins).astype(int), bins - 1)
        claimed = np.bincount(place, self.every * probability, minlength=bins)
        found = np.bincount(place, self.true, minlength=bins)
        return float(np.abs(claimed - found).sum() / self.every.sum())


def calibration(
    rasters: Sequence[WorkingRaster], device: torch.device, *, progress: Progress = SILENT
) -> Callable[[torch.nn.Module], Calibration] | None:
    """Make what measures a finished network on the columns kept from its training.

    Returns
    -------
    callable or None
        None where nothing was kept.
    """
    kept = [raster for raster in rasters if raster.width < raster.mosaic.shape[1]]
    if not kept:
        return None

    def measure(network: torch.nn.Module) -> Calibration:
        found = held_out(network, kept, device, progress=progress)
        temperature = found.temperature()
        confusion = found.confusion()
        return Calibration(
            temperature,
            {
                "held_out_iou": round(confusion.iou, 4),
                "held_out_calibration_error": round(found.error(), 4),
                "held_out_calibration_error_calibrated": round(found.error(temperature), 4),
            },
        )

    return measure


@torch.inference_mode()
def held_out(
    network: torch.nn.Module,
    rasters: Sequence[WorkingRaster],
    device: torch.device,
    *,
    progress: Progress = SILENT,
) -> Reliability:
    """Count logits and labels on the columns of rasters that were kept from training."""
    total = Reliability.none()
    progress.stage("calibrating", len(rasters))
    for raster in rasters:
        height, width = raster.mosaic.shape
        for part in tiles((height, width - raster.width), SIDE):
            window = Window(part.row, part.col + raster.width, part.height, part.width)
            read = raster.read(window)
            image = np.zeros((1, len(read) - 2, SIDE, SIDE), np.float32)
            image[0, :, : part.height, : part.width] = read[:-2] / np.float32(255)
            batch = torch.from_numpy(image).to(device, memory_format=torch.channels_last)
            with mixed_precision(device):
                made = network(batch)
            logits = made[0, 0, : part.height, : part.width].float().cpu().numpy()
            valid = read[-1] > 0
            total += Reliability.of(logits[valid], read[-2][valid] > 0)
        progress.advance()
    return total

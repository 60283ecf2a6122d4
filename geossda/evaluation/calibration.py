"""Calibration of probabilities: reliability, and the temperature that is fitted to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from geossda.data.scaled_rasters import WorkingRaster
from geossda.devices import mixed_precision
from geossda.evaluation.metrics import Confusion
from geossda.progress import SILENT, Progress
from geossda.raster.windows import Window, tiles
from geossda.training.segmenter_loop import Calibration

# Bin width and range of the counted logits; beyond, probabilities are 0 or 1.
BIN_WIDTH, MAX_LOGIT = 0.05, 16.0
CENTERS = np.arange(-MAX_LOGIT, MAX_LOGIT + BIN_WIDTH / 2, BIN_WIDTH)
# Side in pixels of the windows that held-out columns are predicted in.
WINDOW_PX = 512
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0


@dataclass(frozen=True, eq=False)
class Reliability:
    """Counts of pixels by logit: of all, and of those that are buildings.

    Attributes
    ----------
    every, true : (bins,) int64 arrays
    """

    every: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def none(cls) -> "Reliability":
        """Return counts of no pixels."""
        return cls(np.zeros(len(CENTERS), np.int64), np.zeros(len(CENTERS), np.int64))

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: NDArray[np.bool_]) -> "Reliability":
        """Return the counts of pixels, given as arrays of the same shape."""
        index = np.rint((np.clip(logits, -MAX_LOGIT, MAX_LOGIT) + MAX_LOGIT) / BIN_WIDTH).astype(
            np.int64
        )
        bins = len(CENTERS)
        # The middle bin begins at logit 0, where pixels become buildings.
        index -= (index == bins // 2) & (logits < 0)
        return cls(
            np.bincount(index.ravel(), minlength=bins),
            np.bincount(index[labels].ravel(), minlength=bins),
        )

    @classmethod
    def from_lists(cls, pixels: Sequence[int], true: Sequence[int]) -> "Reliability":
        """Return counts that were written as lists."""
        return cls(np.array(pixels, np.int64), np.array(true, np.int64))

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.every + other.every, self.true + other.true)

    def confusion(self) -> Confusion:
        """Return the confusion matrix of pixels at a threshold of 0.5."""
        above = CENTERS >= 0
        hit, predicted = int(self.true[above].sum()), int(self.every[above].sum())
        return Confusion(hit, predicted - hit, int(self.true.sum()) - hit)

    def likelihood(self, temperature: float) -> float:
        """Return the mean negative log-likelihood of the labels at a temperature."""
        scaled = CENTERS / temperature
        # -log(sigmoid(x)) and -log(1 - sigmoid(x)), without overflow.
        total = self.true * np.logaddexp(0, -scaled)
        total += (self.every - self.true) * np.logaddexp(0, scaled)
        return float(total.sum() / self.every.sum())

    def temperature(self) -> float:
        """Return the fitted temperature, which logits are to be divided by (Guo et al. 2017)."""
        if not 0 < self.true.sum() < self.every.sum():
            return 1.0  # a single class: there is nothing to fit
        bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
        minimum = minimize_scalar(
            lambda x: self.likelihood(float(np.exp(x))), bounds=bounds, method="bounded"
        )
        return float(np.exp(minimum.x))

    def error(self, temperature: float = 1.0, bins: int = 15) -> float:
        """Return the expected calibration error (Naeini et al. 2015) of building probabilities.

        The difference of mean probability and building fraction in each of `bins` bins of equal
        width, as a mean over all pixels.

        Parameters
        ----------
        temperature : float
            Divides the logits.
        bins : int
        """
        probability = 1 / (1 + np.exp(-CENTERS / temperature))
        index = np.minimum((probability * bins).astype(int), bins - 1)
        expected = np.bincount(index, self.every * probability, minlength=bins)
        observed = np.bincount(index, self.true, minlength=bins)
        return float(np.abs(expected - observed).sum() / self.every.sum())


def calibration(
    rasters: Sequence[WorkingRaster], device: torch.device, *, progress: Progress = SILENT
) -> Callable[[torch.nn.Module], Calibration] | None:
    """Return a function that measures a network on the columns held out from its training.

    Parameters
    ----------
    rasters : sequence of WorkingRaster
        With labels.
    device : torch.device
    progress : Progress

    Returns
    -------
    callable or None
        None if no columns are held out.
    """
    with_hold_out = [raster for raster in rasters if raster.width < raster.mosaic.shape[1]]
    if not with_hold_out:
        return None

    def measure(network: torch.nn.Module) -> Calibration:
        reliability = held_out(network, with_hold_out, device, progress=progress)
        temperature = reliability.temperature()
        confusion = reliability.confusion()
        return Calibration(
            temperature,
            {
                "held_out_iou": round(confusion.iou, 4),
                "held_out_calibration_error": round(reliability.error(), 4),
                "held_out_calibration_error_calibrated": round(reliability.error(temperature), 4),
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
    """Return counts of logits and labels on the held-out columns of rasters.

    Parameters
    ----------
    network : torch.nn.Module
    rasters : sequence of WorkingRaster
        With labels.
    device : torch.device
    progress : Progress
        Advanced by one per raster.
    """
    total = Reliability.none()
    progress.stage("calibrating", len(rasters))
    for raster in rasters:
        height, width = raster.mosaic.shape
        for tile in tiles((height, width - raster.width), WINDOW_PX):
            window = Window(tile.row, tile.col + raster.width, tile.height, tile.width)
            read = raster.read(window)
            image = np.zeros((1, len(read) - 2, WINDOW_PX, WINDOW_PX), np.float32)
            image[0, :, : tile.height, : tile.width] = read[:-2] / np.float32(255)
            batch = torch.from_numpy(image).to(device, memory_format=torch.channels_last)
            with mixed_precision(device):
                output = network(batch)
            logits = output[0, 0, : tile.height, : tile.width].float().cpu().numpy()
            valid = read[-1] > 0
            total += Reliability.of(logits[valid], read[-2][valid] > 0)
        progress.advance()
    return total

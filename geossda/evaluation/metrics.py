"""Agreement of predicted and true buildings, and distance of colour distributions."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from geossda.raster.histograms import Histograms


@dataclass(frozen=True)
class Confusion:
    """Counts (pixels, square metres or buildings) of the two-class confusion matrix.

    Attributes
    ----------
    hit, false_alarm, miss : float
        True positives, false positives, false negatives.
    """

    hit: float = 0
    false_alarm: float = 0
    miss: float = 0

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(
            self.hit + other.hit,
            self.false_alarm + other.false_alarm,
            self.miss + other.miss,
        )

    @classmethod
    def of(cls, detected: NDArray[np.bool_], true: NDArray[np.bool_]) -> "Confusion":
        """Return the counts of pixels of two masks of the same shape."""
        hit = int((detected & true).sum())
        return cls(hit, int(detected.sum()) - hit, int(true.sum()) - hit)

    @property
    def iou(self) -> float:
        """Intersection over union; NaN where both are empty."""
        return _ratio(self.hit, self.hit + self.false_alarm + self.miss)

    @property
    def precision(self) -> float:
        """Fraction of the predicted that is true."""
        return _ratio(self.hit, self.hit + self.false_alarm)

    @property
    def recall(self) -> float:
        """Fraction of the true that is predicted."""
        return _ratio(self.hit, self.hit + self.miss)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.hit, 2 * self.hit + self.false_alarm + self.miss)

    def to_dict(self) -> dict[str, float]:
        """Return counts and ratios by name."""
        ratios = {name: getattr(self, name) for name in ("iou", "precision", "recall", "f1")}
        return {**asdict(self), **ratios}


def wasserstein(first: Histograms, second: Histograms) -> NDArray[np.float64]:
    """Return the Wasserstein-1 distance of two images' values, by band.

    Parameters
    ----------
    first, second : Histograms

    Returns
    -------
    (bands,) array
        Mean distance in digital numbers that a pixel's value has to move.
    """
    levels = (np.arange(4096) + 0.5) / 4096
    return np.asarray(np.abs(first.quantiles(levels) - second.quantiles(levels)).mean(axis=1))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")

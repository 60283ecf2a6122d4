"""What a style statistic is: one small class that measures, pools, converts, writes and reads it.

To add one, write its class and name it in the `needs` of a harmonization method
(:mod:`geossda.harmonization.methods`); style files, pooling and conversion follow.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from geossda.errors import StyleError
from geossda.harmonization.reading import Reading
from geossda.harmonization.style_checks import numbers

S = TypeVar("S", bound="Statistic")


class RangeChange(NamedTuple):
    """The linear map of digital numbers from one working range to another.

    Attributes
    ----------
    old, new : (float, float)
        Digital numbers that the sensors fill.
    """

    old: tuple[float, float]
    new: tuple[float, float]

    @property
    def factor(self) -> float:
        """What differences of digital numbers are multiplied by."""
        return (self.new[1] - self.new[0]) / (self.old[1] - self.old[0])

    def values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return digital numbers of the new range."""
        return (values - self.old[0]) * self.factor + self.new[0]


class Statistic(ABC):
    """A statistic of one image, or of many pooled. Subclasses are frozen dataclasses.

    Attributes
    ----------
    name : str
        Its entry in style files, unlike that of all others.
    label : str
        In words, for messages.
    required : bool
        Whether methods that need it cannot do without.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    required: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Measure an image; None where there is nothing to measure, as with too few bands."""

    @classmethod
    @abstractmethod
    def pool(cls, each: Sequence[Self], shares: NDArray[np.float64]) -> Self | None:
        """Pool the statistics of images by their shares, which sum to 1, as if they were one's."""

    def carried(self, change: RangeChange) -> Self:
        """Return the statistic for another range of digital numbers; by default it stays."""
        return self

    @abstractmethod
    def entries(self) -> dict[str, Any]:
        """Return the entries of a style file, ready for JSON."""

    @classmethod
    def no_entries(cls) -> dict[str, Any]:
        """Return the entries of a file of a style without this statistic."""
        return {cls.name: None}

    @classmethod
    @abstractmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the statistic that a style file holds; None if it holds none.

        Raises
        ------
        ValueError, TypeError, KeyError
            An entry is missing, of the wrong type or length, or not finite. The message names it.
        """


@dataclass(frozen=True)
class BandStatistic(Statistic):
    """Numbers of each band that are averaged when pooled and stay in another range.

    Attributes
    ----------
    values : (bands,) array
        Subclasses that override :meth:`read` may have more axes.
    """

    values: NDArray[np.float64]

    @classmethod
    def pool(cls, each: Sequence[Self], shares: NDArray[np.float64]) -> Self:
        """Return the mean by shares."""
        return cls(np.tensordot(shares, np.stack([one.values for one in each]), 1))

    def entries(self) -> dict[str, Any]:
        """Return one entry, of six digits after the point."""
        return {self.name: rounded(self.values)}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the statistic of one number a band; None if there is none."""
        if entries.get(cls.name) is None:
            return None
        return cls(numbers(entries, cls.name, (bands,)))


class Measured:
    """Something that statistics were measured of.

    Attributes
    ----------
    name : str
    statistics : dict
        By their classes; None where there was nothing to measure.
    """

    name: str
    statistics: Mapping[type[Statistic], Statistic | None]

    def get(self, statistic: type[S]) -> S | None:
        """Return a statistic, or None if it was not measured."""
        value = self.statistics.get(statistic)
        return value if isinstance(value, statistic) else None

    def __getitem__(self, statistic: type[S]) -> S:
        """Return a statistic; raise StyleError if it was not measured."""
        value = self.get(statistic)
        if value is None:
            raise StyleError(
                f"the style {self.name} has no {statistic.label}: make it again with geossda style"
            )
        return value

    def statistics_state(self) -> dict[str, Any]:
        """Return all statistics by name, unrounded, as they are saved during a run."""
        return {
            statistic.name: None if value is None else dict(vars(value))
            for statistic, value in self.statistics.items()
        }


def from_statistics_state(
    state: Mapping[str, Any], known: Sequence[type[Statistic]]
) -> dict[type[Statistic], Statistic | None]:
    """Return what :meth:`Measured.statistics_state` has written.

    Parameters
    ----------
    state : dict
        By the statistics' names.
    known : sequence of Statistic classes
        Those to return.
    """
    return {
        statistic: None if state[statistic.name] is None else statistic(**state[statistic.name])
        for statistic in known
        if statistic.name in state
    }


def measure_all(
    reading: Reading, statistics: Sequence[type[Statistic]]
) -> dict[type[Statistic], Statistic | None]:
    """Measure statistics of one image.

    Parameters
    ----------
    reading : Reading
    statistics : sequence of Statistic classes
        Measured in this order.

    Returns
    -------
    dict
        By their classes; None where there was nothing to measure.
    """
    return {statistic: statistic.measure(reading) for statistic in statistics}


def rounded(values: NDArray[np.float64]) -> list[Any]:
    """Return numbers as style files keep them: lists, six digits after the point."""
    result: list[Any] = np.round(values, 6).tolist()
    return result

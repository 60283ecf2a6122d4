"""A style: the statistics of a reference that the methods need, small enough for a file."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.errors import BandError, StyleError, counted
from geossda.harmonization.reference_statistics import Colors, Moments, Pixels
from geossda.harmonization.statistic import (
    Measured,
    RangeChange,
    Statistic,
    from_statistics_state,
)
from geossda.harmonization.style_checks import identity, require

FORMAT = "geossda style 2"
# Without the features that SS(DA)² needs.
OLDER = "geossda style 1"
# Of a style file: a thousand bands with features have less.
MAX_BYTES = 256_000_000


@dataclass(frozen=True)
class Style(Measured):
    """The style of one image, or of many pooled.

    ``style[Lab]`` is a statistic by its class.

    Attributes
    ----------
    name : str
        Name of the reference, for messages and tags.
    dtype : str
        Type of the reference's pixels.
    working_range : (float, float)
        Digital numbers that the reference's sensor fills, by which styles are converted between
        types.
    statistics : dict
        By their classes; None where there was nothing to measure.
    """

    name: str
    dtype: str
    working_range: tuple[float, float]
    statistics: Mapping[type[Statistic], Statistic | None]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each band, (bands,)."""
        return self[Moments].mean

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each band, (bands,)."""
        return self[Moments].std

    @property
    def pixels(self) -> int:
        """Number of valid pixels measured."""
        return self[Pixels].count

    @property
    def colors(self) -> tuple[str | None, ...]:
        """What each band shows as the reference declares it; empty where that is not known."""
        colors = self.get(Colors)
        return tuple(colors.names) if colors else ()

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.mean)

    def require_bands(self, bands: int, name: str) -> None:
        """Check that the style has as many bands as a source.

        Parameters
        ----------
        bands : int
        name : str
            Name of the source, for the message.

        Raises
        ------
        BandError
            Band counts differ.
        """
        if self.bands != bands:
            raise BandError(
                f"the style {self.name} has {counted(self.bands, 'band')}, {name} has "
                f"{bands}: choose bands "
                "with --bidx, here or when making the style"
            )

    def carried_to(self, working_range: tuple[float, float]) -> "Style":
        """Return the style converted linearly to another range of digital numbers.

        For an 8-bit style on an 11-bit image, 0..255 becomes 0..2047.
        """
        if working_range == self.working_range:
            return self
        change = RangeChange(self.working_range, working_range)
        carried = {
            statistic: None if value is None else value.carried(change)
            for statistic, value in self.statistics.items()
        }
        return Style(self.name, self.dtype, working_range, carried)

    def fitted_to(self, dtype: object, working_range: tuple[float, float]) -> "Style":
        """Return the style in an image's digital numbers, which mean the same within one type.

        Parameters
        ----------
        dtype : str or numpy dtype
            Of the image.
        working_range : (float, float)
            Of the image.
        """
        return self if self.dtype == dtype else self.carried_to(working_range)

    def to_state(self) -> dict[str, Any]:
        """Return name, type, range and all statistics, unrounded."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "working_range": self.working_range,
            "statistics": self.statistics_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], known: Sequence[type[Statistic]]) -> "Style":
        """Return the style that :meth:`to_state` has written, with the statistics known."""
        low, high = state["working_range"]
        statistics = from_statistics_state(state["statistics"], known)
        return cls(state["name"], state["dtype"], (low, high), statistics)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the style as JSON."""
        entries: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "dtype": self.dtype,
            "working_range": self.working_range,
        }
        for statistic, value in self.statistics.items():
            entries |= statistic.no_entries() if value is None else value.entries()
        Path(path).write_text(json.dumps(entries) + "\n")


def load_style(path: str | os.PathLike[str], known: Sequence[type[Statistic]]) -> Style:
    """Read a style written by :meth:`Style.save`.

    Parameters
    ----------
    path : path
    known : sequence of Statistic classes
        What the file may hold, see :func:`geossda.harmonization.methods.known_statistics`.

    Raises
    ------
    StyleError
        The file is missing, is not JSON, or does not hold a style.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise StyleError(f"{path} is larger than {MAX_BYTES / 1e6:.0f} MB: not a style file")
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StyleError(f"style {path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, StyleError):
            raise
        raise StyleError(f"{path} is not a style file (JSON was expected)") from error
    if not isinstance(entries, dict) or entries.pop("format", None) not in (FORMAT, OLDER):
        raise StyleError(f'{path} is not a style file ("format": "{FORMAT}" was expected)')
    try:
        name, dtype, working_range, bands = identity(entries)
        statistics = {statistic: statistic.read(entries, bands) for statistic in known}
        expected = {"name", "dtype", "working_range"}.union(*(s.no_entries() for s in known))
        unknown = set(entries) - expected
        require(not unknown, f"the entry {min(unknown, default='')[:40]} is not known")
        return Style(name, dtype, working_range, statistics)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StyleError(
            f"{path} is a damaged style file ({reason.splitlines()[0]}): make it again"
        ) from error

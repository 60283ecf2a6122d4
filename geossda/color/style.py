"""A style: the statistics of a reference that the methods need, small enough for a file."""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.color.style_checks import checked_entries
from geossda.errors import BandError, StyleError

FORMAT = "geossda style 2"
# Without the features that SS(DA)² needs.
OLDER = "geossda style 1"
# Shares of a band's pixels at which quantiles are kept: enough for 16-bit histograms; a style
# file stays under 100 kB per band.
SHARES = np.linspace(0, 1, 1025)
# Of a style file: a thousand bands with features have less.
MAX_BYTES = 256_000_000


@dataclass(frozen=True)
class Style:
    """The style of one image, or of many pooled.

    Attributes
    ----------
    name : str
        Name of the reference, for messages and tags.
    dtype : str
        Type of the reference's pixels.
    working_range : (float, float)
        Digital numbers that the reference's sensor fills, by which styles are converted between
        types.
    quantiles : (bands, 1025) array
        Values at equal shares of each band's pixels.
    mean, std : (bands,) arrays
    lab_mean, lab_std : (3,) arrays or None
        CIE L*a*b* moments of bands 1 to 3 taken as red, green, blue; None with fewer bands.
    pixels : int
        Number of valid pixels measured.
    covariance : (bands, bands) array or None
        Covariance of the bands; None in files of an older version.
    features : dict
        Features by the hash of a style model's weights, then by structure: one list of levels
        per group of bands, each level its means and its standard deviations.
    colors : tuple of str or None
        What each band shows as the reference declares it: ``"red"``, ``"nir"``, ...; empty in
        files of an older version, and where pooled references differ.
    sample : (bands, n) array or None
        Colors of pixels spread over the reference; None where they were not asked for.
    """

    name: str
    dtype: str
    working_range: tuple[float, float]
    quantiles: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    lab_mean: NDArray[np.float64] | None
    lab_std: NDArray[np.float64] | None
    pixels: int
    covariance: NDArray[np.float64] | None = None
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    colors: tuple[str | None, ...] = ()
    sample: NDArray[np.float64] | None = None

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
                f"the style {self.name} has {self.bands} bands, {name} has {bands}: choose bands "
                "with --bidx, here or when making the style"
            )

    def carried_to(self, working_range: tuple[float, float]) -> "Style":
        """Return the style converted linearly to another range of digital numbers.

        For an 8-bit style on an 11-bit image, 0..255 becomes 0..2047. Lab moments and features
        stay, since they are measured after scaling to 0..1.
        """
        if working_range == self.working_range:
            return self
        (low, high), (new_low, new_high) = self.working_range, working_range
        factor = (new_high - new_low) / (high - low)
        return replace(
            self,
            working_range=working_range,
            quantiles=(self.quantiles - low) * factor + new_low,
            mean=(self.mean - low) * factor + new_low,
            std=self.std * factor,
            covariance=None if self.covariance is None else self.covariance * factor**2,
            sample=None if self.sample is None else (self.sample - low) * factor + new_low,
        )

    def to_state(self) -> dict[str, Any]:
        """Return all attributes as a dict, unrounded."""
        return asdict(self)

    @classmethod
    def from_state(cls, numbers: dict[str, Any]) -> "Style":
        """Return the style that :meth:`to_state` has written."""
        low, high = numbers["working_range"]
        colors = tuple(numbers.get("colors", ()))
        return cls(**{**numbers, "working_range": (low, high), "colors": colors})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the style as JSON."""
        entries: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        for key, value in entries.items():
            if isinstance(value, np.ndarray):
                # Variances of reflectances are small numbers: all their digits are kept.
                entries[key] = (value if key == "covariance" else np.round(value, 6)).tolist()
        Path(path).write_text(json.dumps(entries) + "\n")


def load_style(path: str | os.PathLike[str]) -> Style:
    """Read a style written by :meth:`Style.save`.

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
        return Style(**checked_entries(entries, len(SHARES)))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StyleError(
            f"{path} is a damaged style file ({reason.splitlines()[0]}): make it again"
        ) from error

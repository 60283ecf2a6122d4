"""Statistics of styles that are measured on pixels: what every style has, L*a*b*, a sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from geossda.color.lab import lab_moments, lab_sums
from geossda.harmonization.reading import RasterReading, Reading, sample_colors
from geossda.harmonization.statistic import BandStatistic, RangeChange, Statistic, rounded
from geossda.harmonization.style_checks import numbers, require

# Shares of a band's pixels at which quantiles are kept: enough for 16-bit histograms; a style
# file stays under 100 kB per band.
SHARES = np.linspace(0, 1, 1025)
MAX_SAMPLE = 65536
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quantiles(BandStatistic):
    """Values at equal shares of each band's pixels, (bands, 1025)."""

    name: ClassVar[str] = "quantiles"
    label: ClassVar[str] = "quantiles"

    @classmethod
    def measure(cls, reading: Reading) -> Self:
        """Return the quantiles of an image's histograms."""
        return cls(reading.histograms.quantiles(SHARES))

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self:
        """Return the quantiles of all values together."""
        weights = np.repeat(shares, len(SHARES))
        quantiles = np.empty_like(each[0].values)
        for band in range(len(quantiles)):
            values = np.concatenate([one.values[band] for one in each])
            order = np.argsort(values, kind="stable")
            ranks = np.cumsum(weights[order]) - weights[order] / 2
            quantiles[band] = np.interp(SHARES, ranks / weights.sum(), values[order])
        return cls(quantiles)

    def carried(self, change: RangeChange) -> Self:
        """Return the quantiles in another range."""
        return type(self)(change.values(self.values))

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self:
        """Return the quantiles of a file, which must not fall."""
        values = numbers(entries, cls.name, (bands, len(SHARES)))
        require((np.diff(values, axis=1) >= 0).all(), "quantiles fall")
        return cls(values)


@dataclass(frozen=True)
class Moments(Statistic):
    """Mean and standard deviation of each band, (bands,) each."""

    name: ClassVar[str] = "moments"
    label: ClassVar[str] = "means and standard deviations"

    mean: Floats
    std: Floats

    @classmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Return the moments of an image's histograms."""
        return cls(reading.histograms.mean(), reading.histograms.std())

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self:
        """Return the moments of all pixels together."""
        return cls(*pool_moments(shares, [one.mean for one in each], [one.std for one in each]))

    def carried(self, change: RangeChange) -> Self:
        """Return the moments in another range."""
        return type(self)(change.values(self.mean), self.std * change.factor)

    def entries(self) -> dict[str, Any]:
        """Return mean and standard deviation."""
        return dict(zip(self.no_entries(), map(rounded, (self.mean, self.std)), strict=True))

    @classmethod
    def no_entries(cls) -> dict[str, Any]:
        """Return the entries of a style without moments."""
        return {"mean": None, "std": None}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the moments of a file."""
        return cls(numbers(entries, "mean", (bands,)), numbers(entries, "std", (bands,), low=0))


@dataclass(frozen=True)
class Lab(Moments):
    """Moments in CIE L*a*b* of bands 1 to 3, taken as red, green and blue, (3,) each."""

    name: ClassVar[str] = "lab"
    label: ClassVar[str] = "moments in L*a*b*"
    # Images of one or two bands have none.
    required: ClassVar[bool] = False

    @classmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Return the moments of windows of an image; None with fewer than three bands."""
        if reading.bands < 3:
            return None
        limits = reading.working_range
        return cls(*lab_moments(reading.reduce(lambda p, v: lab_sums(p, v, limits), np.add)))

    def carried(self, change: RangeChange) -> Self:
        """Return the same, since L*a*b* is measured after scaling to 0..1."""
        return self

    @classmethod
    def no_entries(cls) -> dict[str, Any]:
        """Return the entries of a style without L*a*b*."""
        return {"lab_mean": None, "lab_std": None}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the moments of a file, which come together or not at all."""
        missing = [entries.get(name) is None for name in cls.no_entries()]
        if all(missing):
            return None
        require(not any(missing), "lab_mean and lab_std do not come together")
        return cls(numbers(entries, "lab_mean", (3,)), numbers(entries, "lab_std", (3,), low=0))


@dataclass(frozen=True)
class Pixels(Statistic):
    """Number of valid pixels measured."""

    name: ClassVar[str] = "pixels"
    label: ClassVar[str] = "number of pixels"

    count: int

    @classmethod
    def measure(cls, reading: Reading) -> Self:
        """Return the number of pixels in an image's histograms."""
        return cls(reading.histograms.pixels)

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self:
        """Return the sum."""
        return cls(sum(one.count for one in each))

    def entries(self) -> dict[str, Any]:
        """Return the number."""
        return {self.name: self.count}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self:
        """Return the number of a file, above 0."""
        count = entries[cls.name]
        whole = isinstance(count, int) and not isinstance(count, bool) and 1 <= count < 2**63
        require(whole, "pixels is not a whole number above 0")
        return cls(count)


@dataclass(frozen=True)
class Colors(Statistic):
    """What each band shows as the reference declares it: ``"red"``, ``"nir"``, None, ..."""

    name: ClassVar[str] = "colors"
    label: ClassVar[str] = "names of the bands' colors"

    names: Sequence[str | None]

    @classmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Return what an image declares."""
        return cls(reading.colors) if reading.colors else None

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self | None:
        """Return the colors if all images have the same."""
        first = each[0]
        return first if all(list(one.names) == list(first.names) for one in each) else None

    def entries(self) -> dict[str, Any]:
        """Return the names."""
        return {self.name: list(self.names)}

    @classmethod
    def no_entries(cls) -> dict[str, Any]:
        """Return the entry of a style whose bands' colors are not known."""
        return {cls.name: []}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the colors of a file."""
        names = entries.get(cls.name, [])
        each = isinstance(names, list) and len(names) in (0, bands)
        require(each, "colors is not a list of one entry for each band")
        texts = all(color is None or isinstance(color, str) for color in names)
        require(texts, "colors are not texts")
        return cls(names) if names else None


@dataclass(frozen=True)
class Sample(BandStatistic):
    """Colors of pixels spread over the image, (bands, pixels)."""

    name: ClassVar[str] = "sample"
    label: ClassVar[str] = "sample of pixels"

    @classmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Return the colors of a raster's pixels."""
        if not isinstance(reading, RasterReading):
            return None
        return cls(sample_colors(reading.mosaic, progress=reading.progress))

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self:
        """Return of each image as many pixels as its share is, spread over its own."""
        size = max(one.values.shape[1] for one in each)
        counts = np.maximum(np.rint(shares * size), shares > 0).astype(int)
        spread = [
            one.values[:, np.linspace(0, one.values.shape[1] - 1, count).astype(int)]
            for one, count in zip(each, counts, strict=True)
        ]
        return cls(np.concatenate(spread, axis=1))

    def carried(self, change: RangeChange) -> Self:
        """Return the colors in another range."""
        return type(self)(change.values(self.values))

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the colors of a file."""
        if entries.get(cls.name) is None:
            return None
        values = numbers(entries, cls.name, (bands, None))
        enough = 1 <= values.shape[1] <= MAX_SAMPLE
        require(enough, f"sample does not have 1 to {MAX_SAMPLE} pixels")
        return cls(values)


# What every style has.
COMMON: tuple[type[Statistic], ...] = (Quantiles, Moments, Pixels, Colors)


def pool_moments(
    shares: Floats, means: Sequence[Floats], stds: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Pool means and standard deviations.

    Parameters
    ----------
    shares : (images,) array
        Sum to 1.
    means, stds : sequences of (n,) arrays
        One an image.
    """
    mean = shares @ np.stack(means)
    square = shares @ (np.stack(stds) ** 2 + np.stack(means) ** 2)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))

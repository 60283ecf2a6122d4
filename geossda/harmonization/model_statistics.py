"""What style models need of a style: the covariance of its bands and the features they measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

import numpy as np

from geossda.config import Structure
from geossda.harmonization.reading import RasterReading, Reading
from geossda.harmonization.reference_statistics import Floats, pool_moments
from geossda.harmonization.statistic import RangeChange, Statistic
from geossda.harmonization.style_checks import numbers, require


@dataclass(frozen=True)
class Covariance(Statistic):
    """Mean (bands,) and covariance (bands, bands) of the pixels, as style models need them."""

    name: ClassVar[str] = "covariance"
    label: ClassVar[str] = "covariance of the bands"

    mean: Floats
    matrix: Floats

    @classmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Return the covariance of a raster that a style model measures."""
        if _model_of(reading) is None or not isinstance(reading, RasterReading):
            return None
        low, high = reading.working_range
        return cls(reading.histograms.mean(), reading.covariance[1] * (high - low) ** 2)

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self:
        """Return the covariance within the images, and that of their means."""
        mean = shares @ np.stack([one.mean for one in each])
        total = np.zeros((len(mean), len(mean)))
        for share, one in zip(shares, each, strict=True):
            total += share * (one.matrix + np.outer(one.mean - mean, one.mean - mean))
        return cls(mean, total)

    def carried(self, change: RangeChange) -> Self:
        """Return the covariance in another range."""
        return type(self)(change.values(self.mean), self.matrix * change.factor**2)

    def entries(self) -> dict[str, Any]:
        """Return the matrix; variances of reflectances are small numbers: all digits are kept."""
        return {self.name: self.matrix.tolist()}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the covariance of a file, which must be symmetric; the mean is the bands'."""
        if entries.get(cls.name) is None:
            return None
        matrix = numbers(entries, cls.name, (bands, bands))
        variances = matrix.diagonal()
        require((variances >= 0).all(), "covariance has negative variances")
        symmetric = np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-9 * variances.max())
        require(symmetric, "covariance is not symmetric")
        return cls(numbers(entries, "mean", (bands,)), matrix)


@dataclass(frozen=True)
class Features(Statistic):
    """Features that style models measure.

    Attributes
    ----------
    models : dict
        By the hash of a style model's weights, then by structure: one list of levels per group of
        bands, each level its means and its standard deviations.
    """

    name: ClassVar[str] = "features"
    label: ClassVar[str] = "features of a style model"

    models: dict[str, dict[str, Any]]

    @classmethod
    def measure(cls, reading: Reading) -> Self | None:
        """Return the features of a raster; None without a model, or if it is too small."""
        model = _model_of(reading)
        if model is None or not isinstance(reading, RasterReading):
            return None
        # Imported here, since the classical methods do without.
        from geossda.harmonization.style_features import (
            features_of,
            measure_features,
            read_patches,
        )

        mosaic, limits, progress = reading.mosaic, reading.working_range, reading.progress
        model = model.for_reference(mosaic.sources[0].path, mosaic.dtype)
        measured = {}
        for structure in reading.structures:
            patches = read_patches(mosaic, structure, limits, progress=progress)
            measured[structure] = measure_features(reading.covariance, patches, model, structure)
        if not all(one.groups for one in measured.values()):
            return None
        return cls({model.key: {each: features_of(one) for each, one in measured.items()}})

    @classmethod
    def pool(cls, each: Sequence[Self], shares: Floats) -> Self | None:
        """Return the features of those models that measured all images."""
        pooled: dict[str, dict[str, Any]] = {}
        for model, structures in each[0].models.items():
            if all(model in one.models for one in each):
                pooled[model] = {
                    structure: _pool_groups([one.models[model][structure] for one in each], shares)
                    for structure in structures
                    if all(structure in one.models[model] for one in each)
                }
        return cls(pooled) if pooled else None

    def entries(self) -> dict[str, Any]:
        """Return the features."""
        return {self.name: self.models}

    @classmethod
    def no_entries(cls) -> dict[str, Any]:
        """Return the entry of a style without features."""
        return {cls.name: {}}

    @classmethod
    def read(cls, entries: Mapping[str, Any], bands: int) -> Self | None:
        """Return the features of a file, which are lists of means and deviations."""
        models = entries.get(cls.name, {})
        require(isinstance(models, dict), "features is not an object")
        for structures in models.values():
            known = isinstance(structures, dict) and set(structures) <= set(get_args(Structure))
            require(known, "features are of unknown structures")
            for groups in structures.values():
                for level in (level for group in _lists(groups) for level in _lists(group)):
                    require(len(_lists(level)) == 2, "features have levels that are not two lists")
                    means = numbers({"features": level[0]}, "features", (None,))
                    numbers({"features": level[1]}, "features", (len(means),), low=0)
        return cls(models) if models else None


def _model_of(reading: Reading) -> Any:
    """Return the style model of a reading, if it takes no more bands than there are."""
    model = reading.model if isinstance(reading, RasterReading) else None
    return model if model is not None and model.card.bands <= reading.bands else None


def _pool_groups(each: Sequence[Any], shares: Floats) -> list[list[list[list[float]]]]:
    """Pool the features of one model and structure: groups of levels of (mean, std)."""
    pooled = []
    for groups in zip(*each, strict=False):
        levels = []
        for level in zip(*groups, strict=False):
            means, stds = ([np.array(moments[part]) for moments in level] for part in (0, 1))
            levels.append([part.tolist() for part in pool_moments(shares, means, stds)])
        pooled.append(levels)
    return pooled


def _lists(entries: Any) -> list[Any]:
    require(isinstance(entries, list) and len(entries) > 0, "features are not lists in lists")
    return list(entries)

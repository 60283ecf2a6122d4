"""Scores of style transfer methods: style distance, structure, cycle consistency, truth."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geossda.color.similarity import color_distance, gradient_correlation, psnr, ssim
from geossda.config import ColorMethod, Structure
from geossda.evaluation.samples import Sample
from geossda.harmonization.map_methods import SampledMap
from geossda.harmonization.measure import SourceStatistics
from geossda.harmonization.methods import pixel_method
from geossda.harmonization.reading import SAMPLE_COLORS
from geossda.harmonization.reference_statistics import COMMON
from geossda.harmonization.ssda import LIMIT, ContrastLimit, Transfer, measure_look
from geossda.harmonization.statistic import measure_all
from geossda.harmonization.style import Style
from geossda.models.style_arrays import ImageStyle
from geossda.progress import SILENT, Progress
from geossda.raster.histograms import Histograms
from geossda.runtime.style_network import StyleModel

RANGE = (0.0, 255.0)
Pixels = NDArray[np.uint8]
T = TypeVar("T")
# Returns the pixels of a source in the style of a reference.
Method = Callable[[Sample, Sample], Pixels]


@dataclass(frozen=True)
class StyleScores:
    """Scores of one method: means over all ordered pairs of images.

    Attributes
    ----------
    method : str
    distance : float
        Wasserstein-1 distance of result and reference in 8-bit digital numbers, mean over bands.
    fall : float
        Reduction of that distance relative to the unchanged source.
    structure : float
        Gradient correlation of result and source.
    worst_structure : float
        The lowest of these over the pairs.
    cycle : float
        Mean absolute difference to the source after translation to the reference and back.
    reconstruction : float
        PSNR in decibels of an image in its own style, the lowest of all images.
    psnr, ssim : float or None
        PSNR in decibels and SSIM of result and reference, if both show the same ground.
    """

    method: str
    distance: float
    fall: float
    structure: float
    worst_structure: float
    cycle: float
    reconstruction: float
    psnr: float | None = None
    ssim: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the scores by name."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class SampleReading:
    """The pixels of a sample, to measure style statistics on."""

    sample: Sample
    colors: tuple[str | None, ...] = ()
    working_range: tuple[float, float] = RANGE

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.sample.pixels[0])

    @cached_property
    def histograms(self) -> Histograms:
        """Histograms of all pixels, one a band."""
        counts = [np.bincount(band.ravel(), minlength=256) for band in self._row]
        return Histograms(0.0, 1.0, np.stack(counts))

    @property
    def _row(self) -> Pixels:
        """All pixels in one column, (bands, pixels, 1)."""
        return self.sample.pixels.transpose(1, 0, 2, 3).reshape(self.bands, -1, 1)

    def reduce(
        self,
        measure: Callable[[NDArray[Any], NDArray[np.bool_]], T],
        merge: Callable[[T, T], T],
    ) -> T:
        """Measure all pixels at once."""
        row = self._row
        return measure(row, np.ones(row.shape[1:], bool))


def classical(method: ColorMethod) -> Method:
    """Return one of the pixelwise methods of `harmonize` for samples."""

    def apply(source: Sample, reference: Sample) -> Pixels:
        own, other = SampleReading(source), SampleReading(reference)
        fitted = pixel_method(method)
        style = Style(reference.name, "uint8", RANGE, measure_all(other, [*COMMON, *fitted.needs]))
        statistics = SourceStatistics(
            own.histograms, np.dtype(np.uint8), RANGE, measure_all(own, fitted.needs)
        )
        transform = fitted.fit(statistics, style, 1.0)
        return np.stack([transform(patch) for patch in source.pixels])

    return apply


def identity(source: Sample, reference: Sample) -> Pixels:
    """Return the source unchanged.

    Parameters
    ----------
    source, reference : Sample
        The reference is not used.
    """
    return source.pixels


def by_colors(method: SampledMap) -> Method:
    """Return a method that maps colors by samples of both images' colors, for samples.

    Parameters
    ----------
    method : SampledMap
    """

    def apply(source: Sample, reference: Sample) -> Pixels:
        color_map = method.color_map(**vars(method.fit(_colors(source), _colors(reference))))
        return np.stack([_bytes(color_map(patch)) for patch in source.scaled])

    return apply


def learned(model: StyleModel, structure: Structure, limit: float = LIMIT) -> Method:
    """Return SS(DA)² with a style model and a structure for samples.

    Parameters
    ----------
    model : StyleModel
    structure : Structure
        How the structure of the source is kept; see `HarmonizeConfig`.
    limit : float
        See :meth:`geossda.runtime.style_network.StyleModel.translate`.
    """
    # By the sample's id and what it is measured for, with the sample itself, so that the id stays
    # its own.
    styles: dict[tuple[int, str], tuple[ImageStyle, Sample]] = {}

    def style(sample: Sample, measuring: StyleModel) -> ImageStyle:
        key = (id(sample), measuring.role)
        if key not in styles:
            valid = np.ones((len(sample.pixels), *sample.pixels.shape[2:]), bool)
            measured = measure_look(measuring, sample.scaled, valid, _pixels(sample), structure)
            styles[key] = (measured, sample)
        return styles[key][0]

    def apply(source: Sample, reference: Sample) -> Pixels:
        other = style(reference, model.for_reference(reference.name, np.uint8))
        own = style(source, model.towards(other, np.uint8))
        transfer = Transfer(model, own, other, structure, limit)
        valid = np.ones(source.pixels.shape[2:], bool)
        translated = [transfer(patch, valid) for patch in source.scaled]
        bands = len(translated[0])
        contrast = ContrastLimit.of(np.stack(translated, axis=1).reshape(bands, -1))
        return np.stack([_bytes(contrast(patch)) for patch in translated])

    return apply


def score(
    samples: Sequence[Sample],
    methods: dict[str, Method],
    *,
    truth: bool = False,
    progress: Progress = SILENT,
) -> list[StyleScores]:
    """Compute the scores of methods over all ordered pairs of samples.

    Parameters
    ----------
    samples : sequence of Sample
    methods : dict
        Methods by name.
    truth : bool
        Whether all samples show the same ground, so that results can be compared with the
        references pixel by pixel.
    progress : Progress
        Advanced by one per pair and method.

    Returns
    -------
    list of StyleScores
        One per method.
    """
    pairs = list(itertools.permutations(samples, 2))
    before = float(np.mean([color_distance(a.pixels, b.pixels) for a, b in pairs]))
    progress.stage("comparing styles", len(methods) * len(pairs))
    scores = []
    for name, method in methods.items():
        rows = []
        for source, reference in pairs:
            result = method(source, reference)
            back = method(Sample(source.name, result), source)
            rows.append(
                (
                    color_distance(result, reference.pixels),
                    gradient_correlation(source.pixels, result),
                    np.abs(back.astype(np.int16) - source.pixels).mean(),
                    psnr(result, reference.pixels) if truth else np.nan,
                    ssim(result, reference.pixels) if truth else np.nan,
                )
            )
            progress.advance()
        distance, structure, cycle, mean_psnr, mean_ssim = np.mean(rows, axis=0)
        reconstructions = [psnr(method(sample, sample), sample.pixels) for sample in samples]
        scores.append(
            StyleScores(
                name,
                float(distance),
                float((before - distance) / before),
                float(structure),
                float(min(row[1] for row in rows)),
                float(cycle),
                min(reconstructions),
                float(mean_psnr) if truth else None,
                float(mean_ssim) if truth else None,
            )
        )
    return scores


def _pixels(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of the bands."""
    bands = sample.pixels.shape[1]
    flat = sample.scaled.transpose(1, 0, 2, 3).reshape(bands, -1).astype(np.float64)
    return flat.mean(1), np.atleast_2d(np.cov(flat)) + 1e-6 * np.eye(bands)


def _colors(sample: Sample) -> NDArray[np.float64]:
    """Return colors of pixels spread over all patches, (bands, n) in 0..1."""
    flat = sample.scaled.transpose(1, 0, 2, 3).reshape(sample.pixels.shape[1], -1)
    spread = np.linspace(0, flat.shape[1] - 1, min(SAMPLE_COLORS, flat.shape[1])).astype(int)
    return flat[:, spread].astype(np.float64)


def _bytes(image: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(image * 255), 0, 255), np.uint8)

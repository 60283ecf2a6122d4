"""How well methods bring one image's look to another: distance, structure, cycle, truth."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.color.lab import lab_moments, lab_sums
from geossda.color.similarity import color_distance, gradient_correlation, psnr, ssim
from geossda.color.style import SHARES, Style
from geossda.color.value_curves import SourceStatistics
from geossda.config import ColorMethod, Structure
from geossda.evaluation.samples import Sample
from geossda.harmonization.methods import pixel_method
from geossda.harmonization.ssda import ContrastLimit, Transfer, measure_look
from geossda.models.style_model import StyleModel
from geossda.progress import SILENT, Progress
from geossda.raster.statistics import Histograms

RANGE = (0.0, 255.0)
Pixels = NDArray[np.uint8]
# Makes, of a source and a reference, the source with the reference's look.
Method = Callable[[Sample, Sample], Pixels]


@dataclass(frozen=True)
class StyleScores:
    """How one method does, as means over all ordered pairs of images.

    Attributes
    ----------
    method : str
    distance : float
        Wasserstein-1 between the result and the reference, mean over bands, in 8-bit numbers.
    fall : float
        By how much that is less than without doing anything, as a share.
    structure : float
        Gradient correlation of result and source; `worst_structure` over the pairs.
    worst_structure : float
    cycle : float
        Mean absolute difference to the source after going to the reference's look and back.
    reconstruction : float
        PSNR in decibels of an image given its own look, the lowest of all images.
    psnr, ssim : float or None
        Of the result against the reference itself, where both show the same ground.
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
        """Give the figures by name."""
        return dataclasses.asdict(self)


def classical(method: ColorMethod) -> Method:
    """Make one of the colour methods of `harmonize` work on samples."""

    def apply(source: Sample, reference: Sample) -> Pixels:
        found = _source(source)
        of = _source(reference)
        look = Style(
            reference.name,
            "uint8",
            RANGE,
            of.histograms.quantiles(SHARES),
            of.histograms.mean(),
            of.histograms.std(),
            of.lab_mean,
            of.lab_std,
            of.histograms.pixels,
        )
        transform = pixel_method(method).fit(found, look, 1.0)
        return np.stack([transform(patch) for patch in source.pixels])

    return apply


def identity(source: Sample, reference: Sample) -> Pixels:
    """Do nothing."""
    return source.pixels


def learned(model: StyleModel, structure: Structure) -> Method:
    """Make a style model work on samples."""
    looks: dict[int, Any] = {}

    def look(sample: Sample) -> Any:
        valid = np.ones((len(sample.pixels), *sample.pixels.shape[2:]), bool)
        return measure_look(model, sample.scaled, valid, _pixels(sample), structure)

    def apply(source: Sample, reference: Sample) -> Pixels:
        for sample in (source, reference):
            if id(sample) not in looks:
                looks[id(sample)] = (look(sample), sample)  # kept alive, so that its id stays its
        transfer = Transfer(model, looks[id(source)][0], looks[id(reference)][0], structure)
        valid = np.ones(source.pixels.shape[2:], bool)
        made = [transfer(patch, valid) for patch in source.scaled]
        headroom = ContrastLimit.of(np.stack(made, axis=1).reshape(made[0].shape[0], -1))
        return np.stack([_bytes(headroom(patch)) for patch in made])

    return apply


def score(
    samples: Sequence[Sample],
    methods: dict[str, Method],
    *,
    truth: bool = False,
    progress: Progress = SILENT,
) -> list[StyleScores]:
    """Try methods on all ordered pairs of samples.

    Parameters
    ----------
    samples : sequence of Sample
    methods : dict
        By name.
    truth : bool
        Whether all samples show the same ground, so that results can be compared with the
        references pixel by pixel.
    progress : Progress
        Advanced by one a pair and method.
    """
    pairs = list(itertools.permutations(samples, 2))
    before = float(np.mean([color_distance(a.pixels, b.pixels) for a, b in pairs]))
    progress.stage("comparing styles", len(methods) * len(pairs))
    scores = []
    for name, method in methods.items():
        rows = []
        for source, reference in pairs:
            made = method(source, reference)
            back = method(Sample(source.name, made), source)
            rows.append(
                (
                    color_distance(made, reference.pixels),
                    gradient_correlation(source.pixels, made),
                    np.abs(back.astype(np.int16) - source.pixels).mean(),
                    psnr(made, reference.pixels) if truth else np.nan,
                    ssim(made, reference.pixels) if truth else np.nan,
                )
            )
            progress.advance()
        distance, structure, cycle, against, alike = np.mean(rows, axis=0)
        again = [psnr(method(sample, sample), sample.pixels) for sample in samples]
        scores.append(
            StyleScores(
                name,
                float(distance),
                float((before - distance) / before),
                float(structure),
                float(min(row[1] for row in rows)),
                float(cycle),
                min(again),
                float(against) if truth else None,
                float(alike) if truth else None,
            )
        )
    return scores


def _source(sample: Sample) -> SourceStatistics:
    pixels = sample.pixels.transpose(1, 0, 2, 3).reshape(sample.pixels.shape[1], -1, 1)
    counts = np.stack([np.bincount(band.ravel(), minlength=256) for band in pixels])
    mean = std = None
    if len(pixels) >= 3:
        sums = lab_sums(pixels, np.ones(pixels.shape[1:], bool), RANGE)
        mean, std = lab_moments(sums)
    return SourceStatistics(Histograms(0.0, 1.0, counts), np.dtype(np.uint8), RANGE, mean, std)


def _pixels(sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give mean and covariance."""
    bands = sample.pixels.shape[1]
    flat = sample.scaled.transpose(1, 0, 2, 3).reshape(bands, -1).astype(np.float64)
    return flat.mean(1), np.atleast_2d(np.cov(flat)) + 1e-6 * np.eye(bands)


def _bytes(image: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(image * 255), 0, 255), np.uint8)

"""Adaptation by style transfer: patches are given the looks of other imagery."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.config import Structure
from geossda.data.patches import WorkingRaster, chances, cut
from geossda.errors import EmptyRasterError
from geossda.harmonization.ssda import Transfer, measure_look
from geossda.models.style_model import StyleModel
from geossda.models.style_statistics import Gaussian, StyleStatistics, merged
from geossda.progress import SILENT, Progress

# Patches of a raster that its look is pooled from.
POOLED = 48
# Contrast is raised by no more than this: flat ground blown up is noise.
HIGHEST_GAIN = 1.5
SCALE = (0.67, 1.5)
TRIES = 20

Bytes = NDArray[np.uint8]


def measure_looks(
    model: StyleModel,
    rasters: Sequence[WorkingRaster],
    side: int,
    structure: Structure,
    seed: int,
    *,
    progress: Progress = SILENT,
) -> list[StyleStatistics]:
    """Measure the look of each raster, over random patches.

    Parameters
    ----------
    model : StyleModel
        Frozen, in evaluation mode.
    rasters : sequence of WorkingRaster
    side : int
        Of the patches, in pixels; a multiple of 32.
    structure : {"lock", "full"}
    seed : int
    progress : Progress
        Advanced by one a raster.
    """
    rng = np.random.default_rng([seed, POOLED])
    progress.stage("measuring looks", len(rasters))
    looks = []
    for raster in rasters:
        patches = [_patch(raster, side, rng) for _ in range(POOLED)]
        looks.append(merged([_look(model, *patch, structure) for patch in patches]))
        progress.advance()
    return looks


@dataclass(frozen=True)
class StyleTransfer:
    """SS(DA)²: translation from the look of a patch's own raster to that of another.

    The look of one patch says more about what stands there than about how it was acquired: roofs in
    the look of a meadow turn green, and so do they in that of the patches most alike where
    none is alike. What a whole raster has in common is how it was acquired (docs/decisions/0007).

    Attributes
    ----------
    model : StyleModel
        Frozen, in evaluation mode.
    structure : {"lock", "full"}
    own, other : sequences of Look
        Of the rasters that patches come from, and those that are given.
    chance : array
        How often each of the latter is drawn.
    """

    model: StyleModel
    structure: Structure
    own: Sequence[StyleStatistics]
    other: Sequence[StyleStatistics]
    chance: NDArray[np.float64]

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Give a patch the look of another raster."""
        own = self.own[raster]
        other = self.other[int(rng.choice(len(self.other), p=self.chance))]
        return _translated(
            Transfer(self.model, own, _restrained(own, other), self.structure), image, valid
        )


def style_transfers(
    model: StyleModel,
    looks: Sequence[StyleStatistics],
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    structure: Structure,
) -> tuple[StyleTransfer, StyleTransfer]:
    """Make what gives labelled patches looks of targets, and target patches looks of any raster.

    Parameters
    ----------
    model : StyleModel
    looks : sequence of StyleStatistics
        Of `sources`, then `targets`.
    sources, targets : sequences of WorkingRaster
    structure : {"lock", "full"}
    """
    first, second = looks[: len(sources)], looks[len(sources) :]
    return (
        StyleTransfer(model, structure, first, second, chances(targets)),
        StyleTransfer(model, structure, second, looks, chances([*sources, *targets])),
    )


@dataclass(frozen=True)
class DomainTransfer:
    """DAug: translation from the declared domain of a raster to that of another.

    Attributes
    ----------
    model : StyleModel
        Of preset ``daug``.
    own, other : sequences of str
        Domains of the rasters that patches come from, and of those whose looks are given.
    chance : array
        How often each of the latter is drawn.
    """

    model: StyleModel
    own: Sequence[str]
    other: Sequence[str]
    chance: NDArray[np.float64]

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Give a patch the look of another domain."""
        name = self.other[int(rng.choice(len(self.other), p=self.chance))]
        looks = [self.model.domain_look(domain) for domain in (self.own[raster], name)]
        return _translated(Transfer(self.model, looks[0], looks[1], "full"), image, valid)


def domain_transfers(
    model: StyleModel, sources: Sequence[WorkingRaster], targets: Sequence[WorkingRaster]
) -> tuple[DomainTransfer, DomainTransfer]:
    """Make what :func:`style_transfers` makes, with declared domains: the rasters' folders.

    Raises
    ------
    StyleError
        A raster lies in a folder that is no domain of the model.
    """
    first, second = ([raster.folder.name for raster in rasters] for rasters in (sources, targets))
    for name in (*first, *second):
        model.domain_look(name)
    every = chances([*sources, *targets])
    return (
        DomainTransfer(model, first, second, chances(targets)),
        DomainTransfer(model, second, [*first, *second], every),
    )


def _translated(transfer: Transfer, image: Bytes, valid: NDArray[np.bool_]) -> Bytes:
    made = transfer(np.asarray(image / np.float32(255), np.float32), valid)
    return np.asarray(np.clip(np.rint(made * 255), 0, 255), np.uint8)


def _patch(raster: WorkingRaster, side: int, rng: Generator) -> tuple[Bytes, NDArray[np.bool_]]:
    for _ in range(TRIES):
        read = cut(raster, side, rng, SCALE)
        valid = read[-1] > 0
        if valid.mean() > 0.5:
            return read[:-2], valid
    raise EmptyRasterError(
        f"{raster.mosaic.name}: {TRIES} patches of {side} px in a row were mostly nodata"
    )


def _look(
    model: StyleModel, image: Bytes, valid: NDArray[np.bool_], structure: Structure
) -> StyleStatistics:
    scaled = np.asarray(image / np.float32(255), np.float32)
    known = scaled[:, valid].astype(np.float64)
    pixels = known.mean(1), np.atleast_2d(np.cov(known)) + 1e-6 * np.eye(len(image))
    return measure_look(model, scaled[None], valid[None], pixels, structure)


def _restrained(own: StyleStatistics, other: StyleStatistics) -> StyleStatistics:
    """Lower the contrast of a look that would blow up the own one's too much."""
    total = [float(look.pixels.covariance[0].trace()) for look in (own, other)]
    gain = np.sqrt(total[1] / total[0])
    if gain <= HIGHEST_GAIN:
        return other
    covariance = other.pixels.covariance * (HIGHEST_GAIN / gain) ** 2
    return StyleStatistics(Gaussian(other.pixels.mean, covariance), other.groups)

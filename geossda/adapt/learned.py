"""Adaptation by style transfer: patches are given the looks of other imagery."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.config import Structure
from geossda.data.patches import WorkingRaster, chances, cut
from geossda.errors import EmptyRasterError
from geossda.inference.transfer import Transfer, measure_look
from geossda.models.moments import Gaussian, Look, merged
from geossda.models.style_model import StyleModel
from geossda.progress import SILENT, Progress

# Patches of a raster that looks are pooled from, and how many of those make one look.
BANK = 48
POOLED = (2, 4, 8)
# Contrast is raised by no more than this: flat ground blown up is noise.
HIGHEST_GAIN = 1.5
# How much of the way to another look patches are taken. All of it puts a veil over towns where the
# other raster has none, and half of it teaches models of sparse places too little (decision 0007).
STRENGTH = 0.75
SCALE = (0.67, 1.5)
TRIES = 20

Bytes = NDArray[np.uint8]
# Says what stands in a (bands, side, side) patch, whatever its colours: a vector.
Describe = Callable[[Bytes], NDArray[np.float32]]


@dataclass(frozen=True)
class Bank:
    """Looks of a raster's patches, found by what stands in them.

    Attributes
    ----------
    looks : list of Look
    contents : (patches, features) float32 array
        Of unit length.
    """

    looks: list[Look]
    contents: NDArray[np.float32]

    def nearest(self, content: NDArray[np.float32], count: int) -> list[Look]:
        """Give the looks of the patches most alike in content."""
        order = np.argsort(-(self.contents @ content), kind="stable")
        return [self.looks[index] for index in order[:count]]


@dataclass(frozen=True)
class Banks:
    """What is measured of all rasters before training.

    Attributes
    ----------
    model : StyleModel
        Frozen, in evaluation mode.
    structure : {"lock", "full"}
    describe : callable
    middle : (features,) float32 array
        Mean description of all patches; what differs from it is content.
    rasters : list of Bank
        Of labelled rasters, then of target rasters.
    """

    model: StyleModel
    structure: Structure
    describe: Describe
    middle: NDArray[np.float32]
    rasters: list[Bank]

    @classmethod
    def measure(
        cls,
        model: StyleModel,
        describe: Describe,
        rasters: Sequence[WorkingRaster],
        side: int,
        structure: Structure,
        seed: int,
        *,
        progress: Progress = SILENT,
    ) -> "Banks":
        """Measure looks and contents of random patches.

        Parameters
        ----------
        model : StyleModel
        describe : callable
        rasters : sequence of WorkingRaster
        side : int
            Of the patches, in pixels; a multiple of 32.
        structure : {"lock", "full"}
        seed : int
        progress : Progress
            Advanced by one a raster.
        """
        rng = np.random.default_rng([seed, BANK])
        progress.stage("measuring looks", len(rasters))
        looks, contents = [], []
        for raster in rasters:
            patches = [_patch(raster, side, rng) for _ in range(BANK)]
            looks.append([_look(model, *patch, structure) for patch in patches])
            contents.append(np.stack([describe(image) for image, _ in patches]))
            progress.advance()
        middle = np.concatenate(contents).mean(0)
        banks = [
            Bank(some, _unit(content - middle))
            for some, content in zip(looks, contents, strict=True)
        ]
        return cls(model, structure, describe, middle, banks)

    def content(self, image: Bytes) -> NDArray[np.float32]:
        """Describe what stands in a patch, as a vector of unit length."""
        return _unit(self.describe(image) - self.middle)


@dataclass(frozen=True)
class StyleTransfer:
    """SS(DA)²: translation to the look of patches of other rasters, like with like.

    The look of one patch says more about what stands there than about how it was acquired: roofs in
    the look of a meadow turn green. So a reference is pooled over those patches of one raster
    that are most alike in content, and the source's own look over such patches of its own raster
    (docs/decisions/0007).

    Attributes
    ----------
    banks : Banks
    own, other : sequences of int
        Which banks belong to the rasters that patches come from, and to those whose looks are
        given.
    chance : array
        How often each of the latter is drawn.
    """

    banks: Banks
    own: Sequence[int]
    other: Sequence[int]
    chance: NDArray[np.float64]

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Give a patch the look of another raster."""
        banks = self.banks
        reference = banks.rasters[self.other[int(rng.choice(len(self.other), p=self.chance))]]
        count = int(rng.choice(POOLED))
        content = banks.content(image)
        other = merged(reference.nearest(content, count))
        mine = banks.rasters[self.own[raster]].nearest(content, count - 1)
        own = merged([*mine, _look(banks.model, image, valid, banks.structure)])
        scaled = np.asarray(image / np.float32(255), np.float32)
        made = Transfer(banks.model, own, _restrained(own, other), banks.structure)(scaled, valid)
        made = scaled + STRENGTH * (made - scaled)
        return np.asarray(np.clip(np.rint(made * 255), 0, 255), np.uint8)


def style_transfers(
    banks: Banks, sources: Sequence[WorkingRaster], targets: Sequence[WorkingRaster]
) -> tuple[StyleTransfer, StyleTransfer]:
    """Make what gives labelled patches looks of targets, and target patches looks of any raster.

    Parameters
    ----------
    banks : Banks
        Of `sources`, then `targets`.
    sources, targets : sequences of WorkingRaster
    """
    first = list(range(len(sources)))
    second = list(range(len(sources), len(sources) + len(targets)))
    every = chances([*sources, *targets])
    return (
        StyleTransfer(banks, first, second, chances(targets)),
        StyleTransfer(banks, second, [*first, *second], every),
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
        scaled = np.asarray(image / np.float32(255), np.float32)
        made = Transfer(self.model, looks[0], looks[1], "full")(scaled, valid)
        return np.asarray(np.clip(np.rint(made * 255), 0, 255), np.uint8)


def domain_transfers(
    model: StyleModel, sources: Sequence[WorkingRaster], targets: Sequence[WorkingRaster]
) -> tuple[DomainTransfer, DomainTransfer]:
    """Make what :func:`style_transfers` makes, with declared domains: the rasters' folders.

    Raises
    ------
    StyleError
        A raster lies in a folder that is no domain of the model.
    """
    first, second = (
        [Path(raster.mosaic.sources[0].path).resolve().parent.name for raster in rasters]
        for rasters in (sources, targets)
    )
    for name in (*first, *second):
        model.domain_look(name)
    every = chances([*sources, *targets])
    return (
        DomainTransfer(model, first, second, chances(targets)),
        DomainTransfer(model, second, [*first, *second], every),
    )


def _patch(raster: WorkingRaster, side: int, rng: Generator) -> tuple[Bytes, NDArray[np.bool_]]:
    for _ in range(TRIES):
        read = cut(raster, side, rng, SCALE)
        valid = read[-1] > 0
        if valid.mean() > 0.5:
            return read[:-2], valid
    raise EmptyRasterError(
        f"{raster.mosaic.name}: {TRIES} patches of {side} px in a row were mostly nodata"
    )


def _look(model: StyleModel, image: Bytes, valid: NDArray[np.bool_], structure: Structure) -> Look:
    scaled = np.asarray(image / np.float32(255), np.float32)
    known = scaled[:, valid].astype(np.float64)
    pixels = known.mean(1), np.atleast_2d(np.cov(known)) + 1e-6 * np.eye(len(image))
    return measure_look(model, scaled[None], valid[None], pixels, structure)


def _restrained(own: Look, other: Look) -> Look:
    """Lower the contrast of a look that would blow up the own one's too much."""
    total = [float(look.pixels.covariance[0].trace()) for look in (own, other)]
    gain = np.sqrt(total[1] / total[0])
    if gain <= HIGHEST_GAIN:
        return other
    covariance = other.pixels.covariance * (HIGHEST_GAIN / gain) ** 2
    return Look(Gaussian(other.pixels.mean, covariance), other.groups)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)

"""Adaptation by style transfer: patches are translated to the styles of other imagery."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from geossda.config import Structure
from geossda.data.patches import draw_probabilities, random_patch
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import EmptyRasterError
from geossda.harmonization.ssda import Transfer, measure_look
from geossda.models.style_arrays import ImageStyle, PixelGaussian, pool_styles
from geossda.progress import SILENT, Progress
from geossda.runtime.style_network import StyleModel

# Random patches of a raster that its style is measured on.
STYLE_PATCHES = 48
# Contrast is raised by this factor at most: flat ground amplified further is noise.
MAX_CONTRAST_GAIN = 1.5
# Range of the random resize of those patches.
SCALE = (0.67, 1.5)
# Patches that are mostly nodata, in a row, before a raster is refused.
MAX_TRIES = 20

Bytes = NDArray[np.uint8]


def measure_styles(
    model: StyleModel,
    rasters: Sequence[WorkingRaster],
    side: int,
    structure: Structure,
    seed: int,
    *,
    progress: Progress = SILENT,
) -> list[ImageStyle]:
    """Measure the style of each raster on random patches.

    Parameters
    ----------
    model : StyleModel
        Frozen, in evaluation mode.
    rasters : sequence of WorkingRaster
    side : int
        Side of the patches in pixels, a multiple of 32.
    structure : {"lock", "full"}
    seed : int
    progress : Progress
        Advanced by one per raster.

    Returns
    -------
    list of ImageStyle
        One per raster.

    Raises
    ------
    EmptyRasterError
        A raster is mostly nodata.
    """
    rng = np.random.default_rng([seed, STYLE_PATCHES])
    progress.stage("computing style statistics", len(rasters))
    styles = []
    for raster in rasters:
        patches = [draw_style_patch(raster, side, rng) for _ in range(STYLE_PATCHES)]
        styles.append(pool_styles([_measure(model, *patch, structure) for patch in patches]))
        progress.advance()
    return styles


@dataclass(frozen=True)
class StyleTransfer:
    """SS(DA)²: translation from the style of a patch's own raster to that of another.

    The style of a single patch depends more on its content than on its acquisition: roofs in the
    style of a meadow turn green. What a whole raster has in common is its acquisition
    (docs/decisions/0007).

    Attributes
    ----------
    model : StyleModel
        Frozen, in evaluation mode.
    structure : {"lock", "full"}
    own, other : sequences of ImageStyle
        Styles of the rasters that patches are drawn from, and of those to translate to.
    probability : (rasters,) float64 array
        Probability of each of the latter to be drawn.
    """

    model: StyleModel
    structure: Structure
    own: Sequence[ImageStyle]
    other: Sequence[ImageStyle]
    probability: NDArray[np.float64]

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Return a patch in the style of another raster."""
        own = self.own[raster]
        other = self.other[int(rng.choice(len(self.other), p=self.probability))]
        limited = _limit_contrast(own, other)
        return translate_bytes(Transfer(self.model, own, limited, self.structure), image, valid)


def style_transfers(
    model: StyleModel,
    styles: Sequence[ImageStyle],
    sources: Sequence[WorkingRaster],
    targets: Sequence[WorkingRaster],
    structure: Structure,
) -> tuple[StyleTransfer, StyleTransfer]:
    """Return the transfers of labelled patches to targets, and of target patches to any raster.

    Parameters
    ----------
    model : StyleModel
    styles : sequence of ImageStyle
        Styles of `sources`, then of `targets`.
    sources, targets : sequences of WorkingRaster
    structure : {"lock", "full"}
    """
    of_sources, of_targets = styles[: len(sources)], styles[len(sources) :]
    of_target, of_any = draw_probabilities(targets), draw_probabilities([*sources, *targets])
    return (
        StyleTransfer(model, structure, of_sources, of_targets, of_target),
        StyleTransfer(model, structure, of_targets, styles, of_any),
    )


@dataclass(frozen=True)
class DomainTransfer:
    """DAug: translation from the declared domain of a raster to that of another.

    Attributes
    ----------
    model : StyleModel
        A model of preset ``daug``.
    own, other : sequences of str
        Domains of the rasters that patches are drawn from, and of those to translate to.
    probability : (rasters,) float64 array
        Probability of each of the latter to be drawn.
    """

    model: StyleModel
    own: Sequence[str]
    other: Sequence[str]
    probability: NDArray[np.float64]

    def __call__(
        self, image: Bytes, valid: NDArray[np.bool_], raster: int, rng: Generator
    ) -> Bytes:
        """Return a patch in the style of another domain."""
        name = self.other[int(rng.choice(len(self.other), p=self.probability))]
        own, other = self.model.domain_style(self.own[raster]), self.model.domain_style(name)
        return translate_bytes(Transfer(self.model, own, other, "full"), image, valid)


def domain_transfers(
    model: StyleModel, sources: Sequence[WorkingRaster], targets: Sequence[WorkingRaster]
) -> tuple[DomainTransfer, DomainTransfer]:
    """Return what :func:`style_transfers` returns, with the rasters' folders as domains.

    Parameters
    ----------
    model : StyleModel
    sources, targets : sequences of WorkingRaster

    Raises
    ------
    StyleError
        A raster lies in a folder that is no domain of the model.
    """
    first, second = ([raster.folder.name for raster in rasters] for rasters in (sources, targets))
    for name in (*first, *second):
        model.domain_style(name)
    return (
        DomainTransfer(model, first, second, draw_probabilities(targets)),
        DomainTransfer(model, second, [*first, *second], draw_probabilities([*sources, *targets])),
    )


def translate_bytes(transfer: Transfer, image: Bytes, valid: NDArray[np.bool_]) -> Bytes:
    """Return an image in another style.

    Parameters
    ----------
    transfer : Transfer
    image : (bands, height, width) uint8 array
    valid : (height, width) bool array
    """
    translated = transfer(np.asarray(image / np.float32(255), np.float32), valid)
    return np.asarray(np.clip(np.rint(translated * 255), 0, 255), np.uint8)


def draw_style_patch(
    raster: WorkingRaster, side: int, rng: Generator
) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return a random patch of a raster to measure its style on, and its validity.

    Parameters
    ----------
    raster : WorkingRaster
    side : int
        In pixels.
    rng : Generator

    Raises
    ------
    EmptyRasterError
        The raster is mostly nodata.
    """
    for _ in range(MAX_TRIES):
        read = random_patch(raster, side, rng, SCALE)
        valid = read[-1] > 0
        if valid.mean() > 0.5:
            return read[:-2], valid
    raise EmptyRasterError(
        f"{raster.mosaic.name}: {MAX_TRIES} patches of {side} px in a row were mostly nodata"
    )


def _measure(
    model: StyleModel, image: Bytes, valid: NDArray[np.bool_], structure: Structure
) -> ImageStyle:
    scaled = np.asarray(image / np.float32(255), np.float32)
    known = scaled[:, valid].astype(np.float64)
    pixels = known.mean(1), np.atleast_2d(np.cov(known)) + 1e-6 * np.eye(len(image))
    return measure_look(model, scaled[None], valid[None], pixels, structure)


def _limit_contrast(own: ImageStyle, other: ImageStyle) -> ImageStyle:
    """Return the other style with no more than the greatest contrast that the own may be given."""
    variance = [float(style.pixels.covariance.trace()) for style in (own, other)]
    gain = np.sqrt(variance[1] / variance[0])
    if gain <= MAX_CONTRAST_GAIN:
        return other
    covariance = other.pixels.covariance * np.float32((MAX_CONTRAST_GAIN / gain) ** 2)
    return ImageStyle(PixelGaussian(other.pixels.mean, covariance), other.groups)

"""SS(DA)² on rasters: looks measured over a whole image, applied to its digital numbers."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.color.methods import as_dtype
from geossda.color.structure import apply_affine, reduce
from geossda.color.style import Style
from geossda.config import Structure
from geossda.errors import EmptyRasterError, StyleError
from geossda.inference.recolor import in_order
from geossda.inference.threads import threads
from geossda.inference.transfer import (
    FACTOR,
    Headroom,
    Local,
    Transfer,
    measure_look,
    scale,
)
from geossda.models.moments import Gaussian, Look, Moments
from geossda.models.style_model import StyleModel
from geossda.progress import SILENT, Progress
from geossda.raster.reading import Mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.statistics import covariance, sample_tiles
from geossda.raster.windows import Window

# Features are measured on so many windows spread over the image; those of `lock`, which sees
# cells of several pixels, are larger.
WINDOWS = 32
SIDE: dict[Structure, int] = {"full": 256, "lock": 512}
# Deviations of fewer of the deepest level's cells than this mean nothing.
CELLS = 16
# Patches on which it is tried how many pixels would be cut.
TRIED = 8


PixelLook = tuple[NDArray[np.float64], NDArray[np.float64]]


class Patches(NamedTuple):
    """Windows spread over an image, those with the most valid pixels.

    Attributes
    ----------
    image : (patches, bands, side, side) float32 array
        In units of the limits.
    valid : (patches, side, side) bool array
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]


def read_patches(
    mosaic: Mosaic,
    structure: Structure,
    limits: tuple[float, float],
    *,
    progress: Progress = SILENT,
) -> Patches:
    """Read the windows that looks are measured on.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    structure : {"lock", "full"}
    limits : (float, float)
        Digital numbers taken as 0 and 1.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    side = SIDE[structure]
    # Twice as many windows as needed: many mosaics are half nodata.
    windows = sample_tiles(mosaic.shape, 2 * WINDOWS * side**2, side)
    progress.stage("measuring the look", len(windows))

    def read(window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with gdal_environment():
            return mosaic.read(window)

    found = []
    for pixels, valid in in_order(read, windows, threads()):
        progress.advance()
        if valid.any():
            found.append((pixels, valid))
    if not found:
        raise EmptyRasterError(f"{mosaic.name} has no valid pixel where its look is measured")
    found.sort(key=lambda patch: -np.count_nonzero(patch[1]) / side**2)
    image = np.zeros((len(found[:WINDOWS]), mosaic.count, side, side), np.float32)
    mask = np.zeros((len(image), side, side), np.bool_)
    for index, (pixels, valid) in enumerate(found[:WINDOWS]):
        height, width = valid.shape
        image[index, :, :height, :width] = _scaled(pixels, valid, limits)
        mask[index, :height, :width] = valid
    return Patches(image, mask)


def measure_pixels(
    mosaic: Mosaic, limits: tuple[float, float], *, progress: Progress = SILENT
) -> PixelLook:
    """Measure mean and covariance of all the pixels of one source's image."""
    mean, spread = covariance(mosaic, limits, progress=progress)
    return mean, spread + 1e-6 * np.eye(len(mean))


def measure_features(
    pixels: PixelLook, patches: Patches, model: StyleModel, structure: Structure
) -> Look:
    """Measure the look of one source's image, nodata left out.

    An image too small to have features measured has none (``groups`` is empty).

    Parameters
    ----------
    pixels : pair of (bands,) and (bands, bands) arrays
        As :func:`measure_pixels` gives them.
    patches : Patches
        Of the same image, for the same structure and limits.
    model : StyleModel
    structure : {"lock", "full"}
    """
    image, valid = patches
    side = valid.shape[1]
    cell = model.stride * scale(structure)
    cells = valid.reshape(len(valid), side // cell, cell, side // cell, cell).all((2, 4)).sum()
    look = measure_look(model, image, valid, pixels, structure)
    return look if cells >= CELLS else Look(look.pixels, ())


def features_of(look: Look) -> list[Any]:
    """Write a look's features as lists, as a style file keeps them."""
    return [[[m.mean[0].tolist(), m.std[0].tolist()] for m in levels] for levels in look.groups]


def look_of(style: Style, model: StyleModel, structure: Structure) -> Look:
    """Make the look for a model out of a style.

    Raises
    ------
    StyleError
        The style was not measured with this model, or was too small for it.
    """
    kept = style.features.get(model.key)
    if kept is None or style.covariance is None:
        raise StyleError(
            f"the style {style.name} knows nothing of the style model {model.card.name}: it was "
            "made without it, or from too small an image; make it again with geossda style"
        )
    low, high = style.working_range
    pixels = Gaussian(
        torch.tensor((style.mean - low) / (high - low))[None].float(),
        torch.tensor(style.covariance / (high - low) ** 2)[None].float(),
    )
    groups = tuple(
        tuple(Moments(torch.tensor([mean]), torch.tensor([std])) for mean, std in levels)
        for levels in kept[structure]
    )
    return Look(pixels, groups)


def fit_learned(
    mosaic: Mosaic,
    style: Style,
    model: StyleModel,
    structure: Structure,
    limits: tuple[float, float],
    strength: float,
    *,
    progress: Progress = SILENT,
) -> "LearnedTransform":
    """Measure one source's image and make the transform that gives it a style.

    Parameters
    ----------
    mosaic : Mosaic
        Of one source.
    style : Style
    model : StyleModel
    structure : {"lock", "full"}
    limits : (float, float)
        Digital numbers taken as 0 and 1.
    strength : float
        0 leaves the image as it is, 1 goes all the way; linear in between.
    progress : Progress

    Raises
    ------
    StyleError
        The style was not measured with this model, or was too small for it.
    EmptyRasterError
        Not one valid pixel.
    """
    other = look_of(style, model, structure)
    patches = read_patches(mosaic, structure, limits, progress=progress)
    pixels = measure_pixels(mosaic, limits, progress=progress)
    own = measure_features(pixels, patches, model, structure)
    transfer = Transfer(model, own, other, structure)
    headroom = None
    if mosaic.dtype.kind in "ui":
        held = np.iinfo(mosaic.dtype)
        step = len(patches.valid) // TRIED + 1
        tried = [
            transfer(image, valid)[:, valid]
            for image, valid in zip(patches.image[::step], patches.valid[::step], strict=True)
        ]
        low, high = limits
        ends = ((end - low) / (high - low) for end in (held.min, held.max))
        headroom = Headroom.of(np.concatenate(tried, axis=1), *ends)
    return LearnedTransform(transfer, headroom, limits, strength)


@dataclass(frozen=True)
class LearnedTransform:
    """Apply a transfer to windows of digital numbers.

    Attributes
    ----------
    transfer : Transfer
    headroom : Headroom or None
        None where the type has no ends to be cut at.
    limits : (float, float)
        Digital numbers taken as 0 and 1.
    strength : float
        How far to go from the source (0) to the style (1).
    """

    transfer: Transfer
    headroom: Headroom | None
    limits: tuple[float, float]
    strength: float

    def numbers(self) -> dict[str, Any]:
        """Give what was measured of the image, to be saved."""
        own, room = self.transfer.own, self.headroom
        return {
            "pixels": [part.numpy() for part in own.pixels],
            "groups": [[[m.mean.numpy(), m.std.numpy()] for m in level] for level in own.groups],
            "headroom": None if room is None else [room.mean, room.contrast],
            "limits": [float(end) for end in self.limits],
        }

    @classmethod
    def from_numbers(
        cls,
        numbers: dict[str, Any],
        style: Style,
        model: StyleModel,
        structure: Structure,
        strength: float,
    ) -> "LearnedTransform":
        """Make the transform out of what :meth:`numbers` gave."""
        own = Look(
            Gaussian(*map(torch.from_numpy, numbers["pixels"])),
            tuple(
                tuple(Moments(*map(torch.from_numpy, moments)) for moments in levels)
                for levels in numbers["groups"]
            ),
        )
        room = numbers["headroom"]
        low, high = numbers["limits"]
        transfer = Transfer(model, own, look_of(style, model, structure), structure)
        return cls(transfer, None if room is None else Headroom(*room), (low, high), strength)

    @property
    def halo(self) -> int:
        """Pixels around a window that its own pixels depend on."""
        return 0 if self.strength == 0 else self.transfer.halo

    @property
    def align(self) -> int:
        """Windows start and end at multiples of so many pixels from the raster's origin."""
        return 1 if self.strength == 0 else self.transfer.align

    @property
    def small(self) -> bool:
        """Whether windows are best made beside each other, each on one core."""
        return self.transfer.structure == "lock"

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], inner: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Map the inner part of (bands, height, width) pixels."""
        if self.strength == 0 or not valid.any():
            return pixels[:, *inner]
        if self.transfer.structure == "lock":
            return self._locally(pixels, valid, inner)
        low, high = self.limits
        made = self.transfer(_scaled(pixels, valid, self.limits), valid)[:, *inner]
        if self.headroom is not None:
            made = self.headroom(made)
        made = made * np.float32(high - low) + np.float32(low)
        if self.strength < 1:
            known = np.where(valid[inner], pixels[:, *inner], 0).astype(np.float32)
            made = known + np.float32(self.strength) * (made - known)
        return as_dtype(made, pixels.dtype)

    def _locally(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], inner: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Do the same with smooth local transforms: all that comes after is in their numbers."""
        guide, known = reduce(pixels, valid, FACTOR)
        cells = tuple(
            slice(max(0, part.start // FACTOR - 1), min(length, -(-part.stop // FACTOR) + 1))
            for part, length in zip(inner, known.shape, strict=True)
        )
        within = tuple(
            slice(part.start - FACTOR * cell.start, part.stop - FACTOR * cell.start)
            for part, cell in zip(inner, cells, strict=True)
        )
        own = pixels[:, *(slice(FACTOR * cell.start, FACTOR * cell.stop) for cell in cells)]
        result = np.empty((len(pixels), *valid[inner].shape), pixels.dtype)
        for local in self.transfer.fit(_scaled(guide, known, self.limits), known, cells):
            result[local.fresh] = apply_affine(
                own[local.bands], self._in_numbers(local), FACTOR, within
            )
        return result

    def _in_numbers(self, local: Local) -> NDArray[np.float32]:
        """Give coefficients for digital numbers, with headroom and strength in them."""
        low, high = self.limits
        slopes, offset = np.split(local.fitted.astype(np.float64), [-1], axis=1)
        if self.headroom is not None:
            mean, contrast = (
                part[local.fresh, None, None, None]
                for part in (self.headroom.mean, self.headroom.contrast)
            )
            slopes, offset = slopes * contrast, (offset - mean) * contrast + mean
        offset = offset * (high - low) + low - low * slopes.sum(1, keepdims=True)
        slopes, offset = slopes * self.strength, offset * self.strength
        for row, band in enumerate(local.fresh):
            slopes[row, local.bands.index(band)] += 1 - self.strength
        return np.concatenate([slopes, offset], 1).astype(np.float32)


def _scaled(
    pixels: NDArray[Any], valid: NDArray[np.bool_], limits: tuple[float, float]
) -> NDArray[np.float32]:
    """Scale digital numbers to 0..1; what is not valid, NaN perhaps, becomes 0."""
    low, high = limits
    scaled = np.where(valid, pixels, low).astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return scaled

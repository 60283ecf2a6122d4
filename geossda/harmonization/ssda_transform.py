"""SS(DA)² applied to rasters: the transform of one source, fitted and kept as numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geossda.color.guided_filter import apply_affine, reduce
from geossda.color.style import Style
from geossda.config import Structure
from geossda.harmonization.ssda import FACTOR, ContrastLimit, Local, Transfer
from geossda.harmonization.style_features import (
    in_limits,
    look_of,
    measure_features,
    measure_pixels,
    read_patches,
)
from geossda.models.style_model import StyleModel
from geossda.models.style_statistics import Gaussian, Moments, StyleStatistics
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype

# Patches on which it is tried how many pixels would be cut.
TRIED = 8


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
        headroom = ContrastLimit.of(np.concatenate(tried, axis=1), *ends)
    return LearnedTransform(transfer, headroom, limits, strength)


@dataclass(frozen=True)
class LearnedTransform:
    """Apply a transfer to windows of digital numbers.

    Attributes
    ----------
    transfer : Transfer
    headroom : ContrastLimit or None
        None where the type has no ends to be cut at.
    limits : (float, float)
        Digital numbers taken as 0 and 1.
    strength : float
        How far to go from the source (0) to the style (1).
    """

    transfer: Transfer
    headroom: ContrastLimit | None
    limits: tuple[float, float]
    strength: float

    def to_state(self) -> dict[str, Any]:
        """Give what was measured of the image, to be saved."""
        own, room = self.transfer.own, self.headroom
        return {
            "pixels": [part.numpy() for part in own.pixels],
            "groups": [[[m.mean.numpy(), m.std.numpy()] for m in level] for level in own.groups],
            "headroom": None if room is None else [room.mean, room.contrast],
            "limits": [float(end) for end in self.limits],
        }

    @classmethod
    def from_state(
        cls,
        numbers: dict[str, Any],
        style: Style,
        model: StyleModel,
        structure: Structure,
        strength: float,
    ) -> "LearnedTransform":
        """Make the transform out of what :meth:`numbers` gave."""
        own = StyleStatistics(
            Gaussian(*map(torch.from_numpy, numbers["pixels"])),
            tuple(
                tuple(Moments(*map(torch.from_numpy, moments)) for moments in levels)
                for levels in numbers["groups"]
            ),
        )
        room = numbers["headroom"]
        low, high = numbers["limits"]
        transfer = Transfer(model, own, look_of(style, model, structure), structure)
        return cls(transfer, None if room is None else ContrastLimit(*room), (low, high), strength)

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
        made = self.transfer(in_limits(pixels, valid, self.limits), valid)[:, *inner]
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
        cells = (_cells(inner[0], known.shape[0]), _cells(inner[1], known.shape[1]))
        own = pixels[:, *(slice(FACTOR * part.start, FACTOR * part.stop) for part in cells)]
        within = (_moved(inner[0], cells[0]), _moved(inner[1], cells[1]))
        result = np.empty((len(pixels), *valid[inner].shape), pixels.dtype)
        for local in self.transfer.fit(in_limits(guide, known, self.limits), known, cells):
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


def _cells(pixels: slice, count: int) -> slice:
    """Give the cells between whose middles pixels lie."""
    first, last = pixels.start // FACTOR - 1, -(-pixels.stop // FACTOR) + 1
    return slice(max(0, first), min(count, last))


def _moved(pixels: slice, cells: slice) -> slice:
    """Count pixels from the first one of some cells."""
    return slice(pixels.start - FACTOR * cells.start, pixels.stop - FACTOR * cells.start)

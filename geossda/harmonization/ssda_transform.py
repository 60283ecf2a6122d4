"""SS(DA)² applied to rasters: the transform of one source, measured and applied to windows."""

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.color.guided_filter import apply_affine, reduce
from geossda.config import MatchOf, Structure
from geossda.errors import StyleError
from geossda.harmonization.matched_land import in_proportions_of
from geossda.harmonization.reading import RasterReading
from geossda.harmonization.ssda import (
    FACTOR,
    LIMIT,
    ContrastLimit,
    Local,
    Transfer,
    align_px,
    halo_px,
    scale,
)
from geossda.harmonization.style import Style
from geossda.harmonization.style_features import (
    PATCH_PX,
    in_limits,
    measure_features,
    read_patches,
    statistics_of,
)
from geossda.models.style_arrays import ImageStyle, LevelMoments, PixelGaussian
from geossda.parallel.cores import cores, cores_each
from geossda.parallel.ordered_map import ordered_map
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype
from geossda.raster.windows import Window
from geossda.runtime.style_network import StyleModel

# Patches on which the share of clipped pixels is measured.
CONTRAST_PATCHES = 8


def measure_transform(
    reading: RasterReading, style: Style, model: StyleModel, structure: Structure, match: MatchOf
) -> dict[str, Any]:
    """Measure what the transform of one source follows from.

    Parameters
    ----------
    reading : RasterReading
        Its working range is taken as 0 and 1.
    style : Style
    model : StyleModel
    structure : {"lock", "full"}
    match : {"auto", "land", "whole"}
        Like land if it says so, else whole images.

    Returns
    -------
    dict
        As :meth:`SsdaTransform.from_state` takes it.

    Raises
    ------
    StyleError
        The style was not measured with this model, or it or the source was too small for it.
    EmptyRasterError
        Not one valid pixel.
    """
    target = statistics_of(style, model, structure)
    mosaic, limits = reading.mosaic, reading.working_range
    patches = read_patches(mosaic, structure, limits, progress=reading.progress)
    source = measure_features(
        reading.covariance, patches, model.towards(target, mosaic.dtype), structure
    )
    if model.card.domains and not source.groups:
        raise StyleError(
            f"{mosaic.name} is too small for the style model {model.card.name}: give a larger "
            "raster, or --method histogram"
        )
    if match == "land":
        target = ImageStyle(in_proportions_of(reading, style, target.pixels), target.groups)
    transfer = Transfer(model, source, target, structure, LIMIT)
    contrast = None
    if mosaic.dtype.kind in "ui":
        held = np.iinfo(mosaic.dtype)
        step = len(patches.valid) // CONTRAST_PATCHES + 1
        chosen = list(zip(patches.image[::step], patches.valid[::step], strict=True))
        at_once = cores() if model.apply_graph.side_by_side else 1
        with cores_each(1) if at_once > 1 else contextlib.nullcontext() as begin:
            translated = list(
                ordered_map(
                    lambda patch: transfer(*patch)[:, patch[1]], chosen, at_once, initializer=begin
                )
            )
        low, high = limits
        ends = ((end - low) / (high - low) for end in (held.min, held.max))
        contrast = ContrastLimit.of(np.concatenate(translated, axis=1), *ends)
    own = transfer.own
    return {
        "pixels": list(own.pixels),
        "target": list(target.pixels),
        "groups": [[list(moments) for moments in levels] for levels in own.groups],
        "headroom": None if contrast is None else [contrast.mean, contrast.contrast],
        "limits": [float(end) for end in limits],
    }


def window_sizes(
    model: StyleModel, structure: Structure, mosaic: Mosaic, area: Window, tile_px: int
) -> list[tuple[int, int]]:
    """Return the heights and widths of windows that the model sees of a mosaic, in its pixels.

    Those at the lower and right edges may be of others.

    Parameters
    ----------
    model : StyleModel
    structure : {"lock", "full"}
    mosaic : Mosaic
    area : Window
        The part of it that is harmonized.
    tile_px : int
        Side of a tile, in pixels.
    """
    cell = scale(structure)
    tile = area._replace(height=min(tile_px, area.height), width=min(tile_px, area.width))
    window = tile.surrounded(halo_px(model, structure), align_px(model, structure))
    sizes = [(window.height // cell, window.width // cell)]
    if mosaic.dtype.kind in "ui":  # of which contrast is measured first
        side = PATCH_PX[structure] // cell
        sizes.insert(0, (side, side))
    return sizes


@dataclass(frozen=True)
class SsdaTransform:
    """Style transfer of windows of digital numbers.

    Attributes
    ----------
    transfer : Transfer
    contrast_limit : ContrastLimit or None
        None where the type has no ends to be clipped at.
    limits : (float, float)
        Digital numbers taken as 0 and 1.
    strength : float
        How far to go from the source (0) to the style (1).
    """

    transfer: Transfer
    contrast_limit: ContrastLimit | None
    limits: tuple[float, float]
    strength: float

    @classmethod
    def from_state(
        cls,
        state: dict[str, Any],
        style: Style,
        model: StyleModel,
        structure: Structure,
        strength: float,
    ) -> "SsdaTransform":
        """Return the transform of a source that was measured before.

        Parameters
        ----------
        state : dict
            As :func:`measure_transform` returns it.
        style : Style
        model : StyleModel
        structure : {"lock", "full"}
        strength : float
            0 keeps the source as it is, 1 goes all the way to the style; linear in between.
        """
        source = ImageStyle(
            PixelGaussian(*state["pixels"]),
            tuple(
                tuple(LevelMoments(*moments) for moments in levels) for levels in state["groups"]
            ),
        )
        contrast = None if state["headroom"] is None else ContrastLimit(*state["headroom"])
        low, high = state["limits"]
        features = statistics_of(style, model, structure).groups
        target = ImageStyle(PixelGaussian(*state["target"]), features)
        transfer = Transfer(model, source, target, structure, LIMIT)
        return cls(transfer, contrast, (low, high), strength)

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
        """Whether windows are best computed side by side, each on one core."""
        return self.transfer.structure == "lock"

    def __call__(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], inner: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Return the inner part of (bands, height, width) pixels in the style."""
        if self.strength == 0 or not valid.any():
            return pixels[:, *inner]
        if self.transfer.structure == "lock":
            return self._with_affine_fields(pixels, valid, inner)
        low, high = self.limits
        styled = self.transfer(in_limits(pixels, valid, self.limits), valid)[:, *inner]
        if self.contrast_limit is not None:
            styled = self.contrast_limit(styled)
        styled = styled * np.float32(high - low) + np.float32(low)
        if self.strength < 1:
            known = np.where(valid[inner], pixels[:, *inner], 0).astype(np.float32)
            styled = known + np.float32(self.strength) * (styled - known)
        return as_dtype(styled, pixels.dtype)

    def _with_affine_fields(
        self, pixels: NDArray[Any], valid: NDArray[np.bool_], inner: tuple[slice, slice]
    ) -> NDArray[Any]:
        """Return the inner part by smooth local transforms, which strength and contrast enter."""
        guide, known = reduce(pixels, valid, FACTOR)
        cells = (_cells_around(inner[0], known.shape[0]), _cells_around(inner[1], known.shape[1]))
        own = pixels[:, *(slice(FACTOR * part.start, FACTOR * part.stop) for part in cells)]
        within = (_relative(inner[0], cells[0]), _relative(inner[1], cells[1]))
        result = np.empty((len(pixels), *valid[inner].shape), pixels.dtype)
        for local in self.transfer.fit(in_limits(guide, known, self.limits), known, cells):
            result[local.fresh] = apply_affine(
                own[local.bands], self._for_digital_numbers(local), FACTOR, within
            )
        return result

    def _for_digital_numbers(self, local: Local) -> NDArray[np.float32]:
        """Return coefficients for digital numbers, with contrast limit and strength in them."""
        low, high = self.limits
        slopes, offset = np.split(local.fitted.astype(np.float64), [-1], axis=1)
        if self.contrast_limit is not None:
            mean, contrast = (
                part[local.fresh, None, None, None]
                for part in (self.contrast_limit.mean, self.contrast_limit.contrast)
            )
            slopes, offset = slopes * contrast, (offset - mean) * contrast + mean
        offset = offset * (high - low) + low - low * slopes.sum(1, keepdims=True)
        slopes, offset = slopes * self.strength, offset * self.strength
        for row, band in enumerate(local.fresh):
            slopes[row, local.bands.index(band)] += 1 - self.strength
        return np.concatenate([slopes, offset], 1).astype(np.float32)


def _cells_around(pixels: slice, count: int) -> slice:
    """Return the cells whose centers lie around a range of pixels."""
    first, last = pixels.start // FACTOR - 1, -(-pixels.stop // FACTOR) + 1
    return slice(max(0, first), min(count, last))


def _relative(pixels: slice, cells: slice) -> slice:
    """Return a range of pixels counted from the first pixel of some cells."""
    return slice(pixels.start - FACTOR * cells.start, pixels.stop - FACTOR * cells.start)

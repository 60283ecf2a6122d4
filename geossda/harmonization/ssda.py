"""Style transfer from one image to another, window by window."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geossda.color.guided_filter import apply_affine, fit_affine, reduce
from geossda.config import Structure
from geossda.models.style_arrays import ImageStyle
from geossda.runtime.style_network import StyleModel

# For `lock`: side of a cell in pixels, radius of a neighbourhood in cells, and what is added to
# the variances of images of 0..1. Measured in docs/decisions/0006.
FACTOR, RADIUS, RIDGE = 4, 4, 1e-5
# Share of a band's pixels that may be cut at either end of the type's range, and how far contrast
# is lowered at most to keep to it.
CUT, LOWEST_CONTRAST = 0.03, 0.5
# What the network may change beyond the map of colors, in standard deviations of the reference's
# bands. More of it paints: ground beside trees becomes green (docs/decisions/0006).
LIMIT = 0.1


def scale(structure: Structure) -> int:
    """Return the side, in pixels, of a cell that the generator sees as one pixel."""
    return FACTOR if structure == "lock" else 1


def align_px(model: StyleModel, structure: Structure) -> int:
    """Return the number of pixels that windows start and end at multiples of.

    Parameters
    ----------
    model : StyleModel
    structure : {"lock", "full"}
    """
    return model.stride * scale(structure)


def halo_px(model: StyleModel, structure: Structure) -> int:
    """Return the number of pixels around a window that its own depend on.

    Parameters
    ----------
    model : StyleModel
    structure : {"lock", "full"}
    """
    if structure == "full":
        return model.halo
    # Twice the radius (fit, then average), one cell to interpolate, and the generator's own.
    needed = (model.halo + 2 * RADIUS + 1) * FACTOR
    align = align_px(model, structure)
    return -(-needed // align) * align


def measure_look(
    model: StyleModel,
    patches: NDArray[np.float32],
    valid: NDArray[np.bool_],
    pixels: tuple[NDArray[np.float64], NDArray[np.float64]],
    structure: Structure,
) -> ImageStyle:
    """Measure the style statistics of one image from patches of it.

    Parameters
    ----------
    model : StyleModel
    patches : (patches, bands, side, side) float32 array, 0..1
        Sides multiples of the model's stride, for ``lock`` of four times that.
    valid : (patches, side, side) bool array
    pixels : pair of (bands,) and (bands, bands) arrays
        Mean and covariance of all the image's pixels, in the patches' units.
    structure : {"full", "lock"}
        At which resolution it will be used.
    """
    if structure == "lock":
        reduced = [reduce(image, mask, FACTOR) for image, mask in zip(patches, valid, strict=True)]
        patches = np.stack([image for image, _ in reduced])
        valid = np.stack([mask for _, mask in reduced])
    return model.measure(patches, valid, pixels)


@dataclass(frozen=True)
class ContrastLimit:
    """Contrast lowered about the mean, so that highlights and shadows keep their detail.

    A style of more contrast than the image's own pushes pixels past the ends of 8 bit, where
    all detail is lost.

    Attributes
    ----------
    mean, contrast : (bands,) float32 arrays
        Contrast 1 changes nothing.
    """

    mean: NDArray[np.float32]
    contrast: NDArray[np.float32]

    @classmethod
    def of(
        cls, samples: NDArray[np.float32], lowest: float = 0.0, highest: float = 1.0
    ) -> "ContrastLimit":
        """Choose contrasts that cut no more than a small share of each band's pixels.

        Parameters
        ----------
        samples : (bands, pixels) array
            Output of the generator.
        lowest, highest : float
            What the type of the result holds.
        """
        mean = samples.mean(1, dtype=np.float64)
        low, high = np.quantile(samples, [CUT, 1 - CUT], axis=1)
        above = (highest - mean) / np.maximum(high - mean, 1e-6)
        below = (mean - lowest) / np.maximum(mean - low, 1e-6)
        contrast = np.clip(np.minimum(above, below), LOWEST_CONTRAST, 1)
        return cls(mean.astype(np.float32), contrast.astype(np.float32))

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Lower the contrast of a (bands, height, width) image."""
        if (self.contrast == 1).all():
            return image
        mean, contrast = self.mean[:, None, None], self.contrast[:, None, None]
        return np.asarray((image - mean) * contrast + mean, np.float32)


@dataclass(frozen=True)
class Transfer:
    """Style transfer of windows from an image to a reference.

    Attributes
    ----------
    model : StyleModel
    own, other : ImageStyle
        Statistics of the image and of the reference, measured for the same `structure`. Where the
        image has no features, because it is too small, the reference's stand in: then Gaussians
        are matched.
    structure : {"full", "lock"}
        ``full`` returns the generator's output; ``lock`` the smooth local color transform nearest
        to it.
    limit : float
        See :meth:`geossda.runtime.style_network.StyleModel.translate`.
    """

    model: StyleModel
    own: ImageStyle
    other: ImageStyle
    structure: Structure
    limit: float = np.inf

    def __post_init__(self) -> None:
        """Replace the features of an image that has none by the reference's."""
        if not self.own.groups:
            object.__setattr__(self, "own", ImageStyle(self.own.pixels, self.other.groups))

    @property
    def align(self) -> int:
        """Windows start and end at multiples of so many pixels from the raster's origin."""
        return align_px(self.model, self.structure)

    @property
    def halo(self) -> int:
        """Pixels around a window that its own pixels depend on; a multiple of `align`."""
        return halo_px(self.model, self.structure)

    def __call__(self, image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Translate a window.

        Parameters
        ----------
        image : (bands, height, width) float32 array
            Sides multiples of `align`, in the units the statistics were measured in.
        valid : (height, width) bool array

        Returns
        -------
        (bands, height, width) float32 array
            Right where the window has its halo; may leave 0..1.
        """
        if self.structure == "full":
            return self._generated(image, valid)
        result = np.empty_like(image)
        for local in self.fit(*reduce(image, valid, FACTOR)):
            result[local.fresh] = apply_affine(image[local.bands], local.fitted, FACTOR)
        return result

    def fit(
        self,
        guide: NDArray[np.float32],
        known: NDArray[np.bool_],
        inner: tuple[slice, slice] | None = None,
    ) -> list["Local"]:
        """Fit the smooth local color transforms nearest to the generator's output.

        Parameters
        ----------
        guide : (bands, rows, columns) float32 array
            Cells of a window, as :func:`geossda.color.guided_filter.reduce` returns them.
        known : (rows, columns) bool array
        inner : pair of slices, optional
            Cells to return coefficients of; all by default.
        """
        generated = self._generated(guide, known)
        rows, cols = inner or (slice(0, known.shape[0]), slice(0, known.shape[1]))
        # Cells that the fit and its averaging reach.
        around = tuple(
            slice(max(0, cells.start - 2 * RADIUS), cells.stop + 2 * RADIUS)
            for cells in (rows, cols)
        )
        rows, cols = (
            slice(cells.start - wide.start, cells.stop - wide.start)
            for cells, wide in zip((rows, cols), around, strict=True)
        )
        guide, generated, known = guide[:, *around], generated[:, *around], known[around]
        return [
            Local(
                group.bands,
                group.fresh,
                fit_affine(guide[group.bands], generated[group.fresh], known, RADIUS, RIDGE)[
                    :, :, rows, cols
                ],
            )
            for group in self.model.groups(len(guide))
        ]

    def _generated(self, image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the generator's output for a window."""
        windows = self.model.translate(image[None], self.own, self.other, valid[None], self.limit)
        return np.asarray(windows[0])


class Local(NamedTuple):
    """A smooth local color transform of a group of bands.

    Attributes
    ----------
    bands, fresh : list of int
        Bands it takes, and bands it returns.
    fitted : (fresh, bands + 1, rows, columns) float32 array
        As :func:`geossda.color.guided_filter.fit_affine` returns it.
    """

    bands: list[int]
    fresh: list[int]
    fitted: NDArray[np.float32]

"""Methods that change each pixel by itself, by histograms and moments of each image."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geossda.color.lab import from_lab, to_lab
from geossda.color.value_curves import Transform
from geossda.config import NamedMethod
from geossda.harmonization.measure import SourceStatistics, read_source
from geossda.harmonization.method import Method, PixelMethod, State, required
from geossda.harmonization.reference_statistics import SHARES, Lab, Quantiles
from geossda.harmonization.style import Style
from geossda.harmonization.tiles import PixelTransform, WindowTransform
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype


class Histogram(PixelMethod):
    """Histogram matching (Castleman 1996): each value goes to the style's value of its rank."""

    name = "histogram"

    def curves(self, source: SourceStatistics, style: Style | None) -> NDArray[np.float64]:
        """Return the style's quantile at each value's rank, (bands, bins)."""
        quantiles = required(style)[Quantiles].values
        ranks = source.histograms.ranks()
        return np.stack(
            [np.interp(own, SHARES, target) for own, target in zip(ranks, quantiles, strict=True)]
        )


class Linear(PixelMethod):
    """Mean and standard deviation matched band by band."""

    name: ClassVar[NamedMethod] = "linear"

    def curves(self, source: SourceStatistics, style: Style | None) -> NDArray[np.float64]:
        """Return values with the style's mean and standard deviation, (bands, bins)."""
        style, histograms = required(style), source.histograms
        scale = style.std / np.maximum(histograms.std(), 1e-9)
        centered = histograms.values - histograms.mean()[:, None]
        return np.asarray(style.mean[:, None] + centered * scale[:, None])


class Reinhard(Linear):
    """Mean and standard deviation matched in CIE L*a*b* (after Reinhard et al. 2001).

    Bands 1 to 3 are taken as red, green and blue. Further bands, and images of one or two bands,
    are matched band by band.
    """

    name = "reinhard"
    needs = (Lab,)

    def fit(self, source: SourceStatistics, style: Style | None, strength: float) -> Transform:
        """Return the pixelwise transform of a source measured before.

        Parameters
        ----------
        source : SourceStatistics
        style : Style or None
        strength : float
            0 to 1, see :meth:`PixelMethod.fit`.
        """
        by_band = super().fit(source, style, strength)
        style = required(self.usable(source, style))
        own, other = source.get(Lab), style.get(Lab)
        if own is None or other is None or strength == 0:
            return by_band
        scale = (other.std / np.maximum(own.std, 1e-9)).astype(np.float32)
        mean, target = own.mean.astype(np.float32), other.mean.astype(np.float32)

        def apply(pixels: NDArray[Any]) -> NDArray[Any]:
            result = by_band(pixels) if len(pixels) > 3 else pixels.copy()
            lab = (to_lab(pixels, source.working_range) - mean) * scale + target
            rgb = from_lab(lab, source.working_range)
            mixed = pixels[:3] + np.float32(strength) * (rgb - pixels[:3])
            result[:3] = as_dtype(mixed, source.dtype)
            return result

        return apply


class GrayWorld(PixelMethod):
    """Gray world (Buchsbaum 1980): one gain per band, so that all bands have the same mean.

    The common mean is the image's own, or the style's if there is one.
    """

    name = "grayworld"
    needs_style = False

    def curves(self, source: SourceStatistics, style: Style | None) -> NDArray[np.float64]:
        """Return values times the gain of their band, (bands, bins)."""
        low, values = source.working_range[0], source.histograms.values
        mean = source.histograms.mean() - low
        gray = (mean if style is None else style.mean - low).mean()
        gain = gray / np.where(mean > 0, mean, 1)
        return np.asarray(low + (values - low) * gain[:, None])


class Equalize(PixelMethod):
    """Histogram equalization (Castleman 1996): ranks spread evenly over the working range."""

    name = "equalize"
    needs_style = False
    uses_style = False

    def curves(self, source: SourceStatistics, style: Style | None) -> NDArray[np.float64]:
        """Return ranks as values of the working range, (bands, bins)."""
        low, high = source.working_range
        return np.asarray(low + source.histograms.ranks() * (high - low))


class Unchanged(Method):
    """Colors as they are, once scenes and overlapping sources are balanced."""

    name = "none"
    needs_style = False
    uses_style = False

    def measure(self, mosaic: Mosaic, style: Style | None, progress: Progress = SILENT) -> State:
        """Check the imagery; there is nothing to measure.

        Parameters
        ----------
        mosaic : Mosaic
        style : Style or None
        progress : Progress
        """
        read_source(mosaic, style, progress)
        return {}

    def transform(self, state: State, style: Style | None, strength: float) -> WindowTransform:
        """Return the transform that changes nothing.

        Parameters
        ----------
        state : dict
        style : Style or None
        strength : float
            Has no effect.
        """
        return PixelTransform(lambda pixels: pixels)

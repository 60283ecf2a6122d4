"""Harmonization methods, one class each, by name in :data:`METHODS`.

A method measures each source of a mosaic and makes the transform of its windows from what it
measured, so that how the mosaic is cut into tiles cannot show. To add one, write its class here
and add its name in :mod:`geossda.config`; the command line, the QGIS dialogs, ``matrix`` and
``evaluate-style`` list it from there.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from geossda.color.lab import from_lab, to_lab
from geossda.color.mixture import ColorMap, fit_color_map
from geossda.color.value_curves import Transform
from geossda.config import HarmonizeConfig, MapMethod, NamedMethod, Structure
from geossda.errors import InputError, StyleError
from geossda.harmonization.measure import STATISTICS, SourceStatistics, read_source
from geossda.harmonization.method import Method, PixelMethod, State, required
from geossda.harmonization.model_statistics import Covariance, Features
from geossda.harmonization.reading import sample_colors
from geossda.harmonization.reference_statistics import SHARES, Lab, Quantiles, Sample
from geossda.harmonization.statistic import Statistic
from geossda.harmonization.style import Style
from geossda.harmonization.tiles import PixelTransform, WindowTransform
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype
from geossda.raster.windows import Window

if TYPE_CHECKING:
    from geossda.color.graph_matching import Displacement, GraphMap
    from geossda.runtime.style_network import StyleModel

ArrayMap = Callable[[NDArray[np.float32]], NDArray[np.float32]]


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


class SampledMap(Method):
    """A method whose map of colors follows from samples of both images' colors."""

    needs = (Sample,)

    @abstractmethod
    def fit(self, source: NDArray[np.float64], reference: NDArray[np.float64]) -> Any:
        """Return what a map of colors follows from, a dataclass of arrays.

        Parameters
        ----------
        source, reference : (bands, n) arrays
            Colors of each image, in 0..1.
        """

    @abstractmethod
    def color_map(self, **fitted: Any) -> ArrayMap:
        """Return the map of (bands, height, width) images in 0..1.

        Parameters
        ----------
        **fitted
            The fields of what :meth:`fit` returns.
        """

    def measure(self, mosaic: Mosaic, style: Style | None, progress: Progress = SILENT) -> State:
        """Fit the map of a mosaic of one source.

        Parameters
        ----------
        mosaic : Mosaic
        style : Style or None
        progress : Progress
        """
        low, high = limits = read_source(mosaic, style, progress).working_range
        target = required(style).fitted_to(mosaic.dtype, limits)[Sample].values
        source, reference = (
            (colors - low) / (high - low)
            for colors in (sample_colors(mosaic, progress=progress), target)
        )
        return {"limits": [float(low), float(high)], **vars(self.fit(source, reference))}

    def transform(self, state: State, style: Style | None, strength: float) -> WindowTransform:
        """Return the transform of a source's windows.

        Parameters
        ----------
        state : dict
            As :meth:`measure` returns it.
        style : Style or None
        strength : float
            0 to 1, see :meth:`Method.transform`.
        """
        fitted = dict(state)
        low, high = fitted.pop("limits")
        color_map = self.color_map(**fitted)

        def apply(pixels: NDArray[Any]) -> NDArray[Any]:
            if strength == 0:
                return pixels
            image = ((pixels - low) / (high - low)).astype(np.float32)
            mixed = image + np.float32(strength) * (color_map(image) - image)
            return as_dtype(mixed * (high - low) + low, pixels.dtype)

        return PixelTransform(apply)


class Mixture(SampledMap):
    """Like land to like land: the color map of :mod:`geossda.color.mixture`."""

    name = "mixture"

    def fit(self, source: NDArray[np.float64], reference: NDArray[np.float64]) -> ColorMap:
        """Return the map of the source's colors to like land of the reference."""
        return fit_color_map(source, reference)

    def color_map(self, **fitted: Any) -> ColorMap:
        """Return the map of images in 0..1."""
        return ColorMap(**fitted)


class GraphMatching(SampledMap):
    """Clusters of colors matched as graphs: :mod:`geossda.color.graph_matching`."""

    name = "graph"

    @classmethod
    def load(cls, config: HarmonizeConfig) -> "GraphMatching":
        """Return the method, if what it solves its assignment with is installed.

        Parameters
        ----------
        config : HarmonizeConfig

        Raises
        ------
        InputError
            SciPy is not installed.
        """
        try:
            import geossda.color.graph_matching  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"method graph needs SciPy ({error}): install it with pip install scipy"
            ) from error
        return cls()

    def fit(self, source: NDArray[np.float64], reference: NDArray[np.float64]) -> "Displacement":
        """Return the displacement of the source's clusters to the reference's."""
        from geossda.color.graph_matching import cluster_colors, fit_displacement

        return fit_displacement(cluster_colors(source), cluster_colors(reference))

    def color_map(self, **fitted: Any) -> "GraphMap":
        """Return the map of images in 0..1."""
        from geossda.color.graph_matching import Displacement, GraphMap

        return GraphMap(Displacement(**fitted))


class Ssda(Method):
    """SS(DA)² style transfer with a style model.

    Parameters
    ----------
    model : StyleModel
    structure : {"lock", "full"}
    """

    name: ClassVar[NamedMethod] = "ssda"
    needs = (Covariance, Features)
    model: "StyleModel"

    def __init__(self, model: "StyleModel", structure: Structure) -> None:
        self.model, self.structure = model, structure

    @classmethod
    def load(cls, config: HarmonizeConfig) -> "Ssda":
        """Return the method with the style model of some settings, this or its other form.

        Parameters
        ----------
        config : HarmonizeConfig

        Raises
        ------
        StyleError
            The model is for the other method, or has no domain of the name given.
        """
        # Imported here, since the other methods do without.
        from geossda.runtime.domain_model import DomainModel, with_domain
        from geossda.runtime.style_network import open_style_model

        model = open_style_model(config.style_model, config)
        method = Translation if isinstance(model, DomainModel) else Ssda
        if config.method not in ("auto", method.name):
            raise StyleError(
                f"the style model {model.card.name} is of preset {model.card.preset}, which is for "
                f"method {method.name}: give this method, or another --style-model"
            )
        return method(with_domain(model, config.domain), config.structure)

    def prepare(self, mosaic: Mosaic, area: Window, tile_px: int) -> None:
        """Prepare the model for the windows it will see, while the mosaic is measured.

        Parameters
        ----------
        mosaic : Mosaic
        area : Window
            The part of it that is harmonized.
        tile_px : int
            Side of a tile, in pixels.
        """
        from geossda.harmonization.ssda_transform import window_sizes

        self.model.prepare(window_sizes(self.model, self.structure, mosaic, area, tile_px))

    def measure(self, mosaic: Mosaic, style: Style | None, progress: Progress = SILENT) -> State:
        """Measure style statistics and contrast limits of a mosaic of one source.

        Parameters
        ----------
        mosaic : Mosaic
        style : Style or None
        progress : Progress
        """
        from geossda.harmonization.ssda_transform import measure_transform

        reading = read_source(mosaic, style, progress)
        return measure_transform(reading, required(style), self.model, self.structure)

    def transform(self, state: State, style: Style | None, strength: float) -> WindowTransform:
        """Return the transform of a source's windows.

        Parameters
        ----------
        state : dict
            As :meth:`measure` returns it.
        style : Style or None
        strength : float
            0 to 1, see :meth:`Method.transform`.
        """
        from geossda.harmonization.ssda_transform import SsdaTransform

        return SsdaTransform.from_state(
            state, required(style), self.model, self.structure, strength
        )

    def require_style(self, style: Style | None) -> None:
        """Raise StyleError if a style was not measured with the style model."""
        from geossda.harmonization.style_features import statistics_of

        statistics_of(required(style), self.model, self.structure)


class Translation(Ssda):
    """Translation to a declared domain by one of the methods that SS(DA)² is compared with.

    Parameters
    ----------
    model : DomainModel
    structure : {"lock", "full"}
    """

    name = "translation"


METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Ssda,
        Translation,
        Mixture,
        GraphMatching,
        Histogram,
        Reinhard,
        Linear,
        GrayWorld,
        Equalize,
        Unchanged,
    )
}


def known_statistics() -> tuple[type[Statistic], ...]:
    """Return the statistics that styles may hold: the usual ones, and what methods need besides."""
    needed = (statistic for method in METHODS.values() for statistic in method.needs)
    return tuple(dict.fromkeys([*STATISTICS, *needed]))


def pixel_method(name: str) -> PixelMethod:
    """Return a pixelwise method by its name.

    Raises
    ------
    KeyError
        No pixelwise method has that name.
    """
    method = METHODS[name]
    if not issubclass(method, PixelMethod):
        raise KeyError(name)
    return method()


def sampled_map(name: MapMethod) -> SampledMap:
    """Return a method whose map of colors follows from samples, by its name.

    Raises
    ------
    InputError
        A package that it needs is not installed.
    """
    return cast(SampledMap, METHODS[name].load(HarmonizeConfig(method=name)))

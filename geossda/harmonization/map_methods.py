"""Methods whose map of colors follows from samples of both images' colors."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geossda.color.mixture import ColorMap, fit_color_map
from geossda.config import HarmonizeConfig
from geossda.errors import InputError
from geossda.harmonization.measure import read_source
from geossda.harmonization.method import Method, State, required
from geossda.harmonization.reading import colors_of_both
from geossda.harmonization.reference_statistics import Sample
from geossda.harmonization.style import Style
from geossda.harmonization.tiles import PixelTransform, WindowTransform
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.scaling import as_dtype

if TYPE_CHECKING:
    from geossda.color.graph_matching import Displacement, GraphMap

ArrayMap = Callable[[NDArray[np.float32]], NDArray[np.float32]]


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
        reading = read_source(mosaic, style, progress)
        limits = reading.working_range
        target = required(style).fitted_to(mosaic.dtype, limits)[Sample].values
        fitted = self.fit(*colors_of_both(reading, target))
        return {"limits": [float(end) for end in limits], **vars(fitted)}

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

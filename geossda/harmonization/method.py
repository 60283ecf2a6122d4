"""What a harmonization method is: what it needs, measures and transforms by."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geossda.color.value_curves import Transform, curve_transform
from geossda.config import HarmonizeConfig, NamedMethod
from geossda.errors import StyleError
from geossda.harmonization.measure import SourceStatistics, measure_source
from geossda.harmonization.statistic import Statistic
from geossda.harmonization.style import Style
from geossda.harmonization.tiles import PixelTransform, WindowTransform
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.windows import Window

if TYPE_CHECKING:
    from geossda.runtime.style_network import StyleModel

State = dict[str, Any]


class Method(ABC):
    """A way to match the colors of a mosaic's sources to a style.

    Attributes
    ----------
    name : str
        As in the settings.
    needs : tuple of Statistic classes
        What references, and by pixelwise methods sources, are measured for besides histograms.
    needs_style : bool
        Whether it cannot do without a style.
    uses_style : bool
        Whether a style changes the result.
    model : StyleModel or None
        The style model, of methods that have one.
    """

    name: ClassVar[NamedMethod]
    needs: ClassVar[tuple[type[Statistic], ...]] = ()
    needs_style: ClassVar[bool] = True
    uses_style: ClassVar[bool] = True
    model: "StyleModel | None" = None

    @classmethod
    def load(cls, config: HarmonizeConfig) -> "Method":
        """Return the method for some settings; one that has a model loads it here."""
        return cls()

    @abstractmethod
    def measure(self, mosaic: Mosaic, style: Style | None, progress: Progress = SILENT) -> State:
        """Measure a mosaic of one source.

        Parameters
        ----------
        mosaic : Mosaic
        style : Style or None
        progress : Progress

        Returns
        -------
        dict
            What the transform follows from, as :func:`geossda.runs.state.save_state` takes it.
        """

    @abstractmethod
    def transform(self, state: State, style: Style | None, strength: float) -> WindowTransform:
        """Return the transform of a source's windows.

        Parameters
        ----------
        state : dict
            As :meth:`measure` has returned it.
        style : Style or None
        strength : float
            0 keeps the source as it is, 1 goes all the way to the style; linear in between.

        Raises
        ------
        StyleError
            The method needs a style, or something that was not measured for it.
        BandError
            Band counts differ.
        """

    def prepare(self, mosaic: Mosaic, area: Window, tile_px: int) -> None:  # noqa: B027
        """Prepare for the windows of a mosaic, beside other work; most methods need not.

        Parameters
        ----------
        mosaic : Mosaic
        area : Window
            The part of it that is harmonized.
        tile_px : int
            Side of a tile, in pixels.
        """

    def require_bands(self, bands: int) -> None:
        """Raise BandError if the method takes more than `bands` bands."""
        if self.model is not None:
            self.model.require_bands(bands)

    def require_style(self, style: Style | None) -> None:
        """Check that the method can use a style.

        Raises
        ------
        StyleError
            It needs one, or something that was not measured for it.
        """
        if style is None:
            if self.needs_style:
                raise StyleError(f"method {self.name} needs a style: give --style REF")
            return
        for statistic in self.needs:
            if statistic.required:
                style[statistic]


class PixelMethod(Method):
    """A method whose transform depends on a pixel's value alone: one curve per band."""

    def measure(self, mosaic: Mosaic, style: Style | None, progress: Progress = SILENT) -> State:
        """Measure the histograms of a mosaic of one source, and what else the method needs.

        Parameters
        ----------
        mosaic : Mosaic
        style : Style or None
        progress : Progress
        """
        return measure_source(mosaic, self.needs, style=style, progress=progress).to_state()

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
        source = SourceStatistics.from_state(state, self.needs)
        return PixelTransform(self.fit(source, style, strength))

    def fit(self, source: SourceStatistics, style: Style | None, strength: float) -> Transform:
        """Return the pixelwise transform of a source measured before.

        Parameters
        ----------
        source : SourceStatistics
        style : Style or None
        strength : float
            0 keeps the source as it is, 1 goes all the way to the style; linear in between.

        Raises
        ------
        StyleError
            The method needs a style and got none.
        BandError
            Band counts differ.
        """
        curves = self.curves(source, self.usable(source, style))
        return curve_transform(source.histograms, source.dtype, curves, strength)

    def usable(self, source: SourceStatistics, style: Style | None) -> Style | None:
        """Return a style in the source's digital numbers; raise if it does not fit."""
        self.require_style(style)
        if style is None:
            return None
        style.require_bands(len(source.histograms.counts), "the source")
        return style.fitted_to(source.dtype, source.working_range)

    @abstractmethod
    def curves(self, source: SourceStatistics, style: Style | None) -> NDArray[np.float64]:
        """Return the new value of each bin of the source's histograms, (bands, bins)."""


def required(style: Style | None) -> Style:
    """Return a style that a method cannot do without.

    Raises
    ------
    StyleError
        There is none.
    """
    if style is None:
        raise StyleError("the method needs a style: give --style REF")
    return style

"""Methods that transfer style with a style model."""

from typing import TYPE_CHECKING, ClassVar

from geossda.config import HarmonizeConfig, MatchOf, NamedMethod, Structure
from geossda.errors import StyleError
from geossda.harmonization.measure import read_source
from geossda.harmonization.method import Method, State, required
from geossda.harmonization.model_statistics import Covariance, Features
from geossda.harmonization.reference_statistics import Sample
from geossda.harmonization.style import Style
from geossda.harmonization.tiles import WindowTransform
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic
from geossda.raster.windows import Window

if TYPE_CHECKING:
    from geossda.runtime.style_network import StyleModel


class Ssda(Method):
    """SS(DA)² style transfer with a style model.

    Parameters
    ----------
    model : StyleModel
    structure : {"lock", "full"}
    match : {"auto", "land", "whole"}
        What is matched; auto is whole images.
    """

    name: ClassVar[NamedMethod] = "ssda"
    needs = (Covariance, Features, Sample)
    model: "StyleModel"

    def __init__(self, model: "StyleModel", structure: Structure, match: MatchOf = "auto") -> None:
        self.model, self.structure, self.match = model, structure, match

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
        # The maps of colors of the compared systems are their networks'.
        match = config.match if method is Ssda else "whole"
        return method(with_domain(model, config.domain), config.structure, match)

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
        from geossda.harmonization.style_features import prepare_features

        prepare_features(mosaic.alone(0), self.model, self.structure)
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
        return measure_transform(reading, required(style), self.model, self.structure, self.match)

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

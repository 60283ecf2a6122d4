"""The method of some settings: the one named, or what ``auto`` stands for."""

from geossda.config import HarmonizeConfig
from geossda.errors import BandError, StyleError
from geossda.harmonization.method import Method
from geossda.harmonization.methods import METHODS
from geossda.harmonization.model_methods import Ssda
from geossda.harmonization.pixel_methods import Histogram
from geossda.harmonization.style import Style
from geossda.progress import SILENT, Progress


def needs_style(config: HarmonizeConfig) -> bool:
    """Return whether the method of some settings cannot do without a style."""
    return config.method == "auto" or METHODS[config.method].needs_style


def load_method(config: HarmonizeConfig, bands: int, progress: Progress = SILENT) -> Method:
    """Return the method of some settings; for ``auto``, ssda or else histogram.

    Parameters
    ----------
    config : HarmonizeConfig
    bands : int
        The least number of bands of a mosaic.
    progress : Progress
        Warned where ``auto`` becomes histogram.

    Raises
    ------
    BandError
        The method takes more bands than there are.
    """
    method = (Ssda if config.method == "auto" else METHODS[config.method]).load(config)
    try:
        method.require_bands(bands)
    except BandError:
        if config.method != "auto":
            raise
        progress.warn("the style model takes more bands than there are: histogram is used")
        return Histogram()
    return method


def method_for_style(
    method: Method, style: Style | None, config: HarmonizeConfig, progress: Progress = SILENT
) -> Method:
    """Return the method if it can use the style; for ``auto``, else histogram.

    Parameters
    ----------
    method : Method
        As :func:`load_method` has returned it.
    style : Style or None
    config : HarmonizeConfig
    progress : Progress
        Warned where ``auto`` becomes histogram.

    Raises
    ------
    StyleError
        The method cannot use the style.
    """
    try:
        method.require_style(style)
    except StyleError:
        if config.method != "auto" or style is None:
            raise
        progress.warn(
            f"the style {style.name} was made without the style model, or from too small an image: "
            "histogram is used"
        )
        return Histogram()
    return method

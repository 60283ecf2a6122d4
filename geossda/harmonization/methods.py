"""Harmonization methods by name, one class each.

A method measures each source of a mosaic and makes the transform of its windows from what it
measured, so that how the mosaic is cut into tiles cannot show. To add one, write its class beside
the others, add it here and its name in :mod:`geossda.config`; the command line, the QGIS dialogs,
``matrix`` and ``evaluate-style`` list it from there.
"""

from typing import cast

from geossda.config import HarmonizeConfig, MapMethod
from geossda.harmonization.map_methods import GraphMatching, Mixture, SampledMap
from geossda.harmonization.measure import STATISTICS
from geossda.harmonization.method import Method, PixelMethod
from geossda.harmonization.model_methods import Ssda, Translation
from geossda.harmonization.pixel_methods import (
    Equalize,
    GrayWorld,
    Histogram,
    Linear,
    Reinhard,
    Unchanged,
)
from geossda.harmonization.statistic import Statistic

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

"""Adaptation strategies by name: the methods of the paper's Table I.

A strategy is one class: what it does to patches (``labelled`` and ``target``), to the scaling of
rasters, and to the loss (``objective``). A new one is a class in :data:`STRATEGIES` and a name in
:data:`geossda.config.AdaptMethod`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from geossda.adapt.color_clusters import graph_transfers, measure_places
from geossda.adapt.domain_translation import domain_translations, standardized
from geossda.adapt.photometric import HistogramMatching, gamma, hsv
from geossda.adapt.style_transfer import domain_transfers, measure_styles, style_transfers
from geossda.config import AdaptMethod, ScalingKind, TrainSegmenterConfig
from geossda.data.patches import Recolor
from geossda.data.scaled_rasters import WorkingRaster
from geossda.errors import InputError, StyleError
from geossda.progress import SILENT, Progress
from geossda.runtime.domain_model import DomainModel
from geossda.runtime.style_network import StyleModel, load_style_model
from geossda.training.mean_teacher import MeanTeacher
from geossda.training.objective import Objective

# With `mix`, the least fraction of the way to the histogram of another patch.
LEAST_MIXING = 0.3


class TrainingRasters(NamedTuple):
    """What a strategy is prepared from.

    Attributes
    ----------
    config : TrainSegmenterConfig
        With ``adapt`` resolved.
    sources : sequence of WorkingRaster
        Rasters with labels.
    targets : sequence of WorkingRaster
        Rasters without labels, which the model is for.
    progress : Progress
    """

    config: TrainSegmenterConfig
    sources: Sequence[WorkingRaster]
    targets: Sequence[WorkingRaster]
    progress: Progress = SILENT

    @property
    def places(self) -> int:
        """Number of places that the labels are of: folders that hold labelled rasters."""
        return len({raster.folder for raster in self.sources})

    def style_model(self) -> StyleModel:
        """Load the style model of the settings, for the rasters' bands."""
        model = load_style_model(self.config.style_model, self.config.device)
        model.require_bands(self.sources[0].mosaic.count)
        return model


@dataclass(frozen=True)
class Strategy:
    """What prepares a segmenter for the target's colours; the base class changes no patch.

    Attributes
    ----------
    labelled : callable or None
        Gives labelled patches the colours of the target.
    target : callable or None
        Gives target patches other colours, the noise of a consistency loss.
    needs_target : bool
        Whether the strategy cannot do without target imagery.
    needs_style_model : bool
        Whether results depend on the style model of the settings.
    scaling : str or None
        How all rasters are scaled, whatever the settings say.
    """

    labelled: Recolor | None = None
    target: Recolor | None = None
    needs_target: ClassVar[bool] = False
    needs_style_model: ClassVar[bool] = False
    scaling: ClassVar[ScalingKind | None] = None

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> "Strategy":
        """Measure and load what the strategy needs."""
        return cls()

    @classmethod
    def mapped(
        cls,
        config: TrainSegmenterConfig,
        rasters: Sequence[WorkingRaster],
        progress: Progress = SILENT,
    ) -> list[WorkingRaster]:
        """Return rasters, labelled ones and others alike, as they are trained and predicted on.

        Parameters
        ----------
        config : TrainSegmenterConfig
        rasters : sequence of WorkingRaster
        progress : Progress
        """
        return list(rasters)

    def objective(self, rasters: TrainingRasters) -> Objective:
        """Return the loss to train with: by default a mean teacher's, where there is a target."""
        config = rasters.config
        if config.mean_teacher and rasters.targets:
            return MeanTeacher(
                config.steps, config.building_fraction, rasters.places, config.auxiliary
            )
        return Objective(config.auxiliary)


class Equalize(Strategy):
    """Equalized histograms of all rasters, in training and in prediction."""

    scaling = "equalize"


class RandomHsv(Strategy):
    """Random shifts of hue, saturation and value."""

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Return the same shifts for labelled and target patches."""
        return cls(hsv, hsv)


class RandomGamma(Strategy):
    """Random exponents."""

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Return the same exponents for labelled and target patches."""
        return cls(gamma, gamma)


class RandomHistogramMatching(Strategy):
    """Histograms of random patches of the target; for target patches, of any raster."""

    needs_target = True

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Return the two matchings."""
        _, sources, targets, _ = rasters
        side = rasters.config.patch
        return cls(HistogramMatching(targets, side), HistogramMatching([*sources, *targets], side))


class HistogramMixing(Strategy):
    """Part of the way to the histograms of random patches of any raster, labelled or not."""

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Return the same matching for labelled and target patches."""
        _, sources, targets, _ = rasters
        mixing = HistogramMatching([*sources, *targets], rasters.config.patch, LEAST_MIXING)
        return cls(mixing, mixing)


class GraphAdaptation(Strategy):
    """Colors of the target's places by graph matching; for target patches, of any place."""

    needs_target = True

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Measure the clusters of each place's colors and return the two transfers."""
        config, sources, targets, progress = rasters
        places = measure_places([*sources, *targets], config.patch, config.seed, progress=progress)
        return cls(*graph_transfers(places, sources, targets))


class StyleAdaptation(Strategy):
    """SS(DA)²: measured styles of whole target rasters; for target patches, of any raster."""

    needs_target = True
    needs_style_model = True

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Measure the style of each raster and return the two transfers.

        Raises
        ------
        StyleError
            The style model is one of declared domains.
        """
        config, sources, targets, progress = rasters
        model = rasters.style_model()
        if isinstance(model, DomainModel):
            raise StyleError(
                f"the style model {model.card.name} is of preset {model.card.preset}, which "
                "translates between domains: give --adapt translation, or another --style-model"
            )
        statistics = measure_styles(
            model,
            [*sources, *targets],
            config.patch,
            config.structure,
            config.seed,
            progress=progress,
        )
        return cls(*style_transfers(model, statistics, sources, targets, config.structure))


class DomainAdaptation(Strategy):
    """DAug: learned styles of declared domains, which are the rasters' folders."""

    needs_target = True
    needs_style_model = True

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Return the two transfers."""
        return cls(*domain_transfers(rasters.style_model(), rasters.sources, rasters.targets))


class TranslationAdaptation(Strategy):
    """Translation to the target's domains; for target patches, to any raster's."""

    needs_target = True
    needs_style_model = True

    @classmethod
    def prepare(cls, rasters: TrainingRasters) -> Strategy:
        """Measure each raster on the way to each domain and return the two translations."""
        config, sources, targets, progress = rasters
        return cls(
            *domain_translations(
                rasters.style_model(),
                sources,
                targets,
                config.patch,
                config.structure,
                config.seed,
                progress=progress,
            )
        )


class Standardization(Strategy):
    """StandardGAN: all rasters put to one standard, in training and in prediction."""

    needs_style_model = True

    @classmethod
    def mapped(
        cls,
        config: TrainSegmenterConfig,
        rasters: Sequence[WorkingRaster],
        progress: Progress = SILENT,
    ) -> list[WorkingRaster]:
        """Return the rasters standardized.

        Parameters
        ----------
        config, rasters, progress
            As for :meth:`Strategy.mapped`.
        """
        if not rasters:
            return []
        model = load_style_model(config.style_model, config.device)
        model.require_bands(rasters[0].mosaic.count)
        return standardized(
            model, rasters, config.patch, config.structure, config.seed, progress=progress
        )


STRATEGIES: dict[AdaptMethod, type[Strategy]] = {
    "none": Strategy,
    "equalize": Equalize,
    "hsv": RandomHsv,
    "gamma": RandomGamma,
    "rhm": RandomHistogramMatching,
    "mix": HistogramMixing,
    "graph": GraphAdaptation,
    "ssda": StyleAdaptation,
    "daug": DomainAdaptation,
    "translation": TranslationAdaptation,
    "standardgan": Standardization,
}


def resolve_adaptation(
    config: TrainSegmenterConfig, places: int, has_target: bool
) -> TrainSegmenterConfig:
    """Return the settings with the method that ``auto`` stands for, and with its scaling.

    With labels of one place, ``auto`` is ``ssda`` with the mean teacher. With labels of several it
    does without the teacher, and is ``none`` where values are stretched between percentiles and
    colours jittered, which gains as much (docs/decisions/0007).

    Parameters
    ----------
    config : TrainSegmenterConfig
    places : int
        Number of places that the labels are of: folders that hold labelled rasters.
    has_target : bool
        Whether there is target imagery.

    Raises
    ------
    InputError
        The method needs target imagery, and there is none.
    """
    method, teacher = config.adapt, config.mean_teacher
    if method == "auto":
        several = has_target and places > 1
        robust = config.scaling == "percentile" and config.jitter
        method = "none" if not has_target or (several and robust) else "ssda"
        teacher = teacher and not several
    if STRATEGIES[method].needs_target and not has_target:
        raise InputError(
            f"--adapt {method} takes its colours from unlabelled imagery: give --target"
        )
    scaling = STRATEGIES[method].scaling or config.scaling
    return dataclasses.replace(config, adapt=method, mean_teacher=teacher, scaling=scaling)

"""Statistics of sources and styles of references, measured on rasters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from geossda.config import Structure
from geossda.harmonization.model_statistics import Covariance, Features
from geossda.harmonization.reading import RasterReading
from geossda.harmonization.reference_statistics import (
    Colors,
    Lab,
    Moments,
    Pixels,
    Quantiles,
    Sample,
)
from geossda.harmonization.statistic import (
    Measured,
    Statistic,
    from_statistics_state,
    measure_all,
)
from geossda.harmonization.style import Style
from geossda.progress import SILENT, Progress
from geossda.raster.histograms import Histograms
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import Mosaic
from geossda.urls import file_name

if TYPE_CHECKING:
    from geossda.runtime.style_network import StyleModel

# Those of the methods that come with the package, in the order of style files.
STATISTICS: tuple[type[Statistic], ...] = (
    Quantiles, Moments, Lab, Pixels, Covariance, Features, Colors, Sample
)  # fmt: skip


@dataclass(frozen=True)
class SourceStatistics(Measured):
    """Statistics of one image that a pixelwise method changes.

    Attributes
    ----------
    histograms : Histograms
    dtype : numpy dtype
    working_range : (float, float)
        Digital numbers that the sensor fills.
    statistics : dict
        What the method needs besides, by its class; None where there was nothing to measure.
    """

    histograms: Histograms
    dtype: np.dtype[Any]
    working_range: tuple[float, float]
    statistics: Mapping[type[Statistic], Statistic | None]

    def to_state(self) -> dict[str, Any]:
        """Return the statistics as arrays, texts and floats, to be saved."""
        return {
            "first": float(self.histograms.first),
            "step": float(self.histograms.step),
            "counts": self.histograms.counts,
            "dtype": str(self.dtype),
            "limits": [float(end) for end in self.working_range],
            "statistics": self.statistics_state(),
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], needs: Sequence[type[Statistic]]
    ) -> "SourceStatistics":
        """Return the statistics that :meth:`to_state` has written, those that are needed."""
        low, high = state["limits"]
        return cls(
            Histograms(state["first"], state["step"], state["counts"]),
            np.dtype(state["dtype"]),
            (low, high),
            from_statistics_state(state["statistics"], needs),
        )


def read_source(
    mosaic: Mosaic, style: Style | None = None, progress: Progress = SILENT
) -> RasterReading:
    """Check a mosaic of one source and return it to measure statistics on.

    Parameters
    ----------
    mosaic : Mosaic
    style : Style, optional
        The target, or a style to be pooled with. If its type is the source's, digital numbers mean
        the same in both, and its working range is taken.
    progress : Progress
    """
    check_imagery(mosaic, progress)
    same = style is not None and style.dtype == mosaic.dtype
    return RasterReading(mosaic, style.working_range if style and same else None, progress)


def measure_source(
    mosaic: Mosaic,
    needs: Sequence[type[Statistic]] = (),
    *,
    style: Style | None = None,
    progress: Progress = SILENT,
) -> SourceStatistics:
    """Measure a mosaic of one source.

    Parameters
    ----------
    mosaic : Mosaic
    needs : sequence of Statistic classes
        What to measure besides histograms.
    style : Style, optional
        The target, see :func:`read_source`.
    progress : Progress

    Raises
    ------
    EmptyRasterError
        Not one valid pixel.
    """
    reading = read_source(mosaic, style, progress)
    return SourceStatistics(
        reading.histograms, mosaic.dtype, reading.working_range, measure_all(reading, needs)
    )


def warn_of_one_color(style: Style, progress: Progress) -> None:
    """Warn of a style whose pixels all have the same values.

    Parameters
    ----------
    style : Style
    progress : Progress
    """
    low, high = style.working_range
    if (style.std < 1e-6 * (high - low)).all():
        progress.warn(
            f"the style {style.name} is of one colour, and results will be: check its nodata "
            "value, or choose a reference that shows more"
        )


def check_colors(style: Style, mosaic: Mosaic, progress: Progress) -> None:
    """Warn if the bands of a style and of a mosaic's sources do not show the same colours.

    Parameters
    ----------
    style : Style
        Of as many bands.
    mosaic : Mosaic
    progress : Progress
        Warned of the first source that differs, or whose order of bands the style may not have;
        noted of the first source that declares no colours where the style does.
    """
    for source in mosaic.sources:
        pairs = list(zip(source.colors, style.colors, strict=False))
        if any(one and other and one != other for one, other in pairs):
            of_source, of_style = (
                ", ".join(color or "unknown" for color in colors)
                for colors in zip(*pairs, strict=True)
            )
            progress.warn(
                f"{source.name} has the bands {of_source}, the style {style.name} {of_style}: each "
                "is matched with the one in its place; choose alike ones with --bidx"
            )
            return
        if source.reordered and not any(style.colors):
            progress.warn(
                f"the style {style.name} does not say what its bands show: they are taken as "
                f"{', '.join(color or 'unknown' for color in source.colors)}, as {source.name} "
                "declares its own"
            )
            return
    undeclared = [source for source in mosaic.sources if not any(source.colors)]
    if undeclared and any(style.colors):
        progress.note(
            f"{undeclared[0].name} does not say what its bands show: they are taken as "
            f"{', '.join(color or 'unknown' for color in style.colors)}, as the style "
            f"{style.name} declares its own"
        )


def measure_style(
    mosaic: Mosaic,
    statistics: Sequence[type[Statistic]],
    progress: Progress = SILENT,
    *,
    like: Style | None = None,
    model: "StyleModel | None" = None,
    structures: Sequence[Structure] = get_args(Structure),
) -> Style:
    """Measure a reference raster (the first source of `mosaic`).

    Parameters
    ----------
    mosaic : Mosaic
    statistics : sequence of Statistic classes
        What to measure.
    progress : Progress
    like : Style, optional
        A style to be pooled with, whose working range is taken if their types are the same.
    model : StyleModel, optional
        Measures what the learned method needs, if it takes no more bands than there are.
    structures : sequence of {"lock", "full"}
        What it will be used for.
    """
    reading = replace(
        read_source(mosaic.alone(0), like, progress), model=model, structures=structures
    )
    return Style(
        file_name(mosaic.sources[0].path),
        str(mosaic.dtype),
        reading.working_range,
        measure_all(reading, statistics),
    )

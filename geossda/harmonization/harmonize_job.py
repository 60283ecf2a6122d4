"""The parts of a harmonized mosaic: opened, measured and made, here or on a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from geossda.balance.balancing import levelled, with_levels
from geossda.color.classical import NEED_LAB, Source, fit
from geossda.color.style import Style
from geossda.config import ColorMethod, HarmonizeConfig
from geossda.harmonization.measure import measure_source
from geossda.harmonization.tiles import PixelTransform, WindowTransform, recolor
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.statistics import Histograms
from geossda.raster.validity import Validity
from geossda.raster.windows import Window, tiles
from geossda.runs.shards import Layout, Shards, strips_of

if TYPE_CHECKING:
    from geossda.models.style_model import StyleModel


@dataclass(frozen=True)
class HarmonizeTask:
    """What a worker needs to know to make parts of a mosaic.

    Attributes
    ----------
    paths : tuple of str
        Absolute, or URLs.
    config : HarmonizeConfig
        With a method that is settled.
    folder : str
        Of the parts, where the measurements are too.
    key : str
        Another one for other measurements.
    """

    paths: tuple[str, ...]
    config: HarmonizeConfig
    folder: str
    key: str


@dataclass(frozen=True)
class HarmonizeJob:
    """Makes the parts of one harmonized mosaic.

    Attributes
    ----------
    mosaic : Mosaic
    transforms : list of WindowTransform
        One a source.
    parts : Shards
    config : HarmonizeConfig
    """

    mosaic: Mosaic
    transforms: list[WindowTransform]
    parts: Shards
    config: HarmonizeConfig

    least_run: ClassVar[int] = 1

    def steps(self, index: int) -> int:
        """Count the tiles of a part."""
        strip = self.parts.layout.strips[index]
        return sum(1 for _ in tiles((strip.height, strip.width), self.config.tile))

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Make parts; advances by one a tile."""
        recolor(
            self.mosaic,
            self.transforms,
            self.parts,
            indexes,
            tile_px=self.config.tile,
            feather_px=self.config.feather,
            area=area_of(self.mosaic, self.config),
            progress=progress,
        )


def open_for(paths: Sequence[str], config: HarmonizeConfig) -> Mosaic:
    """Open the mosaic that is harmonized, the same here and on workers."""
    return open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)


def area_of(mosaic: Mosaic, config: HarmonizeConfig) -> Window:
    """Say which part is wanted. Statistics are the whole's, so its pixels are too."""
    if config.bounds is None:
        return Window(0, 0, *mosaic.shape)
    return mosaic.window_of(config.bounds, config.bounds_crs)


def layout_of(mosaic: Mosaic, config: HarmonizeConfig) -> Layout:
    """Say what the result is: of one source, all the source is but its colours."""
    area = area_of(mosaic, config)
    validity, nodata = _output_validity(mosaic)
    return Layout(
        mosaic.grid[area.rows, area.cols],
        mosaic.count,
        mosaic.dtype,
        validity,
        nodata,
        strips_of((area.height, area.width)),
    )


def measure_state(
    mosaic: Mosaic,
    look: Style | None,
    model: "StyleModel | None",
    config: HarmonizeConfig,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure all sources: what the transforms follow from, as numbers that can be saved."""
    scenes = config.scenes if config.strength > 0 else "none"
    mosaic, found = levelled(mosaic, scenes, progress=progress)
    return {
        "levels": [None if levelling is None else levelling.to_state() for levelling in found],
        "style": None if look is None else look.to_state(),
        "sources": [
            _measure(mosaic, index, look, model, config, progress)
            for index in range(len(mosaic.sources))
        ],
    }


def transforms_from(
    numbers: dict[str, Any], model: "StyleModel | None", config: HarmonizeConfig
) -> list[WindowTransform]:
    """Make the transforms, one a source, out of what was measured."""
    look = None if numbers["style"] is None else Style.from_state(numbers["style"])
    return [_transform(source, look, model, config) for source in numbers["sources"]]


def open_harmonize_job(recipe: HarmonizeTask) -> HarmonizeJob:
    """Open all that a recipe names, on a worker."""
    config = recipe.config
    model = None
    if config.method == "ssda":
        from geossda.models.style_model import load_style_model

        model = load_style_model(config.style_model, config.device)
    with gdal_environment():
        mosaic = open_for(recipe.paths, config)
        parts = Shards(Path(recipe.folder), layout_of(mosaic, config))
        measured = parts.load("measured")
        mosaic = with_levels(mosaic, measured["levels"])
    return HarmonizeJob(mosaic, transforms_from(measured, model, config), parts, config)


def _measure(
    mosaic: Mosaic,
    index: int,
    look: Style | None,
    model: "StyleModel | None",
    config: HarmonizeConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Measure one source, as its method needs it."""
    lab = config.method in NEED_LAB
    source = measure_source(mosaic, index, lab=lab, style=look, progress=progress)
    if model is None or look is None or config.method != "ssda":
        found = source.histograms
        return {
            "first": float(found.first),
            "step": float(found.step),
            "counts": found.counts,
            "dtype": str(source.dtype),
            "limits": [float(end) for end in source.working_range],
            "lab_mean": source.lab_mean,
            "lab_std": source.lab_std,
        }
    from geossda.harmonization.ssda_transform import fit_learned

    return fit_learned(
        mosaic.alone(index),
        look,
        model,
        config.structure,
        source.working_range,
        config.strength,
        progress=progress,
    ).to_state()


def _transform(
    numbers: dict[str, Any],
    look: Style | None,
    model: "StyleModel | None",
    config: HarmonizeConfig,
) -> WindowTransform:
    """Fit the method to what was measured of one source."""
    if model is None or look is None or config.method != "ssda":
        source = Source(
            Histograms(numbers["first"], numbers["step"], numbers["counts"]),
            np.dtype(numbers["dtype"]),
            (numbers["limits"][0], numbers["limits"][1]),
            numbers["lab_mean"],
            numbers["lab_std"],
        )
        method = cast(ColorMethod, config.method)
        return PixelTransform(fit(method, source, look, config.strength))
    from geossda.harmonization.ssda_transform import LearnedTransform

    return LearnedTransform.from_state(numbers, look, model, config.structure, config.strength)


def _output_validity(mosaic: Mosaic) -> tuple[Validity, float | None]:
    """Keep the sources' way to tell nodata if they share one, else use a mask band."""
    first = mosaic.sources[0]
    kinds = {(source.validity, source.nodata) for source in mosaic.sources}
    if len(mosaic.sources) == 1 or (len(kinds) == 1 and first.validity in ("nodata", "alpha")):
        return first.validity, first.nodata
    return "mask", None

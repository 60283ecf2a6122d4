"""Harmonization of one mosaic, shard by shard, in this process or on a worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from geossda.balance.balancing import balance_scenes, with_balance
from geossda.balance.overlap_balance import balance_overlaps, with_gains
from geossda.balance.seamlines import Seamlines, seamlines_for
from geossda.config import HarmonizeConfig
from geossda.errors import GeoreferenceError
from geossda.harmonization.method import Method
from geossda.harmonization.methods import METHODS, known_statistics
from geossda.harmonization.style import Style
from geossda.harmonization.tiles import WindowTransform, recolor
from geossda.progress import SILENT, Progress
from geossda.raster.area import read_area
from geossda.raster.imagery import warn_of_distance
from geossda.raster.mosaic import Mosaic, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.validity import Validity
from geossda.raster.windows import Window, tiles
from geossda.runs.distribute import ShardTask
from geossda.runs.shard_layout import Layout, strips_of
from geossda.runs.shards import Shards

STATE = "measured"


@dataclass(frozen=True)
class HarmonizeJob:
    """Makes the shards of one harmonized mosaic.

    Attributes
    ----------
    mosaic : Mosaic
    transforms : list of WindowTransform
        One per source.
    shards : Shards
    config : HarmonizeConfig
    seamlines : Seamlines or None
        Where sources are cut; None to blend overlaps.
    """

    mosaic: Mosaic
    transforms: list[WindowTransform]
    shards: Shards
    config: HarmonizeConfig
    seamlines: Seamlines | None = None

    min_run: ClassVar[int] = 1

    def steps(self, index: int) -> int:
        """Return the number of tiles of a shard."""
        strip = self.shards.layout.strips[index]
        return sum(1 for _ in tiles((strip.height, strip.width), self.config.tile))

    def make(self, indexes: Sequence[int], progress: Progress = SILENT) -> None:
        """Write shards; advances by one per tile."""
        recolor(
            self.mosaic,
            self.transforms,
            self.shards,
            indexes,
            tile_px=self.config.tile,
            feather_px=self.config.seamline_feather if self.seamlines else self.config.feather,
            seamlines=self.seamlines,
            area=area_of(self.mosaic, self.config),
            progress=progress,
        )


def open_for(paths: Sequence[str], config: HarmonizeConfig) -> Mosaic:
    """Open the mosaic to harmonize, alike in this process and on workers.

    Parameters
    ----------
    paths : sequence of str
    config : HarmonizeConfig
    """
    mosaic = open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)
    return mosaic if config.area is None else mosaic.within(read_area(config.area))


def area_of(mosaic: Mosaic, config: HarmonizeConfig) -> Window:
    """Return the window to write: what bounds touch, and of that what the area reaches into.

    Statistics are the whole mosaic's whatever the bounds, so its pixels are too; those of an area
    are the area's.

    Parameters
    ----------
    mosaic : Mosaic
    config : HarmonizeConfig

    Raises
    ------
    GeoreferenceError
        Bounds or area do not overlap the mosaic, or each other.
    """
    window = Window(0, 0, *mosaic.shape)
    if config.bounds is not None:
        window = mosaic.window_of(config.bounds, config.bounds_crs)
    if mosaic.area is None:
        return window
    both = window.intersection(mosaic.area.window(mosaic.grid))
    if both is None:
        raise GeoreferenceError(f"the area {mosaic.area.name} does not overlap the bounds")
    return both


def layout_of(mosaic: Mosaic, config: HarmonizeConfig) -> Layout:
    """Return the layout of the result: that of the source, if there is one source.

    Parameters
    ----------
    mosaic : Mosaic
    config : HarmonizeConfig
    """
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
    style: Style | None,
    method: Method,
    config: HarmonizeConfig,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure the scenes, overlaps and sources of a mosaic.

    Balanced sources are measured together, so that one transform keeps them at one level.

    Parameters
    ----------
    mosaic : Mosaic
    style : Style or None
    method : Method
    config : HarmonizeConfig
    progress : Progress

    Returns
    -------
    dict
        ``levels`` (tone balance of each source), ``gains`` (of each source), ``seamlines``,
        ``style`` and ``sources`` (what the method measured), to be saved for later attempts and
        workers.
    """
    warn_of_distance(mosaic, progress)
    changes, count = config.strength > 0, len(mosaic.sources)
    scenes = config.scenes if changes else "none"
    mosaic, balances = balance_scenes(mosaic, scenes, progress=progress)
    balance = config.balance if changes else "none"
    mosaic, gains = balance_overlaps(
        mosaic, balance, config.balance_cost, config.balance_space, progress=progress
    )
    seamlines = seamlines_for(mosaic, config.seamlines, progress=progress)
    if balance == "none":
        measured = [method.measure(mosaic.alone(i), style, progress) for i in range(count)]
    else:
        measured = [method.measure(mosaic, style, progress)] * count
    return {
        "levels": [None if each is None else each.to_state() for each in balances],
        "gains": [None if each is None else each.to_state() for each in gains],
        "seamlines": None if seamlines is None else seamlines.to_state(),
        "style": None if style is None else style.to_state(),
        "sources": measured,
    }


def state_of(state: dict[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """Return what was measured of some of a mosaic's sources.

    Parameters
    ----------
    state : dict
        As :func:`measure_state` returns it.
    places : sequence of int
        Their places in the mosaic.
    """
    by_source = ("levels", "gains", "sources")
    return state | {key: [state[key][place] for place in places] for key in by_source}


def job_from(
    mosaic: Mosaic,
    state: dict[str, Any],
    method: Method,
    shards: Shards,
    config: HarmonizeConfig,
) -> HarmonizeJob:
    """Return the job for a mosaic whose state was measured before.

    Parameters
    ----------
    mosaic : Mosaic
    state : dict
        As :func:`measure_state` returns it.
    method : Method
    shards : Shards
    config : HarmonizeConfig
    """
    style = None
    if state["style"] is not None:
        style = Style.from_state(state["style"], known_statistics())
    transforms = [method.transform(each, style, config.strength) for each in state["sources"]]
    balanced = with_gains(with_balance(mosaic, state["levels"]), state["gains"])
    cut = state["seamlines"]
    seamlines = None if cut is None else Seamlines.from_state(cut)
    return HarmonizeJob(balanced, transforms, shards, config, seamlines)


def open_harmonize_job(task: ShardTask[HarmonizeConfig]) -> HarmonizeJob:
    """Open everything that a task names, on a worker."""
    config = task.config
    method = METHODS[config.method].load(config)
    with gdal_environment():
        mosaic = open_for(task.paths, config)
        shards = task.shards(layout_of(mosaic, config))
        return job_from(mosaic, shards.load(STATE), method, shards, config)


def _output_validity(mosaic: Mosaic) -> tuple[Validity, float | None]:
    """Return the sources' common way to mark nodata, or a mask band if they differ."""
    first = mosaic.sources[0]
    kinds = {(source.validity, source.nodata) for source in mosaic.sources}
    if len(mosaic.sources) == 1 or (len(kinds) == 1 and first.validity in ("nodata", "alpha")):
        return first.validity, first.nodata
    return "mask", None

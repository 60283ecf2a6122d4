"""A page about a harmonized raster."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geossda.balance.scenes import read_scenes
from geossda.config import HarmonizeConfig, ReportConfig, config_from
from geossda.errors import GeoreferenceError, InputError, SettingError
from geossda.evaluation.html_page import plain, plots, render
from geossda.evaluation.pair import Pair
from geossda.evaluation.pictures import before_and_after, draw_structure_map, legend
from geossda.evaluation.scene_seams import SceneStep, scene_steps
from geossda.evaluation.structure_map import UNCHANGED, StructureMap, compare_structure
from geossda.evaluation.window_seams import LatticeSteps, lattice_steps
from geossda.progress import SILENT, Progress
from geossda.raster.area import read_area
from geossda.raster.cog import new_cog
from geossda.raster.description import provenance
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.handles import open_dataset
from geossda.raster.histograms import Histograms, histograms
from geossda.raster.imagery import warn_of_fill
from geossda.raster.mosaic import Mosaic, find_sources, open_mosaic
from geossda.raster.opening import open_source
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window, tiles
from geossda.runs.lock import exclusive
from geossda.runs.run import timings_file
from geossda.staging import PathLike, atomic_write, check_output
from geossda.urls import file_name, file_stem, is_remote

# Bars of a histogram do not get better with more pixels than this.
HISTOGRAM_PX = 2**23
MAP_PX = 700
ROWS = 20


@dataclass(frozen=True)
class ReportResult:
    """What `report` wrote and measured.

    Attributes
    ----------
    page : Path
    qa : Path or None
        The raster of likeness by cells, if it was asked for.
    figures : dict
        Every figure of the page, JSON-ready; null where there is none.
    """

    page: Path
    qa: Path | None
    figures: dict[str, Any]


@exclusive(lambda given: [given["output"] or _beside(given["harmonized"]), given["qa"]])
def report(
    harmonized: PathLike,
    output: PathLike | None = None,
    *,
    sources: PathLike | Sequence[PathLike] | None = None,
    scenes: PathLike | None = None,
    qa: PathLike | None = None,
    config: ReportConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> ReportResult:
    """Write a page that shows what `harmonize` made of a raster.

    Parameters
    ----------
    harmonized : path
        A raster written by `harmonize`.
    output : path, optional
        The page; ``<stem>_report.html`` beside the raster by default.
    sources : path or sequence of path, optional
        What it was made from, in the same order; files of the names it carries, beside it, by
        default.
    scenes : path, optional
        Polygons of the scenes the sources were put together from, to measure the steps in colour
        where they meet.
    qa : path, optional
        Write the likeness of what is drawn, by cells, as a raster: 1 where nothing changed.
    config : ReportConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    ReportResult
        What was written and measured.

    Raises
    ------
    InputError
        `qa` and `output` are one file.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(ReportConfig, config, settings)
    harmonized = os.fspath(harmonized)
    with gdal_environment():
        tags = _tags(harmonized)
        recorded = _recorded(harmonized, tags)
        after = _open_result(harmonized, recorded, config)
        paths = _sources(harmonized, tags, sources)
        inputs = [harmonized, *paths, *([scenes] if scenes else [])]
        page = check_output(
            output or _beside(harmonized), overwrite=config.overwrite, inputs=inputs
        )
        if qa is not None:
            qa = check_output(qa, overwrite=config.overwrite, inputs=inputs)
            if qa.absolute() == page.absolute():
                raise InputError(f"{qa} cannot be both the page and the raster: name two files")
        before = open_mosaic(
            paths, bands=recorded.get("bidx") or None, nodata=recorded.get("nodata")
        ).resampled(after.grid)
        before = before.within(after.area)
        warn_of_fill(before, progress)
        pair = Pair(before, after)
        outlines = read_scenes(scenes, after.grid).polygons if scenes is not None else None
        drawing = compare_structure(pair, config.cell, progress=progress)
        if not len(drawing.known):
            progress.warn(
                f"no cell of {config.cell} px holds enough valid pixels to compare its structure: "
                "give a smaller --cell"
            )
        values = tuple(
            histograms(mosaic, budget_px=HISTOGRAM_PX, progress=progress)
            for mosaic in (before, after)
        )
        tile = recorded.get("tile", HarmonizeConfig().tile)
        seams = lattice_steps(pair, tile, progress=progress)
        steps = None
        if outlines is not None:
            steps = scene_steps(pair, outlines, config.reach, progress=progress)
            if not steps:
                progress.warn(f"{scenes}: no two scenes meet within the raster")
        images = before_and_after(pair, config.width, progress=progress)
        names = _band_names(after)
        figures = plain(
            {
                "output": file_name(harmonized),
                "sources": [file_name(path) for path in paths],
                **{key: tags.get(key) for key in ("version", "method", "style")},
                "settings": recorded or None,
                **_about(after),
                "nodata_share": 1 - drawing.pixels / (after.shape[0] * after.shape[1]),
                "histograms": _band_statistics(values, names),
                "seams": _seams(tile, *seams),
                "strips": None if steps is None else [_strip(step) for step in steps],
                "drawing": _drawing(drawing),
                "stages": _stages(harmonized),
            }
        )
        text = render(
            figures=figures,
            images=images,
            plots=plots(values[0], values[1], names),
            map=draw_structure_map(drawing, MAP_PX),
            legend=legend(),
            alike=UNCHANGED,
            rows=ROWS,
        )
        with atomic_write(page) as part:
            part.write_text(text, encoding="utf-8")
            if qa is not None:
                _write_qa(qa, drawing, after, progress)
    return ReportResult(page, qa, figures)


def _open_result(path: str, recorded: dict[str, Any], config: ReportConfig) -> Mosaic:
    """Open the harmonized raster, its bands in the order that its sources are read in."""
    result = open_mosaic(path)
    if recorded.get("bidx"):  # chosen by hand, so not put in the order red, green, blue
        result = open_mosaic(path, bands=sorted(result.sources[0].bands))
    if config.area is not None:
        result = result.within(read_area(config.area)).cropped_to_area()
    return result


def _tags(path: str) -> dict[str, Any]:
    """Read what `harmonize` wrote of itself; empty for a raster it did not write."""
    open_source(path)  # refuses a missing file, or one that is not a raster, in one line
    with open_dataset(path) as dataset:
        given = dataset.tags()
    tags: dict[str, Any] = {}
    for name, text in given.items():
        if name.startswith("GEOSSDA_"):
            key = name.removeprefix("GEOSSDA_").lower()
            tags[key] = _parsed(path, name, text) if text[:1] in ("{", "[") else text
    if (command := tags.get("command", "harmonize")) != "harmonize":
        raise InputError(f"{path} was written by {command}, a result of harmonize was expected")
    return tags


def _recorded(path: str, tags: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the run, checked where they are used here."""
    given = tags.get("settings")
    if not isinstance(given, dict):
        return {}
    used = {name: given[name] for name in ("bidx", "nodata", "tile") if given.get(name) is not None}
    try:
        config_from(HarmonizeConfig, None, used)
    except SettingError as error:
        raise InputError(
            f"tag GEOSSDA_SETTINGS of {path} cannot be used ({error}): harmonize the raster again"
        ) from error
    return given


def _parsed(path: str, name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"tag {name} of {path} is not valid JSON ({error}): harmonize the raster again"
        ) from error


def _sources(
    harmonized: str, tags: dict[str, Any], given: PathLike | Sequence[PathLike] | None
) -> list[str]:
    """Find the sources of a harmonized raster."""
    if given is not None and given != ():
        return find_sources(given)
    names = tags.get("sources")
    if not isinstance(names, list) or not names:
        raise InputError(
            f"{harmonized} does not say what it was made from: name its sources with --source"
        )
    folder = os.path.dirname(harmonized)
    sources = []
    for name in names:
        path = os.path.join(folder, os.path.basename(str(name)))
        # A result can have its source's name, in another folder.
        if not os.path.exists(path) or os.path.samefile(path, harmonized):
            raise InputError(
                f"{harmonized} was made from {name}, which is not beside it: "
                "name its sources with --source"
            )
        sources.append(path)
    return sources


def _beside(harmonized: PathLike) -> Path:
    harmonized = os.fspath(harmonized)
    folder = Path.cwd() if is_remote(harmonized) else Path(harmonized).parent
    return folder / f"{file_stem(harmonized)}_report.html"


def _band_names(mosaic: Mosaic) -> list[str]:
    source = mosaic.sources[0]
    with open_dataset(source.path) as dataset:
        named = [
            dataset.descriptions[band - 1] or dataset.colorinterp[band - 1].name
            for band in source.bands
        ]
    return [
        f"{number}" if name in ("undefined", "gray") else f"{number} {name}"
        for number, name in zip(source.bands, named, strict=True)
    ]


def _about(mosaic: Mosaic) -> dict[str, Any]:
    height, width = mosaic.shape
    crs = mosaic.grid.crs
    try:
        gsd = ground_sample_distance(mosaic.grid)
    except GeoreferenceError:
        gsd = None
    return {
        "width": width,
        "height": height,
        "bands": mosaic.count,
        "dtype": str(mosaic.dtype),
        "crs": crs.to_wkt().split('"')[1] if crs else None,
        "epsg": crs.to_epsg() if crs else None,
        "gsd_m": gsd,
        "validity": mosaic.sources[0].validity,
        "nodata": mosaic.sources[0].nodata,
    }


def _band_statistics(values: Sequence[Histograms], names: list[str]) -> list[dict[str, Any]]:
    """Return each band's statistics before and after."""
    rows = []
    moments = [(one.mean(), one.std(), one.quantiles((0.02, 0.5, 0.98))) for one in values]
    for band, name in enumerate(names):
        row: dict[str, Any] = {"band": name}
        for which, (mean, std, ends) in zip(("before", "after"), moments, strict=True):
            row[which] = {
                "mean": mean[band],
                "std": std[band],
                "percentiles_2_50_98": ends[band],
            }
        rows.append(row)
    return rows


def _seams(tile: int, before: LatticeSteps, after: LatticeSteps) -> dict[str, Any]:
    sides = {
        which: {"border": steps.border, "middle": steps.middle, "ratio": steps.ratio}
        for which, steps in (("before", before), ("after", after))
    }
    return {"tile_px": tile, **sides, "added": after.ratio - before.ratio}


def _strip(step: SceneStep) -> dict[str, Any]:
    return {
        "scenes": [step.first, step.second],
        "places": step.places,
        "before": step.before,
        "after": step.after,
        "size_before": np.abs(step.before).mean(),
        "size_after": np.abs(step.after).mean(),
    }


def _drawing(drawing: StructureMap) -> dict[str, Any]:
    known = drawing.known
    return {
        "cell_px": drawing.cell_px,
        "cells": len(known),
        "median": np.median(known) if len(known) else None,
        "lowest_5_percent": np.quantile(known, 0.05) if len(known) else None,
        "share_under_0.9": drawing.changed,
    }


def _stages(harmonized: str) -> list[dict[str, Any]]:
    """Read the time and memory of the stages, if `harmonize --timings` has written them."""
    path = timings_file(harmonized)
    if is_remote(harmonized) or not path.is_file():
        return []
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}): remove it") from error
    if not isinstance(given, list):
        return []
    return [
        {key: stage.get(key) for key in ("stage", "seconds", "peak_mb")}
        for stage in given
        if isinstance(stage, dict)
    ]


def _write_qa(path: Path, drawing: StructureMap, after: Mosaic, progress: Progress) -> None:
    grid = drawing.grid(after.grid)
    cells = drawing.cells[None]
    with new_cog(
        path,
        grid,
        1,
        np.dtype(np.float32),
        validity="nodata",
        nodata=float("nan"),
        tags=provenance("report", of=file_name(after.sources[0].path), cell=drawing.cell_px),
        progress=progress,
    ) as writer:
        for window in tiles((int(grid.shape.y), int(grid.shape.x)), 1024):
            part = cells[:, window.rows, window.cols]
            writer.write(Window(*window), part, np.isfinite(part[0]))

"""Match the colors of rasters to a reference."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geossda.api.style import resolve_style
from geossda.balance.balancing import SCENE_KEYWORDS, check_scenes, count_scenes
from geossda.balance.overlap_balance import check_overlaps
from geossda.balance.seamlines import (
    SEAMLINE_KEYWORDS,
    Seamlines,
    check_seamlines,
    write_seamlines,
)
from geossda.config import (
    EXECUTION_ONLY,
    HarmonizeConfig,
    config_from,
    settings_of,
)
from geossda.errors import OutputError, StyleError
from geossda.formats import STYLE_SUFFIX, suffix_of
from geossda.harmonization.harmonize_job import (
    STATE,
    area_of,
    job_from,
    layout_of,
    measure_state,
    open_for,
    open_harmonize_job,
    state_of,
)
from geossda.harmonization.measure import check_colors
from geossda.harmonization.method import Method
from geossda.harmonization.method_choice import load_method, method_for_style, needs_style
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.style import Style
from geossda.layers import split_layer
from geossda.parallel.scheduler import check_scheduler, local_paths
from geossda.progress import SILENT, Progress, Stages, begin_output
from geossda.raster.creation_options import parse_creation_options
from geossda.raster.description import Description, provenance
from geossda.raster.mosaic import Mosaic, find_sources, mosaic_of
from geossda.raster.scaling import with_common_range
from geossda.raster.source import gdal_environment
from geossda.runs.fingerprint import absolute, digest, fingerprints
from geossda.runs.run import Run, check_outputs
from geossda.runs.shard_folder import load_if_matching
from geossda.staging import PathLike, check_output
from geossda.urls import file_stem, is_remote, public_name


@dataclass(frozen=True)
class HarmonizeResult:
    """Result of `harmonize`.

    Attributes
    ----------
    outputs : tuple of Path
    method : str
    style : str or None
        Name of the style.
    seamlines : Path or None
        The layer of seamlines, where they were to be found.
    """

    outputs: tuple[Path, ...]
    method: str
    style: str | None
    seamlines: Path | None = None


def harmonize(
    sources: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    style: PathLike | Sequence[PathLike] | Style | None = None,
    config: HarmonizeConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> HarmonizeResult:
    """Match the colors of rasters to a reference.

    Parameters
    ----------
    sources : path or sequence of path
        Files, folders, globs or URLs.
    output : path, optional
        A file: all sources become one mosaic, each by its own statistics (by common ones with
        `balance`), overlaps feathered. A folder (or a path ending in a separator): one file per
        source. None: ``<stem>_harmonized.tif`` beside each source.
    style : path, sequence of path or Style, optional
        Reference rasters or folders of them, or a style file made by `make_style`.
    config : HarmonizeConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    HarmonizeResult
        What was written.

    Raises
    ------
    StyleError
        The method needs a style and none is given, or the style cannot be used.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(HarmonizeConfig, config, settings)
    progress = Stages(progress)
    paths = find_sources(sources)
    mosaicked = config.balance != "none" or config.seamlines != "none"
    if style is None and config.method == "auto" and mosaicked:
        config = dataclasses.replace(config, method="none")
        progress.note("no style was given: colours are kept but for what balances the sources")
    if style is None and needs_style(config):
        raise StyleError(f"method {config.method} needs a style: give --style REF")
    references = [] if style is None or isinstance(style, Style) else _as_list(style)
    if config.match == "auto":  # each source would be matched by land of its own
        config = dataclasses.replace(config, match="whole" if len(paths) > 1 else "land")
    planned = _plan_outputs(paths, output)
    _check_planned(planned, output, config, inputs=[*paths, *references])
    options = parse_creation_options(config.co)
    check_scheduler(
        config.scheduler,
        local_paths([*paths, config.scenes, config.seamlines, config.area], planned[0][1]),
    )
    with gdal_environment():
        mosaics = [_open_checked(group, config) for group, _ in planned]
        mosaics = with_common_range(mosaics, progress=progress)
        together = _together(mosaics, config)
        method = load_method(config, min(mosaic.count for mosaic in mosaics), progress)
        method.prepare(mosaics[0], area_of(mosaics[0], config), config.tile)
        given = style if isinstance(style, Style) else _fingerprints(references)
        runs = [
            Run("harmonize", tuple(group), target,
                _inputs(mosaic, together, given, method, config), config, progress)
            for (group, target), mosaic in zip(planned, mosaics, strict=True)
        ]  # fmt: skip
        resumes = any(run.resumes for run in runs)
        pooled = style if isinstance(style, Style) else None
        if references and method.uses_style:
            pooled = _saved_style(runs) or resolve_style(
                references,
                nodata=config.nodata,
                nodata_must_fit=False,
                model=method.model,
                structures=[config.structure],
                needs=method.needs,
                progress=progress,
            )
        _check_style(mosaics, paths, references, style, pooled, method, progress)
        method = method_for_style(method, pooled, config, progress)
        _warn_of_ignored(config, method, progress)
        ran = {} if method.model is None else {"runtime": method.model.runtime.tag}
        config = dataclasses.replace(config, method=method.name, **_settings_of(method))
        planned[0][1].parent.mkdir(exist_ok=True)
        measure = _measured_once(together, pooled, method, config, progress)
        for number, (run, mosaic) in enumerate(zip(runs, mosaics, strict=True), start=1):
            begin_output(progress, number, len(runs))
            run = dataclasses.replace(run, config=config)
            tags = run.tags(method=method.name, style=pooled.name if pooled else "none", **ran)
            if not run.has_finished(run.output, tags, resumes=resumes):
                _harmonize_one(run, mosaic, method, measure, tags, options)
    return HarmonizeResult(
        tuple(run.output for run in runs),
        method.name,
        pooled.name if pooled else None,
        _seamlines_beside(runs[0].output) if config.seamlines == "auto" else None,
    )


def _harmonize_one(
    run: Run[HarmonizeConfig],
    mosaic: Mosaic,
    method: Method,
    measure: Callable[[Mosaic], dict[str, Any]],
    tags: dict[str, str],
    options: dict[str, str],
) -> None:
    """Balance, measure, make the shards and assemble them."""
    config, progress = run.config, run.progress
    with run.open(layout_of(mosaic, config)) as work:
        state = work.compute_once(STATE, lambda: measure(mosaic))
        job = job_from(mosaic, state, method, work.shards, config)
        work.make_shards(job, open_harmonize_job, "harmonizing")
        scenes = [count_scenes(levels) for levels in state["levels"]]
        work.shards.assemble(
            run.output,
            description=_description(mosaic, config),
            tags=tags | provenance("harmonize", scenes=scenes, **_gains_in(state)),
            options=options,
            progress=progress,
        )
        if config.seamlines == "auto":
            beside = _seamlines_beside(run.output)
            write_seamlines(Seamlines.from_state(state["seamlines"]), mosaic, beside)
            progress.note(f"seamlines: {beside}")
    run.save_timings()


def _seamlines_beside(output: Path) -> Path:
    return output.with_name(f"{output.stem}_seamlines.gpkg")


def _together(mosaics: list[Mosaic], config: HarmonizeConfig) -> Mosaic | None:
    """Return the sources of all outputs as one mosaic, if they are balanced among themselves."""
    if config.balance == "none":
        return None
    together = mosaic_of([source for mosaic in mosaics for source in mosaic.sources])
    check_overlaps(together, config.balance, config.balance_space)
    return together


def _measured_once(
    together: Mosaic | None,
    style: Style | None,
    method: Method,
    config: HarmonizeConfig,
    progress: Progress,
) -> Callable[[Mosaic], dict[str, Any]]:
    """Return what measures an output's mosaic; all sources once, if they are balanced together."""
    if together is None:
        return lambda mosaic: measure_state(mosaic, style, method, config, progress)
    paths = [source.path for source in together.sources]

    @functools.cache
    def whole() -> dict[str, Any]:
        return measure_state(together, style, method, config, progress)

    def measure(mosaic: Mosaic) -> dict[str, Any]:
        return state_of(whole(), [paths.index(source.path) for source in mosaic.sources])

    return measure


def _gains_in(state: dict[str, Any]) -> dict[str, Any]:
    """Return gains and offsets of the sources for the provenance of an output."""
    known = [each for each in state["gains"] if each]
    if not known:
        return {}
    return {
        key: [each and np.round(each[key], 6).tolist() for each in state["gains"]]
        for key in ("gains", "offsets")
    }


def _settings_of(method: Method) -> dict[str, Any]:
    """Return the settings by which workers choose the same runtime."""
    return {} if method.model is None else method.model.runtime.settings()


def _description(mosaic: Mosaic, config: HarmonizeConfig) -> Description:
    """Describe the output as its first source; what places it starts at the area's corner."""
    area = area_of(mosaic, config)
    alone = len(mosaic.sources) == 1
    return Description.of(mosaic.sources[0], (area.row, area.col) if alone else (0, 0))


def _check_planned(
    planned: list[tuple[list[str], Path]],
    output: PathLike | None,
    config: HarmonizeConfig,
    inputs: Sequence[PathLike],
) -> None:
    """Check that outputs may be written; a folder for them may be missing."""
    folder = planned[0][1].parent
    if _is_folder(output) and not folder.exists():
        check_output(folder, overwrite=False)
        return
    targets = [target for _, target in planned]
    check_outputs(targets, config, runs=targets, inputs=inputs)
    if config.seamlines == "auto":
        beside = [_seamlines_beside(target) for target in targets]
        check_outputs(beside, config, runs=targets, inputs=inputs)


def _open_checked(paths: list[str], config: HarmonizeConfig) -> Mosaic:
    """Open a mosaic and check all that can be checked without reading its pixels."""
    mosaic = open_for(paths, config)
    area_of(mosaic, config)
    mosaic.require_bounded()
    mosaic.require_colors()
    check_scenes(mosaic, config.scenes)
    check_seamlines(mosaic, config.seamlines)
    return mosaic


def _inputs(
    mosaic: Mosaic,
    together: Mosaic | None,
    style: Style | list[Any],
    method: Method,
    config: HarmonizeConfig,
) -> dict[str, Any]:
    """Return what an output's pixels follow from."""
    model = method.model
    others = together.sources if together else ()
    return {
        "balanced": fingerprints(source.path for source in others),
        "sources": fingerprints(source.path for source in mosaic.sources),
        "style": [digest(style.to_state())] if isinstance(style, Style) else style,
        "model": [model.card.sha256, model.runtime.tag] if model else [],
        "scenes": [] if config.scenes in SCENE_KEYWORDS else fingerprints([config.scenes]),
        "seamlines": _fingerprints_unless(config.seamlines, SEAMLINE_KEYWORDS),
        "area": [] if config.area is None else fingerprints([split_layer(config.area)[0]]),
        "settings": settings_of(config, EXECUTION_ONLY),
        "ranges": [source.common_range for source in mosaic.sources],
    }


def _fingerprints_unless(given: str, keywords: Sequence[str]) -> list[Any]:
    """Return the fingerprint of a vector file, unless a word was given instead."""
    return [] if given in keywords else fingerprints([split_layer(given)[0]])


def _fingerprints(references: Sequence[PathLike]) -> list[Any]:
    """Return fingerprints of references: style files, and the rasters of the others."""
    styles = [path for path in references if suffix_of(path) == STYLE_SUFFIX]
    rasters = [path for path in references if suffix_of(path) != STYLE_SUFFIX]
    return fingerprints([*styles, *(find_sources(rasters) if rasters else [])])


def _saved_style(runs: list[Run[HarmonizeConfig]]) -> Style | None:
    """Return the style that an interrupted attempt has measured."""
    for run in runs:
        state = load_if_matching(run.output, run.key, STATE) if run.resumes else None
        if state and state["style"]:
            return Style.from_state(state["style"], known_statistics())
    return None


def _check_style(
    mosaics: list[Mosaic],
    paths: list[str],
    references: Sequence[PathLike],
    style: object,
    pooled: Style | None,
    method: Method,
    progress: Progress,
) -> None:
    """Raise BandError if the style does not fit; warn of what is ignored or missing."""
    if style is not None and not method.uses_style:
        progress.warn(f"method {method.name} takes no style: --style is ignored")
    for mosaic in mosaics:
        if pooled is not None:
            pooled.require_bands(mosaic.count, mosaic.name)
            check_colors(pooled, mosaic, progress)
        if mosaic.grid.crs is None:
            source = mosaic.sources[0]
            kept = {"gcps": "ground control points (GCPs)", "rpcs": "RPCs"}.get(source.placed_by)
            if kept:
                progress.note(f"{mosaic.name} has no CRS; its {kept} are kept")
            else:
                progress.warn(f"{mosaic.name} has no CRS; the result has none either")
    same = set(map(absolute, references)) & set(map(absolute, paths))
    if same:
        name = public_name(min(same))
        progress.warn(f"{name} is both source and style: it will change little")


def _warn_of_ignored(config: HarmonizeConfig, method: Method, progress: Progress) -> None:
    """Warn of settings of style models that the method does nothing with."""
    if config.domain is not None and method.name != "translation":
        progress.warn(f"method {method.name} translates to no domain: --domain is ignored")
    if method.model is not None or config.method == "auto":
        return
    default = HarmonizeConfig()
    for name in ("style_model", "structure"):
        if getattr(config, name) != getattr(default, name):
            flag = name.replace("_", "-")
            progress.warn(f"method {method.name} has no style model: --{flag} is ignored")


def _plan_outputs(paths: list[str], output: PathLike | None) -> list[tuple[list[str], Path]]:
    """Return which sources go into which file."""
    if output is None:
        folders = [Path.cwd() if is_remote(path) else Path(path).parent for path in paths]
        targets = [
            folder / f"{file_stem(path)}_harmonized.tif"
            for folder, path in zip(folders, paths, strict=True)
        ]
    elif _is_folder(output):
        targets = [Path(output) / f"{file_stem(path)}.tif" for path in paths]
    else:
        return [(paths, Path(output))]
    if len(set(targets)) < len(targets):
        raise OutputError("two sources have the same name: write them one by one with -o FILE")
    return [([path], target) for path, target in zip(paths, targets, strict=True)]


def _is_folder(output: PathLike | None) -> bool:
    return output is not None and (
        os.fspath(output).endswith(("/", os.sep)) or os.path.isdir(output)
    )


def _as_list(style: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [style] if isinstance(style, str | os.PathLike) else list(style)

"""Make rasters look like a reference."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geossda._version import __version__
from geossda.api.style import resolve_style
from geossda.balance.balancing import SCENE_KEYWORDS, check_scenes, count_scenes, with_levels
from geossda.color.classical import NEED_LAB, NEED_STYLE
from geossda.color.style import Style
from geossda.config import (
    EXECUTION_ONLY,
    NOT_IN_PROVENANCE,
    HarmonizeConfig,
    config_from,
    settings_of,
)
from geossda.errors import BandError, OutputError, StyleError
from geossda.harmonization.harmonize_job import (
    HarmonizeJob,
    HarmonizeTask,
    area_of,
    layout_of,
    measure_state,
    open_for,
    open_harmonize_job,
    transforms_from,
)
from geossda.harmonization.measure import check_colors
from geossda.parallel.dask_workers import Workers
from geossda.progress import SILENT, Progress, Stages
from geossda.raster.cog import Description, parse_creation_options, provenance
from geossda.raster.mosaic import Mosaic, find_sources
from geossda.raster.scaling import with_common_range
from geossda.raster.source import gdal_environment, is_remote
from geossda.runs.distribute import make_shards
from geossda.runs.fingerprint import absolute, digest, fingerprints, was_written_by
from geossda.runs.shards import is_resumable, load_if_matching, open_shards, shards_folder
from geossda.staging import PathLike, check_output

if TYPE_CHECKING:
    from geossda.models.style_model import StyleModel


@dataclass(frozen=True)
class HarmonizeResult:
    """What `harmonize` wrote.

    Attributes
    ----------
    outputs : tuple of Path
    method : str
    style : str or None
        Name of the style.
    """

    outputs: tuple[Path, ...]
    method: str
    style: str | None


def harmonize(
    sources: PathLike | Sequence[PathLike],
    output: PathLike | None = None,
    *,
    style: PathLike | Sequence[PathLike] | Style | None = None,
    config: HarmonizeConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> HarmonizeResult:
    """Give rasters the colours of a reference.

    Parameters
    ----------
    sources : path or sequence of path
        Files, folders, globs or URLs.
    output : path, optional
        A file: all sources become one mosaic, each by its own statistics, overlaps feathered. A
        folder (or a path ending in a separator): one file a source. None:
        ``<stem>_harmonized.tif`` beside each source.
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
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(HarmonizeConfig, config, settings)
    progress = Stages(progress)
    paths = find_sources(sources)
    if style is None and config.method in {*NEED_STYLE, "auto", "ssda"}:
        raise StyleError("harmonizing needs a style to go to: give --style REF")
    references = [] if style is None or isinstance(style, Style) else _as_list(style)
    planned = _plan(paths, output)
    folder = planned[0][1].parent
    if _is_folder(output) and not folder.exists():
        check_output(folder, overwrite=False)
    else:
        left = config.resume and any(shards_folder(target).exists() for _, target in planned)
        for _, target in planned:
            # Of several outputs, those an interrupted run has finished may be there.
            done = left and len(planned) > 1 and was_written_by(target)
            check_output(target, overwrite=config.overwrite or done, inputs=[*paths, *references])
    options = parse_creation_options(config.co)
    with gdal_environment():
        mosaics = [open_for(some, config) for some, _ in planned]
        for mosaic in mosaics:
            area_of(mosaic, config)  # before any work is done
            mosaic.require_colors()
            check_scenes(mosaic, config.scenes)
        mosaics = with_common_range(mosaics, progress=progress)
        model = _style_model(config, mosaics)
        given = style if isinstance(style, Style) else _fingerprints(references)
        jobs = [
            _Job(some, mosaic, target, _key(mosaic, given, model, config))
            for (some, target), mosaic in zip(planned, mosaics, strict=True)
        ]
        going_on = config.resume and any(is_resumable(job.target, job.key) for job in jobs)
        look = style if isinstance(style, Style) else None
        if references and config.method != "equalize":
            look = _measured_before(jobs, config) or resolve_style(
                references,
                nodata=config.nodata,
                model=model,
                structures=[config.structure],
                lab=config.method in NEED_LAB,
                progress=progress,
            )
        if config.method == "equalize" and style is not None:
            progress.warn("equalize has no use for a style: --style is passed over")
        for mosaic in mosaics:
            if look is not None:
                look.require_bands(mosaic.count, mosaic.name)
                check_colors(look, mosaic, progress)
            if mosaic.grid.crs is None:
                progress.warn(f"{mosaic.name} has no CRS; the result has none either")
        same = set(map(os.path.abspath, references)) & set(map(os.path.abspath, paths))
        if same:
            progress.warn(f"{min(same)} is both source and style: it will change little")
        config = _settled(config, model, look, progress)
        folder.mkdir(exist_ok=True)
        for job in jobs:
            tags = _tags(job, look, config)
            if going_on and was_written_by(job.target, tags):
                progress.note(f"{job.target} is finished already")
                continue
            if job.target.exists():
                check_output(job.target, overwrite=config.overwrite)
            _one(job, tags, look, model, config, options, progress)
    return HarmonizeResult(
        tuple(job.target for job in jobs), config.method, look.name if look else None
    )


class _Job(NamedTuple):
    """One output: what it is made of, and what its pixels follow from."""

    paths: list[str]
    mosaic: Mosaic
    target: Path
    key: dict[str, Any]


def _key(
    mosaic: Mosaic,
    style: Style | list[Any],
    model: "StyleModel | None",
    config: HarmonizeConfig,
) -> dict[str, Any]:
    """Say what an output's pixels follow from."""
    if isinstance(style, Style):
        style = [digest(style.to_state())]
    return {
        "version": __version__,
        "command": "harmonize",
        "sources": fingerprints(source.path for source in mosaic.sources),
        "style": style,
        "model": model.card.sha256 if model else "",
        "scenes": [] if config.scenes in SCENE_KEYWORDS else fingerprints([config.scenes]),
        "settings": settings_of(config, EXECUTION_ONLY),
        "ranges": [source.common_range for source in mosaic.sources],
    }


def _fingerprints(references: Sequence[PathLike]) -> list[Any]:
    """Tell references apart, before and after they change."""
    styles = [path for path in references if Path(path).suffix.lower() == ".json"]
    rasters = [path for path in references if Path(path).suffix.lower() != ".json"]
    return fingerprints([*styles, *(find_sources(rasters) if rasters else [])])


def _measured_before(jobs: list[_Job], config: HarmonizeConfig) -> Style | None:
    """Give the style that an interrupted run has measured."""
    for job in jobs if config.resume else []:
        kept = load_if_matching(job.target, job.key, "measured")
        if kept and kept["style"]:
            return Style.from_state(kept["style"])
    return None


def _style_model(config: HarmonizeConfig, mosaics: list[Mosaic]) -> "StyleModel | None":
    """Load the style model if one is wanted and takes the mosaics' bands."""
    if config.method not in ("auto", "ssda"):
        return None
    # Imported here, since it loads torch, which the classical methods do without.
    from geossda.models.style_model import load_style_model

    model = load_style_model(config.style_model, config.device)
    try:
        model.require_bands(min(mosaic.count for mosaic in mosaics))
    except BandError:
        if config.method == "ssda":
            raise
        return None
    return model


def _settled(
    config: HarmonizeConfig, model: "StyleModel | None", look: Style | None, progress: Progress
) -> HarmonizeConfig:
    """Decide what ``auto`` is, and check that ``ssda`` can be done before anything is written."""
    if config.method == "ssda" and model is not None and look is not None:
        from geossda.harmonization.style_features import look_of

        look_of(look, model, config.structure)
    if config.method != "auto":
        return config
    if model is None:
        progress.warn("the style model takes more bands than there are: histogram is used")
    elif look is not None and model.key not in look.features:
        progress.warn(
            f"the style {look.name} was made without the style model, or from too small an image: "
            "histogram is used"
        )
        model = None
    return dataclasses.replace(config, method="histogram" if model is None else "ssda")


def _tags(job: _Job, look: Style | None, config: HarmonizeConfig) -> dict[str, str]:
    """Say in the output how it was made."""
    return provenance(
        "harmonize",
        method=config.method,
        style=look.name if look else "none",
        settings=settings_of(config, NOT_IN_PROVENANCE),
        sources=[os.path.basename(source.path) for source in job.mosaic.sources],
        key=digest(job.key),
    )


def _one(
    job: _Job,
    tags: dict[str, str],
    look: Style | None,
    model: "StyleModel | None",
    config: HarmonizeConfig,
    options: dict[str, str],
    progress: Stages,
) -> None:
    """Measure, level, fit, make the parts, and put them together."""
    mosaic, target = job.mosaic, job.target
    with (
        open_shards(
            target, layout_of(mosaic, config), job.key, resume=config.resume, progress=progress
        ) as parts,
        Workers(config) as workers,
    ):
        measured = parts.compute_once(
            "measured", lambda: measure_state(mosaic, look, model, config, progress)
        )
        mosaic = with_levels(mosaic, measured["levels"])
        transforms = transforms_from(measured, model, config)
        recipe = HarmonizeTask(
            tuple(map(absolute, job.paths)), config, absolute(parts.folder), tags["GEOSSDA_KEY"]
        )
        make_shards(
            HarmonizeJob(mosaic, transforms, parts, config),
            open_harmonize_job,
            recipe,
            workers,
            "harmonizing",
            progress,
        )
        parts.assemble(
            target,
            description=Description.of(mosaic.sources[0]),
            tags=tags
            | provenance(
                "harmonize",
                scenes=[count_scenes(levels) for levels in measured["levels"]],
                stages=progress.record(),
            ),
            options=options,
            progress=progress,
        )


def _plan(paths: list[str], output: PathLike | None) -> list[tuple[list[str], Path]]:
    """Say which sources go into which file."""
    if output is None:
        folders = [Path.cwd() if is_remote(path) else Path(path).parent for path in paths]
        targets = [
            folder / f"{Path(path).stem}_harmonized.tif"
            for folder, path in zip(folders, paths, strict=True)
        ]
    elif _is_folder(output):
        targets = [Path(output) / f"{Path(path).stem}.tif" for path in paths]
    else:
        return [(paths, Path(output))]
    if len(set(targets)) < len(targets):
        raise OutputError("two sources have the same name: write them one by one with -o FILE")
    return [([path], target) for path, target in zip(paths, targets, strict=True)]


def _is_folder(output: PathLike | None) -> bool:
    return output is not None and (
        os.fspath(output).endswith(("/", os.sep)) or Path(output).is_dir()
    )


def _as_list(style: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [style] if isinstance(style, str | os.PathLike) else list(style)

"""Make rasters look like a reference."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from geossda.api.style import resolve_style
from geossda.color.methods import NEED_LAB, NEED_STYLE, fit
from geossda.color.style import Style
from geossda.config import ColorMethod, HarmonizeConfig
from geossda.errors import BandError, OutputError, StyleError
from geossda.inference.levelling import check_scenes, levelled
from geossda.inference.measure import measure_source
from geossda.inference.recolor import PixelTransform, WindowTransform, recolor
from geossda.progress import SILENT, Progress
from geossda.raster.reading import Mosaic, find_sources, open_mosaic
from geossda.raster.source import Validity, gdal_environment, is_remote
from geossda.raster.windows import Window
from geossda.raster.writing import Description, new_cog, parse_creation_options, provenance
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
    config: HarmonizeConfig = HarmonizeConfig(),  # noqa: B008  (frozen)
    progress: Progress = SILENT,
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
    config : HarmonizeConfig
        Settings.
    progress : Progress
        Is told of stages, steps and warnings.

    Returns
    -------
    HarmonizeResult
        What was written.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    paths = find_sources(sources)
    if style is None and config.method in {*NEED_STYLE, "auto", "ssda"}:
        raise StyleError("harmonizing needs a style to go to: give --style REF")
    references = [] if style is None or isinstance(style, Style) else _as_list(style)
    jobs = _plan(paths, output)
    folder = jobs[0][1].parent
    if _is_folder(output) and not folder.exists():
        check_output(folder, overwrite=False)
    else:
        for _, target in jobs:
            check_output(target, overwrite=config.overwrite, inputs=[*paths, *references])
    options = parse_creation_options(config.co)
    with gdal_environment():
        mosaics = [
            (open_mosaic(some, bands=config.bidx or None, nodata=config.nodata), target)
            for some, target in jobs
        ]
        for mosaic, _ in mosaics:  # before any work is done
            _area(mosaic, config)
            mosaic.require_colors()
            check_scenes(mosaic, config.scenes)
        model = _style_model(config, [mosaic for mosaic, _ in mosaics])
        look = style if isinstance(style, Style) else None
        if references and config.method != "equalize":
            look = resolve_style(references, nodata=config.nodata, model=model, progress=progress)
        if config.method == "equalize" and style is not None:
            progress.warn("equalize has no use for a style: --style is passed over")
        for mosaic, _ in mosaics:
            if look is not None:
                look.require_bands(mosaic.count, mosaic.name)
            if mosaic.grid.crs is None:
                progress.warn(f"{mosaic.name} has no CRS; the result has none either")
        same = set(map(os.path.abspath, references)) & set(map(os.path.abspath, paths))
        if same:
            progress.warn(f"{min(same)} is both source and style: it will change little")
        config = _settled(config, model, look, progress)
        folder.mkdir(exist_ok=True)
        for mosaic, target in mosaics:
            _one(mosaic, target, look, model, config, options, progress)
    return HarmonizeResult(
        tuple(target for _, target in mosaics), config.method, look.name if look else None
    )


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
        from geossda.inference.learned import look_of

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


def _transform(
    mosaic: Mosaic,
    index: int,
    look: Style | None,
    model: "StyleModel | None",
    config: HarmonizeConfig,
    progress: Progress,
) -> WindowTransform:
    """Measure one source and fit the method to it."""
    lab = config.method in NEED_LAB
    source = measure_source(mosaic, index, lab=lab, style=look, progress=progress)
    if model is None or look is None or config.method != "ssda":
        method = cast(ColorMethod, config.method)
        return PixelTransform(fit(method, source, look, config.strength))
    from geossda.inference.learned import fit_learned

    return fit_learned(
        mosaic.alone(index),
        look,
        model,
        config.structure,
        source.working_range,
        config.strength,
        progress=progress,
    )


def _one(
    mosaic: Mosaic,
    target: Path,
    look: Style | None,
    model: "StyleModel | None",
    config: HarmonizeConfig,
    options: dict[str, str],
    progress: Progress,
) -> None:
    """Level the scenes, fit a transform to every source, apply and write."""
    area = _area(mosaic, config)
    scenes = config.scenes if config.strength > 0 else "none"
    mosaic, levellings = levelled(mosaic, scenes, progress=progress)
    transforms = [
        _transform(mosaic, index, look, model, config, progress)
        for index in range(len(mosaic.sources))
    ]
    validity, nodata = _output_validity(mosaic)
    settings = asdict(config)
    for unrelated in ("overwrite", "device"):
        del settings[unrelated]
    with new_cog(
        target,
        mosaic.grid[area.rows, area.cols],
        mosaic.count,
        mosaic.dtype,
        validity=validity,
        nodata=nodata,
        description=Description.of(mosaic.sources[0]),
        tags=provenance(
            "harmonize",
            method=config.method,
            style=look.name if look else "none",
            scenes=[len(found.scenes.polygons) if found else 1 for found in levellings],
            settings=settings,
            sources=[os.path.basename(source.path) for source in mosaic.sources],
        ),
        options=options,
        progress=progress,
    ) as writer:
        recolor(
            mosaic,
            transforms,
            writer,
            tile_px=config.tile,
            feather_px=config.feather,
            area=area,
            progress=progress,
        )


def _area(mosaic: Mosaic, config: HarmonizeConfig) -> Window:
    """Say which part is wanted. Statistics are the whole's, so its pixels are too."""
    if config.bounds is None:
        return Window(0, 0, *mosaic.shape)
    return mosaic.window_of(config.bounds, config.bounds_crs)


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


def _output_validity(mosaic: Mosaic) -> tuple[Validity, float | None]:
    """Keep the sources' way to tell nodata if they share one, else use a mask band."""
    first = mosaic.sources[0]
    kinds = {(source.validity, source.nodata) for source in mosaic.sources}
    if len(mosaic.sources) == 1 or (len(kinds) == 1 and first.validity in ("nodata", "alpha")):
        return first.validity, first.nodata
    return "mask", None


def _as_list(style: PathLike | Sequence[PathLike]) -> list[PathLike]:
    return [style] if isinstance(style, str | os.PathLike) else list(style)

"""Make a style once, to be used many times."""

import os
from collections.abc import Sequence
from pathlib import Path

from geossda.color.pooling import pool
from geossda.color.style import Style, load_style
from geossda.config import StyleConfig
from geossda.inference.measure import measure_style
from geossda.progress import SILENT, Progress
from geossda.raster.reading import find_sources, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.staging import PathLike, check_output, staged


def make_style(
    references: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    config: StyleConfig = StyleConfig(),  # noqa: B008  (frozen)
    progress: Progress = SILENT,
) -> Style:
    """Measure references and save their pooled style.

    Parameters
    ----------
    references : path or sequence of path
        Rasters, folders of them, or style files.
    output : path
        A ``.json`` file.
    config : StyleConfig
        Settings.
    progress : Progress
        Is told of stages, steps and warnings.

    Returns
    -------
    Style
        The pooled style.
    """
    given = [references] if isinstance(references, str | os.PathLike) else list(references)
    check_output(output, overwrite=config.overwrite, inputs=given)
    look = resolve_style(given, bands=config.bidx, nodata=config.nodata, progress=progress)
    with staged(output) as part:
        look.save(part)
    return look


def resolve_style(
    references: Sequence[PathLike],
    *,
    bands: tuple[int, ...] = (),
    nodata: float | None = None,
    progress: Progress = SILENT,
) -> Style:
    """Load or measure references and pool them.

    Parameters
    ----------
    references : sequence of path
        Style files (``.json``) and rasters, mixed as you like.
    bands : tuple of int
        1-based; all but alpha by default.
    nodata : float, optional
        For rasters that do not declare it.
    progress : Progress
    """
    looks = [load_style(ref) for ref in references if Path(ref).suffix.lower() == ".json"]
    rasters = [ref for ref in references if Path(ref).suffix.lower() != ".json"]
    with gdal_environment():
        for path in find_sources(rasters) if rasters else []:
            mosaic = open_mosaic(path, bands=bands or None, nodata=nodata)
            first = looks[0] if looks else None
            looks.append(measure_style(mosaic, progress, like=first))
    return pool(looks)

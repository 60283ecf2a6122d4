"""Make a style once, to be used many times."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from geossda.config import Structure, StyleConfig, config_from
from geossda.formats import STYLE_SUFFIX, suffix_of
from geossda.harmonization.measure import measure_style, warn_of_one_color
from geossda.harmonization.methods import known_statistics
from geossda.harmonization.pooling import check_weights, pool
from geossda.harmonization.reference_statistics import COMMON
from geossda.harmonization.statistic import Statistic
from geossda.harmonization.style import Style, load_style
from geossda.progress import SILENT, Progress
from geossda.raster.area import read_area
from geossda.raster.mosaic import Mosaic, find_sources, open_mosaic
from geossda.raster.scaling import with_common_range
from geossda.raster.source import gdal_environment
from geossda.raster.validity import can_hold
from geossda.runs.lock import exclusive
from geossda.staging import PathLike, atomic_write, check_output

if TYPE_CHECKING:
    from geossda.runtime.style_network import StyleModel


@exclusive(lambda given: [given["output"]])
def make_style(
    references: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    config: StyleConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Style:
    """Measure references and save their pooled style.

    Parameters
    ----------
    references : path or sequence of path
        Rasters, folders of them, or style files.
    output : path
        A ``.json`` file.
    config : StyleConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Style
        The pooled style.

    Raises
    ------
    StyleError
        The style model has no such domain, or a reference lies in none of its domains.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(StyleConfig, config, settings)
    given = [references] if isinstance(references, str | os.PathLike) else list(references)
    check_output(output, overwrite=config.overwrite, inputs=given)
    model = None
    if config.style_model != "none":
        from geossda.runtime.domain_model import with_domain
        from geossda.runtime.style_network import open_style_model

        model = with_domain(open_style_model(config.style_model, config, progress), config.domain)
    style = resolve_style(
        given,
        bands=config.bidx,
        nodata=config.nodata,
        weights=config.weights,
        model=model,
        area=config.area,
        progress=progress,
    )
    with atomic_write(output) as part:
        style.save(part)
    return style


def resolve_style(
    references: Sequence[PathLike],
    *,
    bands: tuple[int, ...] = (),
    nodata: float | None = None,
    nodata_must_fit: bool = True,
    weights: tuple[float, ...] = (),
    model: "StyleModel | None" = None,
    structures: Sequence[Structure] = get_args(Structure),
    needs: Sequence[type[Statistic]] | None = None,
    area: PathLike | None = None,
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
    nodata_must_fit : bool
        Whether a raster whose data type cannot hold `nodata` is refused. Otherwise none of its
        pixels can have that value, and it is measured by its own nodata.
    weights : tuple of float
        Shares, one a reference; by their numbers of pixels if empty.
    model : StyleModel, optional
        To measure for, as far as it takes the rasters' bands.
    structures : sequence of {"lock", "full"}
        What it is to be measured for.
    needs : sequence of Statistic classes, optional
        What rasters are measured for, besides what every style has; everything by default.
    area : path, optional
        Polygons of a vector file: of rasters, only what lies within is measured.
    progress : Progress
    """
    within = None if area is None else read_area(area)
    known = known_statistics()
    wanted = known if needs is None else [one for one in known if one in {*COMMON, *needs}]
    with gdal_environment():
        # Style files as they are; of rasters, the mosaics that are measured next.
        given: list[Style | Mosaic] = []
        for reference in references:
            if suffix_of(reference) == STYLE_SUFFIX:
                given.append(load_style(reference, known))
                continue
            for path in find_sources(reference):
                mosaic = _open_reference(path, bands, nodata, nodata_must_fit)
                given.append(mosaic.within(within))
        check_weights(weights, len(given))
        mosaics = iter(
            with_common_range([m for m in given if isinstance(m, Mosaic)], progress=progress)
        )
        styles: list[Style] = []
        for each in given:
            if isinstance(each, Style):
                styles.append(each)
                continue
            first = styles[0] if styles else None
            styles.append(
                measure_style(
                    next(mosaics),
                    wanted,
                    progress,
                    like=first,
                    model=model,
                    structures=structures,
                )
            )
    style = pool(styles, weights)
    warn_of_one_color(style, progress)
    return style


def _open_reference(
    path: str, bands: tuple[int, ...], nodata: float | None, nodata_must_fit: bool
) -> Mosaic:
    """Open a raster to measure, with the given nodata unless its data type cannot hold that."""
    mosaic = open_mosaic(path, bands=bands or None)
    if nodata is None:
        return mosaic
    if not nodata_must_fit and not all(can_hold(each.dtype, nodata) for each in mosaic.sources):
        return mosaic
    return open_mosaic(path, bands=bands or None, nodata=nodata)

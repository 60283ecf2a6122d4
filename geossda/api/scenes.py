"""Find the scenes of a mosaic and write their outlines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geossda.balance.scene_detection import find_scenes
from geossda.balance.scenes import write_scenes
from geossda.config import ScenesConfig, config_from
from geossda.errors import OutputError
from geossda.footprints.write import check_vector_output
from geossda.formats import suffix_of, vector_suffixes
from geossda.layers import split_layer
from geossda.progress import SILENT, Progress
from geossda.raster.area import read_area
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import open_mosaic
from geossda.raster.source import gdal_environment
from geossda.runs.lock import exclusive
from geossda.staging import PathLike, check_output


@dataclass(frozen=True)
class ScenesResult:
    """What `scenes` found.

    Attributes
    ----------
    output : Path
    scenes : int
        1 where no seam was found.
    """

    output: Path
    scenes: int


@exclusive(lambda given: [given["output"]])
def scenes(
    source: PathLike,
    output: PathLike,
    *,
    config: ScenesConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> ScenesResult:
    """Find the scenes of a mosaic, parts of unlike radiometry, and write their outlines.

    They can be looked at, mended by hand and given to `harmonize`.

    Parameters
    ----------
    source : path
        One raster.
    output : path
        A ``.gpkg``, ``.fgb`` or ``.geojson`` file of polygons in the raster's CRS, one a scene,
        clipped to the area if there is one; one polygon in all where no seam was found.
    config : ScenesConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    ScenesResult
        What was found.

    Raises
    ------
    OutputError
        `output` has the suffix of no vector format, or exists and `overwrite` is not set.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(ScenesConfig, config, settings)
    target, (output, _) = output, split_layer(output)
    suffixes = vector_suffixes(writes=True, by_ogr=True)
    if suffix_of(output) not in suffixes:
        raise OutputError(f"{output}: a name ending in {', '.join(suffixes)} was expected")
    check_vector_output(target, append=False)
    check_output(output, overwrite=config.overwrite, inputs=[source])
    with gdal_environment():
        mosaic = open_mosaic(source, bands=config.bidx or None, nodata=config.nodata)
        if config.area is not None:
            mosaic = mosaic.within(read_area(config.area))
        check_imagery(mosaic, progress)
        detected = find_scenes(mosaic.alone(0), progress=progress)
        if mosaic.area is not None:
            detected = detected.clipped(mosaic.area.in_pixels(mosaic.grid))
        write_scenes(detected, target, mosaic.grid)
    return ScenesResult(output, max(1, len(detected.polygons)))

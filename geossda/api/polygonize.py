"""Convert a mask or probabilities to footprints."""

from dataclasses import asdict
from typing import Any

from geossda.config import PolygonizeConfig, SegmentConfig, config_from
from geossda.errors import GeoreferenceError
from geossda.footprints.building_raster import BuildingRaster, open_buildings
from geossda.footprints.polygonize import polygonize as polygonize_blocks
from geossda.footprints.shaper import shape_footprints
from geossda.footprints.shaping import Shaping
from geossda.footprints.watershed import Splitter
from geossda.footprints.write import (
    Written,
    check_append,
    check_vector_output,
    write_features,
)
from geossda.layers import split_layer
from geossda.parallel.ordered_map import Helpers, OrderedPool
from geossda.progress import SILENT, Progress
from geossda.raster.description import provenance
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.source import gdal_environment
from geossda.runs.lock import exclusive
from geossda.staging import PathLike, check_output, check_space
from geossda.urls import file_name

# Of a raster, to a byte of a file of its footprints: a densely built city has some 8.
PIXELS_A_BYTE = 16


@exclusive(lambda given: [given["output"]])
def polygonize(
    source: PathLike,
    output: PathLike,
    *,
    config: PolygonizeConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Written:
    """Convert a mask or a raster of probabilities to footprints.

    The raster is read once, block by block, and the footprints do not depend on the blocks. Memory
    grows with the connected components that are not complete yet, not with the raster.

    Parameters
    ----------
    source : path
        Raster of one band: a mask of integers (all values but 0 are buildings), or probabilities
        from 0 to 1 (float).
    output : path
        A ``.gpkg``, ``.fgb``, ``.parquet`` or ``.geojson`` file; layer ``buildings`` in the
        raster's CRS (GeoJSON in longitude and latitude).
    config : PolygonizeConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Written
        The output, the number of footprints and their area.

    Raises
    ------
    GeoreferenceError
        The raster has no CRS.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(PolygonizeConfig, config, settings)
    check_vector_output(output, append=config.append)
    file, _ = split_layer(output)
    check_output(file, overwrite=config.overwrite or config.append, inputs=[source])
    with gdal_environment():
        raster = open_buildings(
            source, config.threshold, bands=config.bidx, nodata=config.nodata, progress=progress
        )
        if raster.mosaic.grid.crs is None:
            raise GeoreferenceError(raster.mosaic.sources[0].lacks_crs)
        crs = raster.mosaic.grid.crs.to_wkt()
        height, width = raster.mosaic.shape
        check_space(file.parent, height * width // PIXELS_A_BYTE)
        if config.append:
            check_append(output, crs, probabilities=raster.has_probability)
        written = polygonize_to(
            output,
            raster,
            gsd_m=min(ground_sample_distance(raster.mosaic.grid)),
            min_confidence=config.min_confidence,
            config=config,
            tags=provenance(
                "polygonize",
                threshold=f"{config.threshold:g}",
                settings=asdict(config),
                sources=[file_name(source)],
            ),
            progress=progress,
        )
        if not written.buildings:
            raster.warn_of_none()
        return written


def polygonize_to(
    output: PathLike,
    raster: BuildingRaster,
    *,
    gsd_m: float,
    min_confidence: float,
    config: PolygonizeConfig | SegmentConfig,
    tags: dict[str, str],
    progress: Progress,
    helpers: Helpers | None = None,
) -> Written:
    """Trace, shape, measure and write the footprints of an open raster.

    Parameters
    ----------
    output : path
        A vector file; a layer of a GeoPackage may be named, as ``FILE|layername=NAME``.
    raster : BuildingRaster
    gsd_m : float
        Ground sample distance in metres that outlines are regularized at.
    min_confidence : float
        Least mean probability of a footprint, 0..1.
    config : PolygonizeConfig or SegmentConfig
        The latter has neither connectivity nor blocks nor threads: the defaults are used.
    tags : dict
        Provenance, kept with the layer.
    progress : Progress
    helpers : Helpers, optional
        Worker processes that shape footprints, which is most of the work.

    Returns
    -------
    Written
        The output, the number of footprints and their area.
    """
    tracing = config if isinstance(config, PolygonizeConfig) else PolygonizeConfig()
    shaping = Shaping(
        raster.mosaic.grid,
        gsd_m,
        config.regularize,
        config.tolerance,
        config.min_area,
        min_confidence,
    )
    splitter = None
    if config.split:
        splitter = Splitter(
            raster.read,
            raster.mosaic.shape,
            gsd_m,
            raster.temperature,
            progress,
            ground_sample_distance(raster.mosaic.grid),
        )
    with OrderedPool(tracing.workers, helpers) as pool:
        components = polygonize_blocks(
            raster.read,
            raster.mosaic.shape,
            connectivity=tracing.connectivity,
            block=tracing.block,
            pool=pool,
            progress=progress,
        )
        return write_features(
            pool.ahead(shape_footprints(components, shaping, splitter, pool)),
            output,
            raster.mosaic.grid.crs.to_wkt(),
            tags,
            probabilities=raster.has_probability,
            multi=tracing.connectivity == 8,
            append=config.append,
        )

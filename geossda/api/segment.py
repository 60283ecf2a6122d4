"""Segment the buildings of a mosaic."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geossda.api.polygonize import polygonize_to
from geossda.config import SegmentConfig, config_from
from geossda.footprints.building_raster import open_buildings
from geossda.footprints.shaping import reach_m
from geossda.footprints.write import Written, check_append, check_vector_output
from geossda.layers import split_layer
from geossda.parallel.scheduler import check_scheduler, local_paths
from geossda.progress import SILENT, Progress, Stages
from geossda.raster.creation_options import parse_creation_options
from geossda.raster.imagery import check_imagery, warn_of_distance
from geossda.raster.mosaic import find_sources
from geossda.raster.source import gdal_environment
from geossda.runs.run import Run, check_outputs
from geossda.runtime.segmenter_network import open_segmenter, with_runtime
from geossda.segmentation.prediction_gsd import choose_gsd
from geossda.segmentation.prepare import choose_bands, write_on_grid
from geossda.segmentation.segment_job import (
    inputs_of,
    layout_of,
    make_probabilities,
    open_for,
)
from geossda.staging import PathLike, check_output

# By default footprints need a mean probability this far between the threshold and 1: chosen on
# places that the models had not seen (decision 0008).
CONFIDENT = 0.3


def segment(
    sources: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    probabilities: PathLike | None = None,
    mask: PathLike | None = None,
    config: SegmentConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Written:
    """Find buildings and write their footprints.

    The mosaic is read at the model's ground sample distance, in true metres whatever its CRS;
    overlapping windows are predicted and blended; pixels over the threshold become polygons,
    those of low mean probability are left out.

    Parameters
    ----------
    sources : path or sequence of path
        Files, folders, globs or URLs, taken as one mosaic.
    output : path
        A ``.gpkg``, ``.fgb``, ``.parquet`` or ``.geojson`` file; layer ``buildings`` in the
        mosaic's CRS (GeoJSON in longitude and latitude).
    probabilities, mask : path, optional
        Rasters to write as well, on the mosaic's grid: probability (float32, nodata -1) and
        buildings (0, 1, nodata 255).
    config : SegmentConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Written
        What was written.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(SegmentConfig, config, settings)
    progress = Stages(progress)
    paths = find_sources(sources)
    check_vector_output(output, append=config.append)
    footprints, (output, _) = output, split_layer(output)
    rasters = {
        kind: Path(path)
        for kind, path in (("probabilities", probabilities), ("mask", mask))
        if path is not None
    }
    check_outputs(rasters.values(), config, runs=[output], inputs=paths)
    check_output(output, overwrite=config.overwrite or config.append, inputs=paths)
    options = parse_creation_options(config.co)
    check_scheduler(config.scheduler, local_paths([*paths, config.area], output))
    mosaic = open_for(paths, config)
    network = open_segmenter(config, progress)
    card, config = network.card, with_runtime(config, network.runtime)
    threshold = card.threshold if config.threshold is None else config.threshold
    with gdal_environment():
        check_imagery(mosaic, progress)
        warn_of_distance(mosaic, progress)
        mosaic = choose_bands(mosaic, card, progress)
        if card.training.get("adapt") == "standardgan":
            progress.warn(
                f"the model {card.name} was trained on standardized imagery: give it what geossda "
                "harmonize --domain standard makes of this, by the same style model"
            )
        gsd_m = config.gsd or choose_gsd(mosaic, network, config, progress)
        config = dataclasses.replace(config, gsd=gsd_m)  # for workers
        # A pixel more than an outline can move keeps buildings off nodata.
        clearance_m = reach_m(config.regularize, config.tolerance, gsd_m) + gsd_m
        if config.append:
            check_append(footprints, mosaic.grid.crs.to_wkt(), probabilities=True)
        inputs = inputs_of(paths, config, network, gsd_m, clearance_m)
        run = Run("segment", tuple(paths), output, inputs, config, progress)
        tags = run.tags(
            model=f"{card.name} {card.version} {card.sha256[:12]}",
            threshold=f"{threshold:g}",
            temperature=f"{card.temperature:g}",
            runtime=network.runtime.tag,
        )
        unfinished = {
            kind: path
            for kind, path in rasters.items()
            if not run.has_finished(path, tags, resumes=run.resumes)
        }
        with run.open(layout_of(mosaic, card, gsd_m)) as work:
            reader = make_probabilities(work, mosaic, network, gsd_m, clearance_m)
            predicted = work.shards.vrt()
            for kind, path in unfinished.items():
                write_on_grid(
                    predicted,
                    mosaic,
                    path,
                    threshold=threshold if kind == "mask" else None,
                    tags=tags,
                    options=options,
                    progress=progress,
                )
            raster = open_buildings(predicted, threshold, temperature=card.temperature)
            written = polygonize_to(
                footprints,
                raster,
                gsd_m=gsd_m,
                min_confidence=least_confidence(config.min_confidence, threshold),
                config=config,
                tags=tags,
                progress=progress,
                helpers=None if work.workers.alone else work.workers,
            )
        if raster.is_empty:
            reader.warn_of_nothing(progress)
        run.save_timings()
    return written


def least_confidence(given: float | None, threshold: float) -> float:
    """Return the least mean probability of a footprint: what is given, or what suits a threshold.

    Parameters
    ----------
    given : float or None
    threshold : float
        Probability from which a pixel is a building, 0..1.
    """
    return threshold + CONFIDENT * (1 - threshold) if given is None else given

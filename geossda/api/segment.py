"""Find the buildings of a mosaic."""

import json
import os
from collections.abc import Sequence
from typing import Any

from geossda._version import __version__
from geossda.api.polygonize import polygonize_to
from geossda.config import NOT_IN_PROVENANCE, SegmentConfig, config_from, settings_of
from geossda.footprints.building_raster import open_buildings
from geossda.footprints.shaping import reach_m
from geossda.footprints.write import Written, check_append, check_vector_output
from geossda.layers import split_layer
from geossda.models.segmenter import load_segmenter
from geossda.parallel.dask_workers import Workers
from geossda.progress import SILENT, Progress, Stages
from geossda.raster.cog import parse_creation_options, provenance
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import find_sources
from geossda.raster.scaling import scaling_from, state_of
from geossda.raster.source import gdal_environment
from geossda.runs.distribute import make_shards
from geossda.runs.fingerprint import absolute, digest, fingerprints, was_written_by
from geossda.runs.shards import is_resumable, open_shards, shards_folder, sweep
from geossda.segmentation.prepare import (
    choose_bands,
    measure_scalings,
    ready_to_predict,
    write_on_grid,
)
from geossda.segmentation.segment_job import (
    SegmentJob,
    SegmentTask,
    layout_of,
    open_for,
    open_segment_job,
)
from geossda.staging import PathLike, check_output


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
    overlapping windows are predicted and blended; what lies over the threshold becomes polygons.

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
    left = config.resume and shards_folder(output).exists()
    rasters = {
        kind: check_output(
            path,
            # An interrupted run may have finished it.
            overwrite=config.overwrite or (left and was_written_by(path)),
            inputs=paths,
        )
        for kind, path in (("probabilities", probabilities), ("mask", mask))
        if path is not None
    }
    check_output(output, overwrite=config.overwrite or config.append, inputs=paths)
    options = parse_creation_options(config.co)
    mosaic = open_for(paths, config)
    network, card = load_segmenter(config.model)
    gsd_m = config.gsd or card.gsd_m
    threshold = card.threshold if config.threshold is None else config.threshold
    # A pixel more than an outline can move keeps buildings off nodata.
    clearance_m = reach_m(config.regularize, config.tolerance, gsd_m) + gsd_m
    with gdal_environment():
        check_imagery(mosaic, progress)
        mosaic = choose_bands(mosaic, card, progress)
        if config.append:
            check_append(footprints, mosaic.grid.crs.to_wkt(), probabilities=True)
        key = {
            "version": __version__,
            "command": "segment",
            "sources": fingerprints(paths),
            "model": [card.sha256, card.temperature],
            "settings": [gsd_m, clearance_m, config.tta, config.bidx, config.nodata],
            "area": [config.bounds, config.bounds_crs],
        }
        tags = provenance(
            "segment",
            model=f"{card.name} {card.version} {card.sha256[:12]}",
            threshold=f"{threshold:g}",
            temperature=f"{card.temperature:g}",
            settings=settings_of(config, NOT_IN_PROVENANCE),
            sources=[os.path.basename(path) for path in paths],
            key=digest(key),
        )
        going_on = config.resume and is_resumable(output, key)
        for target in rasters.values():
            if target.exists() and not (going_on and was_written_by(target, tags)):
                check_output(target, overwrite=config.overwrite)
            sweep(target)
    with (
        gdal_environment(),
        open_shards(
            output,
            layout_of(mosaic, card, gsd_m),
            key,
            resume=config.resume,
            progress=progress,
        ) as parts,
        Workers(config) as workers,
    ):
        measured = parts.compute_once(
            "measured", lambda: [state_of(s) for s in measure_scalings(mosaic, card, progress)]
        )
        reader = ready_to_predict(
            mosaic,
            card,
            gsd_m,
            clearance_m=clearance_m,
            scalings=list(map(scaling_from, measured)),
            progress=progress,
        )
        recipe = SegmentTask(
            tuple(map(absolute, paths)), config, clearance_m, absolute(parts.folder), digest(key)
        )
        make_shards(
            SegmentJob(reader, network, card, parts, config),
            open_segment_job,
            recipe,
            workers,
            "segmenting",
            progress,
        )
        found = parts.vrt()
        for kind, target in rasters.items():
            if going_on and was_written_by(target, tags):
                progress.note(f"{target} is finished already")
                continue
            write_on_grid(
                found,
                mosaic,
                target,
                threshold=threshold if kind == "mask" else None,
                tags=tags | {"GEOSSDA_STAGES": json.dumps(progress.record())},
                options=options,
                progress=progress,
            )
        return polygonize_to(
            footprints,
            open_buildings(found, threshold, temperature=card.temperature),
            gsd_m=gsd_m,
            config=config,
            tags=tags,
            progress=progress,
            helpers=None if workers.alone else workers,
        )

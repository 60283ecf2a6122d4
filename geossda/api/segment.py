"""Find the buildings of a mosaic."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from geossda.api.polygonize import polygonize_to
from geossda.config import SegmentConfig
from geossda.devices import choose
from geossda.inference.predict import predict
from geossda.inference.segment import (
    choose_bands,
    ready_to_predict,
    require_place,
    write_on_grid,
    write_probabilities,
)
from geossda.models.segmenter import load_segmenter
from geossda.progress import SILENT, Progress
from geossda.raster.reading import find_sources, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.writing import parse_creation_options, provenance
from geossda.staging import PathLike, check_output
from geossda.vector.features import reach_m
from geossda.vector.marks import open_buildings
from geossda.vector.writing import Written, check_vector_output


def segment(
    sources: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    probabilities: PathLike | None = None,
    mask: PathLike | None = None,
    config: SegmentConfig = SegmentConfig(),  # noqa: B008  (frozen)
    progress: Progress = SILENT,
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
    config : SegmentConfig
        Settings.
    progress : Progress
        Is told of stages, steps and warnings.

    Returns
    -------
    Written
        What was written.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    paths = find_sources(sources)
    output = Path(output)
    check_vector_output(output, append=config.append)
    rasters = {
        kind: check_output(path, overwrite=config.overwrite, inputs=paths)
        for kind, path in (("probabilities", probabilities), ("mask", mask))
        if path is not None
    }
    check_output(output, overwrite=config.overwrite or config.append, inputs=paths)
    options = parse_creation_options(config.co)
    with gdal_environment():
        mosaic = open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)
        require_place(mosaic)
        if config.bounds is not None:
            mosaic = mosaic.cropped(config.bounds, config.bounds_crs)
    device = choose(config.device)
    network, card = load_segmenter(config.model)
    gsd_m = config.gsd or card.gsd_m
    threshold = card.threshold if config.threshold is None else config.threshold
    tags = provenance(
        "segment",
        model=f"{card.name} {card.version} {card.sha256[:12]}",
        threshold=f"{threshold:g}",
        settings=asdict(config),
        sources=[os.path.basename(path) for path in paths],
    )
    with (
        gdal_environment(),
        tempfile.TemporaryDirectory(dir=output.parent, prefix=f".geossda-{os.getpid()}-") as folder,
    ):
        mosaic = choose_bands(mosaic, card, progress)
        # A pixel more than an outline can move keeps buildings off nodata.
        clearance_m = reach_m(config.regularize, config.tolerance, gsd_m) + gsd_m
        reader = ready_to_predict(mosaic, card, gsd_m, clearance_m=clearance_m, progress=progress)
        found = Path(folder) / "probabilities.tif"
        write_probabilities(
            found,
            reader,
            predict(
                reader,
                network,
                device,
                overlap_px=card.overlap_px,
                batch=config.batch,
                progress=progress,
            ),
        )
        for kind, target in rasters.items():
            write_on_grid(
                found,
                mosaic,
                target,
                threshold=threshold if kind == "mask" else None,
                tags=tags,
                options=options,
                progress=progress,
            )
        return polygonize_to(
            output,
            open_buildings(found, threshold),
            gsd_m=gsd_m,
            config=config,
            tags=tags,
            progress=progress,
        )

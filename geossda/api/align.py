"""Shift footprints to where the imagery shows the buildings."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geossda.config import (
    NOT_IN_PROVENANCE,
    AlignConfig,
    SegmentConfig,
    config_from,
    settings_of,
)
from geossda.errors import counted
from geossda.footprints.write import check_vector_output
from geossda.layers import split_layer
from geossda.parallel.scheduler import check_scheduler, local_paths
from geossda.progress import SILENT, Progress, Stages
from geossda.raster.description import provenance
from geossda.raster.gsd import ground_sample_distance
from geossda.raster.imagery import check_imagery, warn_of_distance
from geossda.raster.mosaic import Mosaic, find_sources, open_mosaic
from geossda.raster.shapes import Shapes
from geossda.raster.source import gdal_environment
from geossda.registration.feature_table import FeatureTable
from geossda.registration.footprint_shifts import (
    FootprintShifts,
    polygons_by_row,
    reaching,
    shift_footprints,
    translated,
)
from geossda.runs.lock import output_lock
from geossda.runs.run import Run
from geossda.runtime.segmenter_network import open_segmenter, with_runtime
from geossda.segmentation.prepare import choose_bands, require_place
from geossda.segmentation.segment_job import inputs_of, layout_of, make_probabilities, open_for
from geossda.staging import PathLike, check_output
from geossda.urls import file_name

FIELDS = ("shift_x", "shift_y", "confidence")
# Ground that is predicted around footprints besides what they may be shifted to, in metres: as
# much as a building, which a model knows by what is around it.
_AROUND_M = 20.0


@dataclass(frozen=True)
class Aligned:
    """What `align` did.

    Attributes
    ----------
    output : Path
    footprints : int
        All features of the layer.
    shifted : int
        Those that were shifted; the others are as they were.
    median_m : float
        Median length of the shifts, in metres; 0 if there are none.
    """

    output: Path
    footprints: int
    shifted: int
    median_m: float


def align(
    footprints: PathLike,
    rasters: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    config: AlignConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> Aligned:
    """Shift footprints to where the imagery shows the buildings.

    Each group of touching footprints is shifted to where the building probabilities of a model fit
    it best, neighbours alike [1]_. Geometries are translated only; attributes, ids and the CRS are
    kept. Groups that show no building follow their neighbours. Left as they are, with a warning,
    are groups that fit best at the border of the search, those where few neighbours show a
    building, and those the raster does not show.

    Parameters
    ----------
    footprints : path
        A vector file in any CRS, maybe with a layer's name: ``FILE|layername=NAME``.
    rasters : path or sequence of path
        Files, folders, globs or URLs, taken as one mosaic: imagery; or one band of floats, which
        are the probabilities that `segment` has written, and no model is run.
    output : path
        A ``.gpkg``, ``.fgb``, ``.parquet`` or ``.geojson`` file; layer ``buildings`` in the
        footprints' CRS (GeoJSON in longitude and latitude). Fields that are added: ``shift_x`` and
        ``shift_y``, metres on the ground to the east and north; ``confidence``, from 0 to 1: mean
        probability of a building inside the shifted group minus the mean within 2 m around it, and
        0 for what is left as it is.
    config : AlignConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    Aligned
        The output, and how many footprints were shifted.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.

    References
    ----------
    .. [1] Vargas-Munoz, J. E., Lobry, S., Falcao, A. X. and Tuia, D. (2019). Correcting rural
       building annotations in OpenStreetMap using convolutional neural networks. ISPRS Journal of
       Photogrammetry and Remote Sensing 147, 283-293.
    """
    config = config_from(AlignConfig, config, settings)
    progress = Stages(progress)
    paths = find_sources(rasters)
    check_vector_output(output, append=False)
    file, _ = split_layer(output)
    check_output(file, overwrite=config.overwrite, inputs=[split_layer(footprints)[0], *paths])
    check_scheduler(config.scheduler, local_paths(paths, file))
    with gdal_environment():
        mosaic = open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)
        require_place(mosaic)
    with FeatureTable.copied(footprints, file) as table:
        layer = table.geometry()
        polygons, rows = polygons_by_row(layer, footprints, mosaic.grid.crs, progress)
        in_view = reaching(polygons, mosaic.grid, config.search)
        polygons, rows = polygons[in_view], rows[in_view]
        with _probabilities(mosaic, polygons, paths, file, config, progress) as probabilities:
            shifts = shift_footprints(polygons, layer.crs, probabilities, config.search, progress)
            _warn(shifts, int((~in_view).sum()), mosaic.name, config.search, progress)
            _replace(table, layer, rows, shifts, progress)
            sources = [file_name(split_layer(path)[0]) for path in (footprints, *paths)]
            about = settings_of(config, NOT_IN_PROVENANCE)
            table.write(output, provenance("align", settings=about, sources=sources))
    lengths = np.hypot(*shifts.metres.T)
    lengths = lengths[lengths > 0]
    median_m = float(np.median(lengths)) if len(lengths) else 0.0
    return Aligned(file, len(layer), len(lengths), median_m)


@contextlib.contextmanager
def _probabilities(
    mosaic: Mosaic,
    polygons: Shapes,
    paths: Sequence[str],
    output: Path,
    config: AlignConfig,
    progress: Stages,
) -> Iterator[Mosaic]:
    """Yield probabilities where the polygons are, under the output's lock: given, or predicted."""
    given = mosaic.count == 1 and mosaic.dtype.kind == "f"
    if given or not len(polygons):
        if given:
            progress.note(f"{mosaic.name} is one band of floats: taken as probabilities")
        with output_lock(output):
            yield mosaic
        return
    shared = {entry.name for entry in fields(SegmentConfig)} & {
        entry.name for entry in fields(AlignConfig)
    }
    settings = SegmentConfig(
        bounds=_bounds(polygons, mosaic, config.search + _AROUND_M),
        **{name: getattr(config, name) for name in shared},
    )
    mosaic = open_for(paths, settings)
    network = open_segmenter(settings, progress)
    card, settings = network.card, with_runtime(settings, network.runtime)
    gsd_m = settings.gsd or card.gsd_m
    with gdal_environment():
        check_imagery(mosaic, progress)
        warn_of_distance(mosaic, progress)
        mosaic = choose_bands(mosaic, card, progress)
        inputs = inputs_of(paths, settings, network, gsd_m, 0.0)
        run = Run("align", tuple(paths), output, inputs, settings, progress)
        with run.open(layout_of(mosaic, card, gsd_m)) as work:
            make_probabilities(work, mosaic, network, gsd_m, 0.0)
            yield open_mosaic(work.shards.vrt())


def _bounds(polygons: Shapes, mosaic: Mosaic, around_m: float) -> tuple[float, float, float, float]:
    """Return the bounds of polygons in the mosaic's CRS, so many metres wider."""
    transform, (across, down) = mosaic.grid.transform, ground_sample_distance(mosaic.grid)
    x = around_m * max(abs(transform.a) / across, abs(transform.b) / down)
    y = around_m * max(abs(transform.d) / across, abs(transform.e) / down)
    left, bottom, right, top = polygons.bounds.tolist()
    return left - x, bottom - y, right + x, top + y


def _warn(
    shifts: FootprintShifts, beside: int, name: str, search_m: float, progress: Progress
) -> None:
    """Warn of footprints that are left as they are, and why."""
    count, hidden = len(shifts.metres) + beside, shifts.out_of_sight + beside
    if not count:
        progress.warn("the layer holds no footprint: there is nothing to align")
    elif hidden == count:
        progress.warn(
            f"no footprint lies on valid pixels of {name}: all are left as they are; check the CRS "
            "of both"
        )
    elif hidden:
        progress.warn(
            f"{counted(hidden, 'footprint')} of {count:,} lie beside {name} or on its nodata: left "
            "as they are"
        )
    if shifts.unmatched:
        progress.warn(
            f"{counted(shifts.unmatched, 'footprint')} of {count:,} fit no building that was "
            f"predicted within {search_m:g} m: left as they are; raise --search if they lie "
            "further off"
        )


def _replace(
    table: FeatureTable,
    layer: Shapes,
    rows: NDArray[np.int64],
    shifts: FootprintShifts,
    progress: Progress,
) -> None:
    """Shift the geometries of a table, and add the shifts' fields."""
    geometry = layer.geometry.copy()
    geometry[rows] = translated(geometry[rows], shifts.offsets)
    if replaced := [name for name in FIELDS if table.has_field(name)]:
        progress.note(f"the fields {', '.join(replaced)} of the layer are replaced")
    added = np.zeros((len(layer), 3))
    added[rows] = np.column_stack([shifts.metres, shifts.confidence])
    table.replace(geometry, dict(zip(FIELDS, added.T, strict=True)))

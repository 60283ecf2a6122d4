"""Train a segmenter on rasters with footprints, for imagery that has none."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geossda.adapt.samplers import training_streams
from geossda.adapt.strategies import STRATEGIES, resolve_adaptation
from geossda.config import TrainSegmenterConfig, config_from
from geossda.data.labels import find_footprints, read_footprints
from geossda.data.patches import Patch
from geossda.data.scaled_rasters import WorkingRaster
from geossda.devices import choose
from geossda.errors import BandError, EmptyRasterError, GeoreferenceError, VectorError, counted
from geossda.evaluation.calibration import calibration
from geossda.evaluation.style_matrix import draw_pairs
from geossda.formats import ONNX_SUFFIX
from geossda.image_files import write_image
from geossda.models.card import SegmenterCard
from geossda.models.model_file import read_card_of, resolve
from geossda.models.onnx_export import export_beside
from geossda.progress import SILENT, Progress
from geossda.raster.imagery import check_imagery
from geossda.raster.mosaic import Mosaic, find_sources, open_mosaic
from geossda.raster.polygons import placed, polygons_of
from geossda.raster.scaling import Scaling, scaling
from geossda.raster.shapes import Shapes, close_together
from geossda.raster.source import gdal_environment
from geossda.raster.vector_files import read_shapes
from geossda.runs.fingerprint import digest
from geossda.runs.lock import exclusive
from geossda.staging import PathLike, atomic_write, check_output
from geossda.training.rundir import removed_unless_saved, run_folder
from geossda.training.segmenter_loop import train
from geossda.urls import file_name

# Pixels of all rasters together that are kept in memory (of three bands: 640 MB); rasters that do
# not fit are read as patches are drawn.
MAX_IN_MEMORY_PX = 2**27
# Number and side in pixels of the patches in the preview.
PREVIEW_PATCHES, PREVIEW_PX = 10, 128


@exclusive(lambda given: [given["output"], run_folder(given["output"], given["run"])])
def train_segmenter(
    sources: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    footprints: Sequence[PathLike] = (),
    area: PathLike | None = None,
    targets: PathLike | Sequence[PathLike] = (),
    run: PathLike | None = None,
    config: TrainSegmenterConfig | None = None,
    progress: Progress = SILENT,
    **settings: Any,
) -> SegmenterCard:
    """Train a building segmenter and write it with its card.

    Parameters
    ----------
    sources : path or sequence of path
        Rasters, folders or globs; footprints must be complete in all of each, or within `area`.
    output : path
        The ``.safetensors`` file; the ``.onnx`` file is written beside it.
    footprints : sequence of path, optional
        One vector file or mask for all rasters, or one per raster in the same order. By default the
        one vector file in each raster's folder.
    area : path, optional
        Polygons within which footprints are complete, if they are not in all of each raster;
        nothing outside is learned from.
    targets : path or sequence of path, optional
        Imagery without labels that the model is for.
    run : path, optional
        Run directory, ``<output stem>_run`` beside the output by default; training resumes from
        its last checkpoint. If the strategy changes colours, ``patches.png`` there shows labelled
        patches, and below them the same recoloured.
    config : TrainSegmenterConfig, optional
        Settings; the defaults if not given.
    progress : Progress
        Receives stages, steps, notes and warnings.
    **settings
        Settings by name, which replace those of `config`.

    Returns
    -------
    SegmenterCard
        The card of the new model.

    Raises
    ------
    VectorError
        `footprints` are neither one for all rasters nor one each, or cannot be read.
    EmptyRasterError
        No footprint lies on any raster.
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    config = config_from(TrainSegmenterConfig, config, settings)
    output = check_output(output, overwrite=config.overwrite)
    check_output(output.with_suffix(ONNX_SUFFIX), overwrite=config.overwrite)
    device = choose(config.device)  # before any work is done
    paths = find_sources(sources)
    wanted = find_sources(targets) if targets else []
    config = _resolved(config, bool(wanted))
    if len(footprints) not in (0, 1, len(paths)):
        raise VectorError(
            f"{counted(len(footprints), 'footprint file')} for "
            f"{counted(len(paths), 'raster')}: give none, one, "
            "or one each"
        )
    within = None if area is None else polygons_of(read_shapes(area), area, None)
    rasters: list[WorkingRaster] = []
    unlabelled: list[WorkingRaster] = []
    drawn: list[list[str]] = []
    room = MAX_IN_MEMORY_PX
    with gdal_environment():
        progress.stage("reading rasters", len(paths) + len(wanted))
        for index, path in enumerate(paths):
            chosen = footprints[index % len(footprints)] if footprints else find_footprints(path)
            mosaic = _open(path, config, rasters, progress)
            shapes = read_footprints(chosen, mosaic.grid.crs.to_wkt(), progress)
            near = _intersecting(shapes, mosaic)
            corners: list[Shapes | None] = [None]
            inside = shapes[:0]
            if within is not None:
                inside = _intersecting(placed(within, shapes.crs, area or ""), mosaic)
                # Between two distant polygons there would be little but nodata.
                corners = list(close_together(inside))
            # Within an area, no footprint means that there is no building.
            if not corners or (not len(near) and within is None and not config.negatives):
                missing = f"polygon of {area}" if not corners else f"footprint of {chosen}"
                progress.warn(f"{path} holds no {missing}: left out as unlabelled")
                corners = []
            if corners:
                measured = _scaling_of(mosaic, config)
                for corner in corners:
                    rasters.append(_prepare(mosaic, measured, config, room, near, corner))
                    room -= rasters[-1].pixels_in_memory
                # A run is not resumed with other footprints or another area.
                drawn += [
                    shapely.to_wkb(polygons.geometry, hex=True).tolist()
                    for polygons in (near, inside)
                ]
            progress.advance()
        for path in wanted:
            mosaic = _open(path, config, rasters, progress)
            unlabelled.append(_prepare(mosaic, _scaling_of(mosaic, config), config, room))
            room -= unlabelled[-1].pixels_in_memory
            progress.advance()
    if not rasters:
        raise EmptyRasterError(
            "no labelled raster is left: give footprints that lie on the rasters"
        )
    if config.adapt == "auto":
        config = _chosen(config, len({raster.folder for raster in rasters}), bool(wanted), progress)
    strategy = STRATEGIES[config.adapt]
    rasters, unlabelled = (
        strategy.mapped(config, each, progress) for each in (rasters, unlabelled)
    )
    streams = training_streams(config, rasters, unlabelled, progress=progress)
    folder = run_folder(output, run)
    with removed_unless_saved(folder):
        if streams.preview is not None and not (folder / "last.pt").exists():
            _write_preview(streams.preview, folder / "patches.png")
        card = train(
            streams.labelled,
            rasters[0].mosaic.count,
            output,
            folder,
            config,
            draw_target=streams.target,
            objective=streams.objective,
            sources=tuple(file_name(path) for path in (*paths, *wanted)),
            labels=digest(drawn)[:12],
            places=streams.places,
            calibrate=calibration(rasters, device, progress=progress),
            progress=progress,
        )
    export_beside(output, overwrite=config.overwrite, progress=progress)
    return card


def _chosen(
    config: TrainSegmenterConfig, places: int, has_target: bool, progress: Progress
) -> TrainSegmenterConfig:
    """Return the settings with what ``auto`` stands for, and say what that is."""
    config = resolve_adaptation(config, places, has_target)
    labels = f"labels of {counted(places, 'place')}"
    if has_target and config.adapt == "none":
        progress.warn(
            f"{labels}: --adapt auto does not learn from the target, which gains nothing there in "
            "the mean; give --adapt ssda to learn from it"
        )
    elif has_target:
        teacher = "with" if config.mean_teacher else "without"
        progress.note(f"{labels}: auto is --adapt {config.adapt} {teacher} a mean teacher")
    return config


def _resolved(config: TrainSegmenterConfig, has_target: bool) -> TrainSegmenterConfig:
    """Return the settings with what follows from others and from the initial model."""
    if config.adapt != "auto":  # which depends on the rasters
        config = resolve_adaptation(config, 1, has_target)
    if not config.init_from:
        return config
    card = read_card_of(resolve(config.init_from, SegmenterCard), SegmenterCard)
    return dataclasses.replace(
        config,
        architecture=card.architecture,
        encoder=card.encoder,
        # The terms of the initial weights apply to the new ones.
        data=config.data or card.data or None,
        licence=config.licence or card.licence or None,
        attribution=config.attribution or card.attribution or None,
    )


def _write_preview(preview: Callable[[int], tuple[Patch, Patch]], path: Path) -> None:
    """Write a picture of some labelled patches, as they are and recoloured."""
    cells = [
        (np.rint(plain.image * 255).astype(np.uint8), np.rint(other.image * 255).astype(np.uint8))
        for plain, other in map(preview, range(PREVIEW_PATCHES))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        write_image(part, draw_pairs(cells, side=PREVIEW_PX))


def _open(
    path: str, config: TrainSegmenterConfig, others: list[WorkingRaster], progress: Progress
) -> Mosaic:
    mosaic = open_mosaic(path, bands=config.bidx or None, nodata=config.nodata)
    if mosaic.grid.crs is None:
        raise GeoreferenceError(mosaic.sources[0].lacks_crs)
    if others and mosaic.count != others[0].mosaic.count:
        raise BandError(
            f"{path} has {counted(mosaic.count, 'band')}, {others[0].mosaic.name} has "
            f"{others[0].mosaic.count}: choose common ones with --bidx"
        )
    check_imagery(mosaic, progress)
    return mosaic


def _intersecting(shapes: Shapes, mosaic: Mosaic) -> Shapes:
    return shapes[shapely.intersects(shapes.geometry, mosaic.grid.extent)]


def _scaling_of(mosaic: Mosaic, config: TrainSegmenterConfig) -> Scaling:
    percent = config.low_percent, config.high_percent
    return scaling(config.scaling, mosaic, percent, floor=config.floor)


def _prepare(
    mosaic: Mosaic,
    measured: Scaling,
    config: TrainSegmenterConfig,
    max_pixels: int,
    shapes: Shapes | None = None,
    area: Shapes | None = None,
) -> WorkingRaster:
    return WorkingRaster.prepare(
        mosaic,
        config.gsd,
        measured,
        shapes=shapes,
        area=area,
        # Calibration needs labels, so nothing is held out of unlabelled rasters.
        hold_out=0.0 if shapes is None else config.hold_out,
        max_pixels=max_pixels,
    )

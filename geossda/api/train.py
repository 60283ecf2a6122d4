"""Train a segmenter on rasters with footprints."""

from collections.abc import Sequence
from pathlib import Path

from geossda.config import TrainSegmenterConfig
from geossda.data.labels import find_footprints, read_footprints
from geossda.data.patches import LabelledRaster, PatchSampler
from geossda.errors import BandError, GeoreferenceError, VectorError
from geossda.models.card import SegmenterCard
from geossda.progress import SILENT, Progress
from geossda.raster.reading import find_sources, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.staging import PathLike, check_output
from geossda.training.segmenter import train


def train_segmenter(
    sources: Sequence[PathLike],
    output: PathLike,
    *,
    footprints: Sequence[PathLike] = (),
    run: PathLike | None = None,
    config: TrainSegmenterConfig = TrainSegmenterConfig(),  # noqa: B008  (frozen)
    progress: Progress = SILENT,
) -> SegmenterCard:
    """Train a building segmenter and write it with its card.

    Parameters
    ----------
    sources : sequence of path
        Rasters, folders or globs; the footprints must cover each of them wholly.
    output : path
        The ``.safetensors`` file.
    footprints : sequence of path, optional
        One vector file for all rasters, or one a raster in the same order. By default the one
        vector file in each raster's folder.
    run : path, optional
        Run directory, ``<output stem>_run`` beside the output by default; training goes on from
        its last checkpoint.
    config : TrainSegmenterConfig
        Settings.
    progress : Progress
        Is told of stages, steps and warnings.

    Returns
    -------
    SegmenterCard
        The card of the new model.
    """
    output = check_output(output, overwrite=config.overwrite)
    paths = find_sources(sources)
    if len(footprints) not in (0, 1, len(paths)):
        raise VectorError(
            f"{len(footprints)} footprint files for {len(paths)} rasters: give none, one, "
            "or one each"
        )
    rasters = []
    bands = 0
    with gdal_environment():
        for index, path in enumerate(paths):
            mosaic = open_mosaic(path, bands=config.bidx or None, nodata=config.nodata)
            if mosaic.grid.crs is None:
                raise GeoreferenceError(f"{path} has no CRS, so footprints cannot be laid over it")
            if bands and mosaic.count != bands:
                raise BandError(
                    f"{path} has {mosaic.count} bands, {paths[0]} has {bands}: choose common ones "
                    "with --bidx"
                )
            bands = mosaic.count
            chosen = footprints[index % len(footprints)] if footprints else find_footprints(path)
            shapes = read_footprints(chosen, mosaic.grid.crs.to_wkt())
            if not shapes.intersects(mosaic.grid.extent.geom).any():
                progress.warn(f"{path} holds no footprint of {chosen}: left out as unlabelled")
                continue
            rasters.append(
                LabelledRaster.prepare(
                    mosaic, shapes, config.gsd, (config.low_percent, config.high_percent)
                )
            )
    sampler = PatchSampler(rasters, config.patch, config.seed)
    return train(
        sampler.draw,
        bands,
        output,
        run if run is not None else output.with_name(f"{output.stem}_run"),
        config,
        sources=tuple(Path(path).name for path in paths),
        progress=progress,
    )

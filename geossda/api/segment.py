"""Find the buildings of a mosaic."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from geossda.config import SegmentConfig
from geossda.devices import choose
from geossda.errors import OutputError
from geossda.inference.predict import predict
from geossda.inference.segment import (
    NODATA,
    choose_bands,
    ready_to_predict,
    require_place,
    write_on_grid,
)
from geossda.models.segmenter import load_segmenter
from geossda.progress import SILENT, Progress
from geossda.raster.reading import find_sources, open_mosaic
from geossda.raster.source import gdal_environment
from geossda.raster.windows import Window
from geossda.raster.writing import new_cog, parse_creation_options, provenance
from geossda.staging import PathLike, check_output
from geossda.vector.geopackage import to_frame, write_geopackage
from geossda.vector.polygons import Footprint, StripPolygonizer


@dataclass(frozen=True)
class SegmentResult:
    """What `segment` wrote.

    Attributes
    ----------
    output : Path
        The GeoPackage.
    buildings : int
    area_m2 : float
        Sum of the buildings' areas.
    """

    output: Path
    buildings: int
    area_m2: float


def segment(
    sources: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    probabilities: PathLike | None = None,
    mask: PathLike | None = None,
    config: SegmentConfig = SegmentConfig(),  # noqa: B008  (frozen)
    progress: Progress = SILENT,
) -> SegmentResult:
    """Find buildings and write their footprints.

    The mosaic is read at the model's ground sample distance, in true metres whatever its CRS;
    overlapping windows are predicted and blended; what lies over the threshold becomes polygons.

    Parameters
    ----------
    sources : path or sequence of path
        Files, folders, globs or URLs, taken as one mosaic.
    output : path
        A ``.gpkg`` file; layer ``buildings`` in the mosaic's CRS.
    probabilities, mask : path, optional
        Rasters to write as well, on the mosaic's grid: probability (float32, nodata -1) and
        buildings (0, 1, nodata 255).
    config : SegmentConfig
        Settings.
    progress : Progress
        Is told of stages, steps and warnings.

    Returns
    -------
    SegmentResult
        What was written.

    Raises
    ------
    GeossdaError
        See :mod:`geossda.errors`; nothing is left half-written.
    """
    paths = find_sources(sources)
    output = Path(output)
    if output.suffix.lower() != ".gpkg":
        raise OutputError(f"{output}: a name ending in .gpkg was expected")
    rasters = {
        kind: check_output(path, overwrite=config.overwrite, inputs=paths)
        for kind, path in (("probabilities", probabilities), ("mask", mask))
        if path is not None
    }
    check_output(output, overwrite=config.overwrite, inputs=paths)
    options = parse_creation_options(config.co)
    with gdal_environment():
        mosaic = open_mosaic(paths, bands=config.bidx or None, nodata=config.nodata)
        require_place(mosaic)
    device = choose(config.device)
    network, card = load_segmenter(config.model)
    gsd_m = config.gsd or card.gsd_m
    threshold = card.threshold if config.threshold is None else config.threshold
    tags = provenance(
        "segment",
        model=f"{card.name} {card.version} {card.sha256[:12]}",
        settings=asdict(config),
        sources=[os.path.basename(path) for path in paths],
    )
    with gdal_environment(), ExitStack() as stack:
        mosaic = choose_bands(mosaic, card, progress)
        # A pixel more than simplifying can move an outline keeps buildings off nodata.
        reader = ready_to_predict(
            mosaic, card, gsd_m, clearance_m=config.simplify + gsd_m, progress=progress
        )
        polygonizer = StripPolygonizer(threshold)
        writer = None
        if rasters:
            folder = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(dir=output.parent, prefix=".geossda-")
                )
            )
            coarse = folder / "probabilities.tif"
            writing = ExitStack()
            stack.enter_context(writing)
            writer = writing.enter_context(
                new_cog(
                    coarse,
                    reader.mosaic.grid,
                    1,
                    np.dtype(np.float32),
                    validity="nodata",
                    nodata=NODATA,
                )
            )

        def footprints() -> Iterator[Footprint]:
            for strip in predict(
                reader,
                network,
                device,
                overlap_px=card.overlap_px,
                batch=config.batch,
                progress=progress,
            ):
                if writer is not None:
                    height, width = strip.probability.shape
                    window = Window(strip.row, 0, height, width)
                    writer.write(window, strip.probability[None], strip.valid)
                # Below any threshold, 0 included.
                known = np.where(strip.valid, strip.probability, np.float32(NODATA))
                yield from polygonizer.add(known)
            yield from polygonizer.finish()

        frame = to_frame(
            footprints(),
            reader.mosaic.grid,
            gsd_m,
            simplify_m=config.simplify,
            min_area_m2=config.min_area,
        )
        if rasters:
            writing.close()
        for kind, target in rasters.items():
            write_on_grid(
                coarse,
                mosaic,
                target,
                threshold=threshold if kind == "mask" else None,
                tags=tags,
                options=options,
                progress=progress,
            )
    write_geopackage(frame, output, tags)
    return SegmentResult(output, len(frame), float(frame.area_m2.sum()))

"""Ranges that a segmenter needs to run in 8-bit integers, measured on imagery."""

from collections.abc import Sequence
from pathlib import Path

from geossda.config import SegmentConfig
from geossda.errors import EmptyRasterError
from geossda.models.card import SegmenterCard
from geossda.models.onnx_file import read_onnx
from geossda.progress import SILENT, Progress
from geossda.raster.mosaic import find_sources
from geossda.raster.source import gdal_environment
from geossda.runtime.openvino_graph import range_meter
from geossda.runtime.quantization import Ranges
from geossda.segmentation.prepare import choose_bands, ready_to_predict
from geossda.segmentation.segment_job import open_for

# Windows of each raster, spread over it.
WINDOWS_EACH = 12
# Windows with less data say little of what imagery is like.
LEAST_VALID = 0.5


def measure_ranges(
    graph: Path, card: SegmenterCard, rasters: Sequence[str], progress: Progress = SILENT
) -> Ranges:
    """Measure between which limits the values in a segmenter lie.

    Parameters
    ----------
    graph : path
        ONNX file of the segmenter.
    card : SegmenterCard
    rasters : sequence of str
        Imagery such as it will be used on: files, folders or globs.
    progress : Progress
        Advanced by one per raster.

    Returns
    -------
    dict
        Lowest and highest value by name.

    Raises
    ------
    EmptyRasterError
        No raster has a window that is half valid.
    GeossdaError
        A raster cannot be used.
    """
    meter = range_meter(read_onnx(graph))
    paths = find_sources(rasters)
    progress.stage("measuring ranges for int8", len(paths))
    for path in paths:
        with gdal_environment():
            mosaic = choose_bands(open_for([path], SegmentConfig()), card, progress)
            reader = ready_to_predict(mosaic, card, card.gsd_m, clearance_m=0.0)
            for row, col in reader.spread_places(card.overlap_px, WINDOWS_EACH):
                read = reader.read(row, col)
                if read.valid.mean() >= LEAST_VALID:
                    meter(read.image)
        progress.advance()
    if not meter.ranges:
        raise EmptyRasterError(
            "no raster to calibrate on has a window of which half is valid: give larger ones"
        )
    return meter.ranges

"""Harmonize satellite and aerial mosaics, and map their buildings.

Importing this package loads neither torch, OpenVINO nor GDAL; functions load what they need when
called.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geossda._version import __version__
from geossda.config import (
    AlignConfig,
    BenchmarkConfig,
    DemoConfig,
    EvaluateConfig,
    EvaluateStyleConfig,
    ExportConfig,
    HarmonizeConfig,
    MatrixConfig,
    PaperBenchmarkConfig,
    PolygonizeConfig,
    ReportConfig,
    ScenesConfig,
    SegmentConfig,
    StyleConfig,
    TrainSegmenterConfig,
    TrainStyleConfig,
)
from geossda.errors import GeossdaError
from geossda.gdal_data import drop_foreign_data
from geossda.local_only import restrict_libraries

if TYPE_CHECKING:
    from geossda.api.align import align
    from geossda.api.benchmark import benchmark_paper, benchmark_places, benchmark_transfer
    from geossda.api.demo import demo
    from geossda.api.evaluate import evaluate
    from geossda.api.evaluate_style import evaluate_style
    from geossda.api.export import export
    from geossda.api.harmonize import harmonize
    from geossda.api.info import info
    from geossda.api.matrix import matrix
    from geossda.api.models import list_models
    from geossda.api.polygonize import polygonize
    from geossda.api.report import report
    from geossda.api.scenes import scenes
    from geossda.api.segment import segment
    from geossda.api.style import make_style
    from geossda.api.train_segmenter import train_segmenter
    from geossda.api.train_style import train_style
    from geossda.raster.mosaic import open_mosaic

# Before rasterio, pyogrio or pyproj look for their data.
drop_foreign_data()
restrict_libraries()

_LAZY = {
    "align": "geossda.api.align",
    "benchmark_paper": "geossda.api.benchmark",
    "benchmark_places": "geossda.api.benchmark",
    "benchmark_transfer": "geossda.api.benchmark",
    "demo": "geossda.api.demo",
    "evaluate": "geossda.api.evaluate",
    "evaluate_style": "geossda.api.evaluate_style",
    "export": "geossda.api.export",
    "harmonize": "geossda.api.harmonize",
    "info": "geossda.api.info",
    "make_style": "geossda.api.style",
    "matrix": "geossda.api.matrix",
    "list_models": "geossda.api.models",
    "open_mosaic": "geossda.raster.mosaic",
    "polygonize": "geossda.api.polygonize",
    "report": "geossda.api.report",
    "scenes": "geossda.api.scenes",
    "segment": "geossda.api.segment",
    "train_segmenter": "geossda.api.train_segmenter",
    "train_style": "geossda.api.train_style",
}

# What trains.
_NEED_TORCH = (
    "benchmark_paper",
    "benchmark_places",
    "benchmark_transfer",
    "train_segmenter",
    "train_style",
)

__all__ = [
    "AlignConfig",
    "BenchmarkConfig",
    "DemoConfig",
    "EvaluateConfig",
    "EvaluateStyleConfig",
    "ExportConfig",
    "GeossdaError",
    "HarmonizeConfig",
    "MatrixConfig",
    "PaperBenchmarkConfig",
    "PolygonizeConfig",
    "ReportConfig",
    "ScenesConfig",
    "SegmentConfig",
    "StyleConfig",
    "TrainSegmenterConfig",
    "TrainStyleConfig",
    "__version__",
    "align",
    "benchmark_paper",
    "benchmark_places",
    "benchmark_transfer",
    "demo",
    "evaluate",
    "evaluate_style",
    "export",
    "harmonize",
    "info",
    "list_models",
    "make_style",
    "matrix",
    "open_mosaic",
    "polygonize",
    "report",
    "scenes",
    "segment",
    "train_segmenter",
    "train_style",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        if name in _NEED_TORCH:
            from geossda.devices import require_torch

            require_torch(name.replace("_", "-"))
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'geossda' has no attribute {name!r}")

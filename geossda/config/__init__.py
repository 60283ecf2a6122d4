"""The settings of every function: one source of defaults, choices, limits and help.

The Python functions take these records, and the command line and the QGIS dialogs are made from
them. Values are checked when a record is made.
"""

from geossda.config.benchmark_configs import (
    BenchmarkConfig,
    EvaluateStyleConfig,
    MatrixConfig,
    PaperBenchmarkConfig,
)
from geossda.config.building_configs import (
    AlignConfig,
    EvaluateConfig,
    PolygonizeConfig,
    SegmentConfig,
)
from geossda.config.choices import (
    DEVICES,
    METHODS,
    ROWS,
    TRANSLATIONS,
    AdaptMethod,
    BalanceCost,
    BalanceMethod,
    BalanceSpace,
    ColorMethod,
    HarmonizeMethod,
    MapMethod,
    MatchingMethod,
    MatchOf,
    MatrixMethod,
    NamedMethod,
    PrecisionName,
    Regularity,
    Row,
    RunsModel,
    RuntimeName,
    ScalingKind,
    StretchOf,
    Structure,
    StylePreset,
)
from geossda.config.color_configs import (
    DemoConfig,
    HarmonizeConfig,
    ReportConfig,
    ScenesConfig,
    StyleConfig,
)
from geossda.config.provenance import EXECUTION_ONLY, NOT_IN_PROVENANCE
from geossda.config.setting import Config, config_from, kind_of, settings_of, unknown_setting
from geossda.config.training_configs import ExportConfig, TrainSegmenterConfig, TrainStyleConfig

__all__ = [
    "DEVICES",
    "EXECUTION_ONLY",
    "METHODS",
    "NOT_IN_PROVENANCE",
    "ROWS",
    "TRANSLATIONS",
    "AdaptMethod",
    "AlignConfig",
    "BalanceCost",
    "BalanceMethod",
    "BalanceSpace",
    "BenchmarkConfig",
    "ColorMethod",
    "Config",
    "DemoConfig",
    "EvaluateConfig",
    "EvaluateStyleConfig",
    "ExportConfig",
    "HarmonizeConfig",
    "HarmonizeMethod",
    "MapMethod",
    "MatchOf",
    "MatchingMethod",
    "MatrixConfig",
    "MatrixMethod",
    "NamedMethod",
    "PaperBenchmarkConfig",
    "PolygonizeConfig",
    "PrecisionName",
    "Regularity",
    "ReportConfig",
    "Row",
    "RunsModel",
    "RuntimeName",
    "ScalingKind",
    "ScenesConfig",
    "SegmentConfig",
    "StretchOf",
    "Structure",
    "StyleConfig",
    "StylePreset",
    "TrainSegmenterConfig",
    "TrainStyleConfig",
    "config_from",
    "kind_of",
    "settings_of",
    "unknown_setting",
]

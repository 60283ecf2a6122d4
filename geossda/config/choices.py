"""Types of settings that have few values, and those values."""

from typing import Literal, Protocol, get_args

# Pixelwise methods that match a style; all pixelwise methods; all methods.
MatchingMethod = Literal["histogram", "reinhard", "linear"]
ColorMethod = Literal[MatchingMethod, "grayworld", "equalize"]
# Those that map colors by the colors of all bands.
MapMethod = Literal["mixture", "graph"]
NamedMethod = Literal["ssda", "translation", MapMethod, ColorMethod, "none"]
HarmonizeMethod = Literal["auto", NamedMethod]
MatrixMethod = Literal["ssda", MapMethod, MatchingMethod]
# Style models: methods of translation between declared domains, and all presets.
Translation = Literal["cyclegan", "standardgan", "stargan", "starganv2"]
StylePreset = Literal["geossda", "paper", "daug", Translation]
Structure = Literal["lock", "full"]
# What of a style ssda matches.
MatchOf = Literal["auto", "land", "whole"]
# How overlapping sources are balanced, and what gains by quadratic programming minimize.
BalanceMethod = Literal["none", "gain-offset", "qp"]
BalanceCost = Literal["rmse", "mu", "musig"]
BalanceSpace = Literal["bands", "decorrelated"]
# Which pixels share one stretch.
StretchOf = Literal["source", "mosaic"]
ScalingKind = Literal["percentile", "bits", "equalize"]
Regularity = Literal["rectilinear", "simplify", "none"]
AdaptMethod = Literal[
    "auto",
    "none",
    "equalize",
    "hsv",
    "gamma",
    "rhm",
    "mix",
    "graph",
    "daug",
    "translation",
    "standardgan",
    "ssda",
]
Schedule = Literal["cosine", "polynomial", "trapezoid"]
# Symmetries averaged over in test-time augmentation; pixels that count as neighbours.
Symmetries = Literal[1, 2, 4, 8]
Connectivity = Literal[4, 8]
# Rows of the paper's Table I, mixed histograms, graph matching, some with a mean teacher on the
# target's imagery, and models of declared domains.
Row = Literal[
    "none", "equalize", "hsv", "gamma", "rhm", "daug", "ssda", "mix", "graph",
    "none+mean-teacher", "rhm+mean-teacher", "ssda+mean-teacher",
    "translation", "standardgan",
]  # fmt: skip

TRANSLATIONS: tuple[Translation, ...] = get_args(Translation)
METHODS: tuple[ColorMethod, ...] = get_args(ColorMethod)
ROWS: tuple[Row, ...] = get_args(Row)
DEVICES = ("auto", "cpu", "cuda", "mps")
# Of training, and of what runs models, which OpenVINO does on one more.
RUN_DEVICES = (*DEVICES, "intel-gpu")
RuntimeName = Literal["auto", "openvino", "torch"]
PrecisionName = Literal["auto", "float32", "bfloat16"]
SegmenterPrecision = Literal["auto", "float32", "bfloat16", "int8"]


class RunsModel(Protocol):
    """Settings of a command that runs a model."""

    @property
    def device(self) -> str: ...  # noqa: D102

    @property
    def runtime(self) -> RuntimeName: ...  # noqa: D102

    @property
    def precision(self) -> SegmenterPrecision: ...  # noqa: D102

"""Types of settings that have few values, and those values."""

from typing import Literal, get_args

# Pixelwise methods that match a style; all pixelwise methods; all methods.
MatchingMethod = Literal["histogram", "reinhard", "linear"]
ColorMethod = Literal[MatchingMethod, "grayworld", "equalize"]
NamedMethod = Literal["ssda", "mixture", ColorMethod]
HarmonizeMethod = Literal["auto", NamedMethod]
MatrixMethod = Literal["ssda", MatchingMethod]
Structure = Literal["lock", "full"]
# Which pixels share one stretch.
StretchOf = Literal["source", "mosaic"]
ScalingKind = Literal["percentile", "bits", "equalize"]
Regularity = Literal["rectilinear", "simplify", "none"]
AdaptMethod = Literal["auto", "none", "equalize", "hsv", "gamma", "rhm", "mix", "daug", "ssda"]
Schedule = Literal["cosine", "polynomial", "trapezoid"]
# Symmetries averaged over in test-time augmentation; pixels that count as neighbours.
Symmetries = Literal[1, 2, 4, 8]
Connectivity = Literal[4, 8]
# Rows of the paper's Table I, and the same with a mean teacher on the target's imagery.
Row = Literal[
    "none", "equalize", "hsv", "gamma", "rhm", "daug", "ssda",
    "none+mean-teacher", "rhm+mean-teacher", "ssda+mean-teacher",
]  # fmt: skip

METHODS: tuple[ColorMethod, ...] = get_args(ColorMethod)
ROWS: tuple[Row, ...] = get_args(Row)
DEVICES = ("auto", "cpu", "cuda", "mps")

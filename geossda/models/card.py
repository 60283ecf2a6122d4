"""Model cards: how to use a model and where it comes from."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from geossda.config import ScalingKind, StylePreset
from geossda.models.card_checks import OUTPUTS

AdainLevels = Literal["all", "deepest"]


@dataclass(frozen=True)
class SegmenterCard:
    """How to feed a building segmenter, and where it comes from.

    Attributes
    ----------
    name, version : str
        The model's name, and the version of geossda that wrote it.
    architecture, encoder : str
        Names known to segmentation-models-pytorch.
    bands : tuple of str
        Names of the input bands, in order.
    gsd_m : float
        Ground sample distance it was trained at, in metres.
    patch_px, overlap_px : int
        Side and overlap of the windows to predict on, in pixels at `gsd_m`.
    scaling : {"percentile", "bits", "equalize"}
        How digital numbers are scaled to 0..1: see :func:`geossda.raster.scaling.scaling`.
    low_percent, high_percent : float
        Percentiles of each band of the whole raster that are scaled to 0 and 1, in percent.
    floor : float
        Least width of that stretch: see :func:`geossda.raster.scaling.widened`. 0 is none.
    outputs : tuple of str
        What the network's channels are: the first of ``OUTPUTS``. Only the first is a probability
        of buildings; the others tell buildings apart that touch.
    threshold : float
        Probability from which a pixel is a building.
    temperature : float
        Logits are divided by it, so that probabilities are calibrated.
    data, licence, attribution : str
        Training data, licence of the weights, and the credits it requires.
    metrics : dict
        Published figures.
    training : dict
        Settings of the training.
    sha256 : str
        Hash of all tensors, in order of name.
    """

    name: str
    version: str
    architecture: str = "unet"
    encoder: str = "tu-tf_efficientnet_lite0"
    bands: tuple[str, ...] = ("red", "green", "blue")
    gsd_m: float = 0.3
    patch_px: int = 512
    overlap_px: int = 64
    scaling: ScalingKind = "percentile"
    low_percent: float = 2.0
    high_percent: float = 98.0
    floor: float = 0.0
    outputs: tuple[str, ...] = OUTPUTS[:1]
    threshold: float = 0.5
    temperature: float = 1.0
    data: str = ""
    licence: str = ""
    attribution: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    kind: Literal["segmenter"] = "segmenter"


@dataclass(frozen=True)
class StyleCard:
    """How to use a style model, and where it comes from.

    Attributes
    ----------
    name, version : str
        The model's name, and the version of geossda that wrote it.
    preset : str
        Which networks.
    bands : int
        Bands that go through the model together; images of more go through in groups.
    adain : {"all", "deepest"}
        Levels that the style is applied at.
    domains : tuple of str
        Names of the domains of all presets but ``geossda`` and ``paper``: what is declared there
        is measured here.
    width : int
        Channels of the first layer of the presets that translate between domains.
    data, licence, attribution : str
        Training data, licence of the weights, and the credits it requires.
    metrics : dict
        Published figures.
    training : dict
        Settings of the training.
    sha256 : str
        Hash of all tensors, in order of name. Style files name the model they are for by it.
    """

    name: str
    version: str
    preset: StylePreset = "geossda"
    bands: int = 3
    adain: AdainLevels = "all"
    domains: tuple[str, ...] = ()
    width: int = 32
    data: str = ""
    licence: str = ""
    attribution: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    kind: Literal["style"] = "style"


Card = SegmenterCard | StyleCard
C = TypeVar("C", SegmenterCard, StyleCard)

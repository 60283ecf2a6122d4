"""Every setting of every verb: one source of defaults, choices and help.

The API takes these records, the command line makes its options from them, and so does any other
interface. Fields carry their help and limits in the dataclass metadata.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

HarmonizeMethod = Literal["histogram", "reinhard", "grayworld", "equalize"]
C = TypeVar("C")
METHODS: tuple[HarmonizeMethod, ...] = get_args(HarmonizeMethod)


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    low: float | None = None,
    high: float | None = None,
    metavar: str | None = None,
    advanced: bool = False,
) -> Any:
    """Make a dataclass field with what an interface needs to ask for it.

    Parameters
    ----------
    default : value
    help : str
        One line; units in it.
    choices : tuple of str, optional
        The only values allowed.
    low, high : float, optional
        Inclusive limits.
    metavar : str, optional
        What stands for the value in help texts.
    advanced : bool
        Whether an interface may hide it at first.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "choices": choices,
            "low": low,
            "high": high,
            "metavar": metavar,
            "advanced": advanced,
        },
    )


def documented(config: type[C]) -> type[C]:
    """Write the fields' help into a config's docstring, so that it stands in one place only."""
    lines = ["", "", "Parameters", "----------"]
    for entry in fields(config):  # type: ignore[arg-type]
        lines += [f"{entry.name} : {entry.type}", f"    {entry.metadata['help']}"]
    config.__doc__ = (config.__doc__ or "") + "\n".join(lines) + "\n"
    return config


_BIDX = "Bands to use, 1-based, in order (all but alpha)."
_NODATA = "Value of pixels without data, if the file does not declare it."
_CO = "Creation option of GDAL's COG driver, such as COMPRESS=ZSTD; repeatable."
_OVERWRITE = "Replace existing outputs."


@documented
@dataclass(frozen=True)
class HarmonizeConfig:
    """Settings of `harmonize`."""

    method: HarmonizeMethod = setting(
        "histogram", "How to bring the colours over.", choices=METHODS
    )
    strength: float = setting(
        1.0, "How far to go from the source (0) to the style (1).", low=0.0, high=1.0
    )
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    feather: int = setting(
        64, "Width in pixels over which overlapping sources fade into each other.", low=0, high=512
    )
    tile: int = setting(
        1024,
        "Side in pixels of the pieces the work is cut into; changes no pixel.",
        low=16,
        high=16384,
        advanced=True,
    )
    co: tuple[str, ...] = setting((), _CO, metavar="NAME=VALUE", advanced=True)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class StyleConfig:
    """Settings of `style`."""

    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class SegmentConfig:
    """Settings of `segment`."""

    model: str = setting("default", 'The model: "default" or a safetensors file.')
    threshold: float | None = setting(
        None, "Probability from which a pixel is a building (the model's own).", low=0.0, high=1.0
    )
    min_area: float = setting(8.0, "Smallest building kept, in square metres.", low=0.0)
    simplify: float = setting(0.5, "Tolerance of the outlines, in metres; 0 keeps pixels.", low=0.0)
    gsd: float | None = setting(
        None, "Ground sample distance in metres to predict at (the model's own).", low=0.01
    )
    bidx: tuple[int, ...] = setting(
        (), "The model's bands among the raster's, 1-based.", metavar="N"
    )
    nodata: float | None = setting(None, _NODATA)
    batch: int = setting(2, "Windows predicted at a time.", low=1, high=256, advanced=True)
    device: str = setting(
        "auto", "Where to predict.", choices=("auto", "cpu", "cuda", "mps"), advanced=True
    )
    co: tuple[str, ...] = setting((), _CO, metavar="NAME=VALUE", advanced=True)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class TrainSegmenterConfig:
    """Settings of `train-segmenter`."""

    architecture: str = setting("unet", "Architecture of segmentation-models-pytorch.")
    encoder: str = setting("tu-tf_efficientnet_lite0", "Encoder of segmentation-models-pytorch.")
    encoder_weights: str = setting(
        "imagenet", 'First weights of the encoder: "imagenet", "none" or a safetensors file.'
    )
    gsd: float = setting(0.3, "Ground sample distance in metres to train at.", low=0.01)
    steps: int = setting(4000, "Optimizer steps.", low=1)
    batch: int = setting(8, "Patches a step.", low=1)
    patch: int = setting(256, "Patch side in pixels, a multiple of 32.", low=32, high=2048)
    lr: float = setting(1e-3, "Highest learning rate.", low=0.0)
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", low=0.0, advanced=True)
    ema: float = setting(
        0.99, "Decay of the averaged weights that are kept.", low=0.0, high=1.0, advanced=True
    )
    low_percent: float = setting(
        2.0, "Percentile of each band scaled to 0.", low=0.0, high=50.0, advanced=True
    )
    high_percent: float = setting(
        98.0, "Percentile of each band scaled to 1.", low=50.0, high=100.0, advanced=True
    )
    seed: int = setting(0, "Seed of all random numbers.", low=0)
    checkpoint: int = setting(200, "Steps between checkpoints.", low=1, advanced=True)
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    name: str = setting("buildings", "Name written on the card.")
    data: str = setting("", "What it was trained on, for the card.")
    licence: str = setting("", "Licence of the weights, for the card.")
    attribution: str = setting("", "Whom to name, for the card.")
    device: str = setting(
        "auto", "Where to train.", choices=("auto", "cpu", "cuda", "mps"), advanced=True
    )
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `evaluate`."""

    threshold: float = setting(
        0.5, "Probability from which a pixel of a float raster is a building.", low=0.0, high=1.0
    )
    iou: float = setting(
        0.5, "IoU from which two footprints are the same building.", low=0.01, high=1.0
    )


@documented
@dataclass(frozen=True)
class DemoConfig:
    """Settings of `demo`."""

    seed: int = setting(0, "Seed of the rendered town.", low=0)
    size: int = setting(1536, "Side of the rendered mosaic in pixels.", low=512, high=8192)
    overwrite: bool = setting(False, _OVERWRITE)

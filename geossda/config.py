"""Every setting of every verb: one source of defaults, choices and help.

The API takes these records, the command line makes its options from them, and so does any other
interface. Fields carry their help and limits in the dataclass metadata.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

ColorMethod = Literal["histogram", "reinhard", "grayworld", "equalize"]
HarmonizeMethod = Literal["auto", "ssda", "histogram", "reinhard", "grayworld", "equalize"]
MatrixMethod = Literal["ssda", "histogram", "reinhard"]
Structure = Literal["lock", "full"]
ScalingKind = Literal["percentile", "bits", "equalize"]
Regularity = Literal["rectilinear", "simplify", "none"]
AdaptMethod = Literal["auto", "none", "equalize", "hsv", "gamma", "rhm", "daug", "ssda"]
C = TypeVar("C")
METHODS: tuple[ColorMethod, ...] = get_args(ColorMethod)


def setting(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    words: tuple[str, ...] | None = None,
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
    words : tuple of str, optional
        Values that are no file, where any other is one.
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
            "words": words,
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
    config.__doc__ = (config.__doc__ or "").rstrip() + "\n".join(lines) + "\n"
    return config


def settings_of(config: Any, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Give a config's settings by name, but for some."""
    return {name: value for name, value in asdict(config).items() if name not in without}


# What says where the work is done and what becomes of files, and is not told in outputs.
NOT_IN_PROVENANCE = frozenset({"device", "overwrite", "resume", "scheduler", "workers"})
# What says how it is cut and packed besides: none of this changes a pixel but by rounding.
EXECUTION_ONLY = NOT_IN_PROVENANCE | {"append", "batch", "co", "tile"}

_BIDX = "Bands to use, 1-based, in order (all but alpha)."
_NODATA = "Value of pixels without data, if the file does not declare it."
_CO = "Creation option of GDAL's COG driver, such as COMPRESS=ZSTD; repeatable."
_OVERWRITE = "Replace existing outputs."
_RESUME = "Go on with an interrupted run of the same settings; without it, none is kept."
_WORKERS = "Processes that share the work on this machine; 1 is this process alone."
_SCHEDULER = "Address of a Dask scheduler whose workers do the work, such as tcp://host:8786."
_BOUNDS = "Only this part: left, bottom, right, top, widened to whole pixels."
_BOUNDS_CRS = "What the bounds are given in, such as EPSG:4326 (the raster's own)."
_DEVICE = "Where the model runs."
_REGULARIZE = (
    "Outlines: few corners, right-angled where walls nearly are; simplified; or as pixels run."
)
_TOLERANCE = "How far walls may be moved to that end, in metres."
_SPLIT = "Part houses that are run together: where probabilities dip, or a mask is narrow."
_APPEND = "Add to the layer of an existing GeoPackage."
DEVICES = ("auto", "cpu", "cuda", "mps")


@documented
@dataclass(frozen=True)
class HarmonizeConfig:
    """Settings of `harmonize`."""

    method: HarmonizeMethod = setting(
        "auto",
        "How to bring the colours over: auto is ssda where the style model fits, else histogram.",
        choices=get_args(HarmonizeMethod),
    )
    structure: Structure = setting(
        "lock",
        "With ssda: lock keeps every edge and detail, full takes what the generator draws.",
        choices=get_args(Structure),
    )
    style_model: str = setting(
        "default", 'The style model of ssda: "default" or a safetensors file.'
    )
    strength: float = setting(
        1.0, "How far to go from the source (0) to the style (1).", low=0.0, high=1.0
    )
    scenes: str = setting(
        "auto",
        'Scenes to bring to one radiometry first: "auto" finds those with straight borders, '
        '"none", or a vector file of their footprints.',
        words=("auto", "none"),
    )
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    bounds: tuple[float, float, float, float] | None = setting(None, _BOUNDS, metavar="L B R T")
    bounds_crs: str = setting("", _BOUNDS_CRS, advanced=True)
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
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)
    workers: int = setting(1, _WORKERS, low=1, high=256, advanced=True)
    scheduler: str = setting("", _SCHEDULER, metavar="ADDRESS", advanced=True)
    resume: bool = setting(True, _RESUME)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class StyleConfig:
    """Settings of `style`."""

    weights: tuple[float, ...] = setting(
        (), "Share of a reference, repeated for each (their numbers of pixels).", metavar="W"
    )
    style_model: str = setting(
        "default",
        'The style model to measure for: "default", a safetensors file, or "none".',
    )
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class ScenesConfig:
    """Settings of `scenes`."""

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
    regularize: Regularity = setting("rectilinear", _REGULARIZE, choices=get_args(Regularity))
    tolerance: float = setting(0.5, _TOLERANCE, low=0.0)
    split: bool = setting(True, _SPLIT)
    gsd: float | None = setting(
        None, "Ground sample distance in metres to predict at (the model's own).", low=0.01
    )
    tta: Literal["1", "2", "4", "8"] = setting(
        "1",
        "Test-time augmentation: mirror images and turns of every window to average over, the "
        "window itself among them. It takes as many times as long.",
        choices=("1", "2", "4", "8"),
    )
    bidx: tuple[int, ...] = setting(
        (), "The model's bands among the raster's, 1-based.", metavar="N"
    )
    nodata: float | None = setting(None, _NODATA)
    bounds: tuple[float, float, float, float] | None = setting(None, _BOUNDS, metavar="L B R T")
    bounds_crs: str = setting("", _BOUNDS_CRS, advanced=True)
    batch: int = setting(2, "Windows predicted at a time.", low=1, high=256, advanced=True)
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)
    co: tuple[str, ...] = setting((), _CO, metavar="NAME=VALUE", advanced=True)
    workers: int = setting(1, _WORKERS, low=1, high=256, advanced=True)
    scheduler: str = setting("", _SCHEDULER, metavar="ADDRESS", advanced=True)
    resume: bool = setting(True, _RESUME)
    append: bool = setting(False, _APPEND)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class PolygonizeConfig:
    """Settings of `polygonize`."""

    threshold: float = setting(
        0.5, "Probability from which a pixel of a float raster is a building.", low=0.0, high=1.0
    )
    connectivity: Literal["4", "8"] = setting(
        "4", "Whether pixels that touch at a corner only belong together (8).", choices=("4", "8")
    )
    min_area: float = setting(0.0, "Smallest building kept, in square metres.", low=0.0)
    regularize: Regularity = setting("none", _REGULARIZE, choices=get_args(Regularity))
    tolerance: float = setting(0.5, _TOLERANCE, low=0.0)
    split: bool = setting(False, _SPLIT)
    bidx: tuple[int, ...] = setting(
        (), "The band of buildings, 1-based, if there are several.", metavar="N"
    )
    nodata: float | None = setting(None, _NODATA)
    block: int = setting(
        2048,
        "Side in pixels of the pieces the work is cut into; changes no polygon.",
        low=16,
        high=16384,
        advanced=True,
    )
    workers: int | None = setting(
        None, "Threads that read and trace (all cores).", low=1, high=256, advanced=True
    )
    append: bool = setting(False, _APPEND)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class TrainSegmenterConfig:
    """Settings of `train-segmenter`."""

    adapt: AdaptMethod = setting(
        "auto",
        "What prepares for the target's colours: auto is ssda with --target, else none.",
        choices=get_args(AdaptMethod),
    )
    share: float = setting(
        0.5, "Share of the patches that are made to look like the target.", low=0.0, high=1.0
    )
    style_model: str = setting(
        "default", 'The style model of ssda and daug: "default" or a safetensors file.'
    )
    structure: Structure = setting(
        "lock",
        "With ssda: lock keeps every edge and detail, full takes what the generator draws.",
        choices=get_args(Structure),
        advanced=True,
    )
    teach: bool = setting(
        True, "With --target, learn from its imagery too: say the same of a patch in any look."
    )
    built: float = setting(
        0.2,
        "Share of the target's ground that is built, roughly: what its imagery teaches is drawn "
        "towards it.",
        low=0.001,
        high=1.0,
    )
    jitter: bool = setting(True, "Jitter colours at random as well.")
    scaling: ScalingKind = setting(
        "percentile",
        "Digital numbers to model range: between percentiles, 8 bit as it is, or equalized.",
        choices=get_args(ScalingKind),
        advanced=True,
    )
    architecture: str = setting("unet", "Architecture of segmentation-models-pytorch.")
    encoder: str = setting("tu-tf_efficientnet_lite0", "Encoder of segmentation-models-pytorch.")
    encoder_weights: str = setting(
        "imagenet", 'First weights of the encoder: "imagenet", "none" or a safetensors file.'
    )
    start: str = setting(
        "",
        'Segmenter to go on from, "default" or a safetensors file: its architecture, encoder and '
        "weights are taken.",
        metavar="MODEL",
    )
    gsd: float = setting(0.3, "Ground sample distance in metres to train at.", low=0.01)
    steps: int = setting(4000, "Optimizer steps.", low=1)
    batch: int = setting(8, "Patches a step.", low=1)
    unlabelled: int = setting(
        4, "Patches of the target a step, where they teach.", low=1, advanced=True
    )
    patch: int = setting(256, "Patch side in pixels, a multiple of 32.", low=32, high=2048)
    lr: float = setting(1e-3, "Highest learning rate.", low=0.0)
    schedule: Literal["cosine", "polynomial"] = setting(
        "cosine",
        "How the learning rate falls: along a cosine, or by the paper's power of 0.9.",
        choices=("cosine", "polynomial"),
        advanced=True,
    )
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
    hold_out: float = setting(
        0.0,
        "Share of each raster's columns, from the right, kept from training to calibrate "
        "probabilities on.",
        low=0.0,
        high=0.9,
    )
    seed: int = setting(0, "Seed of all random numbers.", low=0)
    checkpoint: int = setting(200, "Steps between checkpoints.", low=1, advanced=True)
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    name: str = setting("buildings", "Name written on the card.")
    data: str = setting("", "What it was trained on, for the card.")
    licence: str = setting("", "Licence of the weights, for the card.")
    attribution: str = setting("", "Whom to name, for the card.")
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)
    overwrite: bool = setting(False, _OVERWRITE)


Row = Literal[
    "none", "equalize", "hsv", "gamma", "rhm", "daug", "ssda",
    "none+teach", "rhm+teach", "ssda+teach",
]  # fmt: skip
ROWS: tuple[Row, ...] = get_args(Row)


@documented
@dataclass(frozen=True)
class BenchmarkConfig:
    """Settings of `benchmark places`: rows differ in how they adapt and in nothing else."""

    rows: tuple[Row, ...] = setting(
        ROWS, "Methods to compare; with +teach the target's imagery teaches too.", choices=ROWS
    )
    seeds: int = setting(3, "Trainings of each method and source.", low=1)
    steps: int = setting(200, "Optimizer steps of each training.", low=1)
    batch: int = setting(8, "Labelled patches a step.", low=1)
    patch: int = setting(64, "Patch side in pixels, a multiple of 32.", low=32, high=2048)
    gsd: float = setting(0.6, "Ground sample distance in metres to train at.", low=0.01)
    architecture: str = setting("unet", "Architecture of segmentation-models-pytorch.")
    encoder: str = setting("tu-tf_efficientnet_lite0", "Encoder of segmentation-models-pytorch.")
    encoder_weights: str = setting(
        "imagenet", 'First weights of the encoder: "imagenet", "none" or a safetensors file.'
    )
    style_model: str = setting(
        "default", 'The style model of ssda: "default" or a safetensors file.'
    )
    domain_model: str = setting(
        "", "The style model of daug, trained with --preset daug on the same places."
    )
    share: float = setting(
        0.5, "Share of the patches that are made to look like the target.", low=0.0, high=1.0
    )
    schedule: Literal["cosine", "polynomial"] = setting(
        "cosine",
        "How the learning rate falls: along a cosine, or by the paper's power of 0.9.",
        choices=("cosine", "polynomial"),
        advanced=True,
    )
    jitter: bool = setting(
        False, "Jitter colours of labelled patches in every row, which the paper does in none."
    )
    scaling: ScalingKind = setting(
        "bits",
        "Digital numbers to model range, in all rows but equalize: the paper's is 8 bit as it is.",
        choices=get_args(ScalingKind),
        advanced=True,
    )
    part: int = setting(1, "Which part of the trainings this process does.", low=1, advanced=True)
    parts: int = setting(1, "Processes that share the trainings.", low=1, advanced=True)
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)


@documented
@dataclass(frozen=True)
class PaperBenchmarkConfig(BenchmarkConfig):
    """Settings of `benchmark paper`: those of the places, with the paper's numbers."""

    rows: tuple[Row, ...] = setting(ROWS[:7], "Methods to compare.", choices=ROWS)
    steps: int = setting(100_000, "Optimizer steps of each training.", low=1)
    patch: int = setting(256, "Patch side in pixels, a multiple of 32.", low=32, high=2048)
    encoder: str = setting("resnet50", "Encoder of segmentation-models-pytorch.")
    schedule: Literal["cosine", "polynomial"] = setting(
        "polynomial",
        "How the learning rate falls: along a cosine, or by the paper's power of 0.9.",
        choices=("cosine", "polynomial"),
        advanced=True,
    )
    tests: int = setting(200, "Patches of each city to measure on, chosen by --choice.", low=1)
    references: int = setting(
        200, "Other patches of each city that looks are taken from, without labels.", low=1
    )
    choice: int = setting(0, "Seed of the choice of patches.", low=0)


@documented
@dataclass(frozen=True)
class TrainStyleConfig:
    """Settings of `train-style`."""

    preset: Literal["geossda", "paper", "daug"] = setting(
        "geossda",
        "Networks, losses and schedule: ours, the paper's text word by word, or ours with one "
        "learned style a folder of rasters instead of measured ones.",
        choices=("geossda", "paper", "daug"),
    )
    bands: int = setting(3, "Bands the model takes at a time.", low=1, high=64)
    steps: int = setting(20000, "Optimizer steps.", low=1)
    batch: int = setting(8, "Patches a step and side, an even number.", low=2)
    patch: int = setting(128, "Patch side in pixels, a multiple of 16.", low=32, high=2048)
    lr: float | None = setting(
        None, "First learning rate (preset: 0.001, paper 0.01).", low=0.0, advanced=True
    )
    optimizer: Literal["preset", "adam", "sgd"] = setting(
        "preset",
        "Adam, or the paper's SGD with polynomial decay.",
        choices=("preset", "adam", "sgd"),
        advanced=True,
    )
    contrast: Literal["preset", "infonce", "batch"] = setting(
        "preset",
        "L_con: each anchor against the batch, or the paper's one softmax (Eq. 10, 11).",
        choices=("preset", "infonce", "batch"),
        advanced=True,
    )
    temperature: float | None = setting(
        None, "Temperature of L_con (preset: 0.1, paper 1).", low=0.001, advanced=True
    )
    adain: Literal["all", "deepest"] = setting(
        "all",
        "Levels that take the other image's style.",
        choices=("all", "deepest"),
        advanced=True,
    )
    reconstruction: float | None = setting(
        None, "Weight of L_rec, Eq. 3 (preset: 0, being exact; paper 50).", low=0.0, advanced=True
    )
    adversarial: float | None = setting(
        None, "Weight of L_adv, Eq. 5 and 6 (presets: 5).", low=0.0, advanced=True
    )
    cycle: float | None = setting(
        None, "Weight of L_cyc, Eq. 8 (presets: 50).", low=0.0, advanced=True
    )
    perceptual: float | None = setting(
        None, "Weight of L_per, Eq. 9 (preset: 0.01, paper 1).", low=0.0, advanced=True
    )
    contrastive: float | None = setting(
        None, "Weight of L_con, Eq. 10 and 11 (presets: 1).", low=0.0, advanced=True
    )
    color: float | None = setting(
        None,
        "Weight of the distance of colour distributions (preset: 20, paper 0).",
        low=0.0,
        advanced=True,
    )
    structure: float | None = setting(
        None, "Weight of the loss of edges (preset: 5, paper 0).", low=0.0, advanced=True
    )
    vgg: str = setting(
        "imagenet",
        'Weights of L_per\'s VGG16: "imagenet" (from the hub) or a safetensors file.',
    )
    critic_every: int = setting(
        1, "Generator steps to one of the discriminator.", low=1, advanced=True
    )
    ema: float = setting(
        0.995, "Decay of the averaged weights that are kept.", low=0.0, high=1.0, advanced=True
    )
    hold_out: float = setting(
        0.0, "Share of each raster's columns, from the right, never drawn.", low=0.0, high=0.9
    )
    seed: int = setting(0, "Seed of all random numbers.", low=0)
    checkpoint: int = setting(200, "Steps between checkpoints.", low=1, advanced=True)
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    name: str = setting("style", "Name written on the card.")
    data: str = setting("", "What it was trained on, for the card.")
    licence: str = setting("", "Licence of the weights, for the card.")
    attribution: str = setting("", "Whom to name, for the card.")
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class MatrixConfig:
    """Settings of `matrix`."""

    method: MatrixMethod = setting(
        "ssda", "How to bring the colours over.", choices=get_args(MatrixMethod)
    )
    structure: Structure = setting(
        "lock",
        "With ssda: lock keeps every edge and detail, full takes what the generator draws.",
        choices=get_args(Structure),
    )
    style_model: str = setting("default", 'The style model: "default" or a safetensors file.')
    patches: int = setting(8, "Patches of each image its look is pooled over.", low=1)
    patch: int = setting(256, "Patch side in pixels, a multiple of 32.", low=32, high=2048)
    cell: int = setting(128, "Side of a picture in the matrix, in pixels.", low=16, high=1024)
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class EvaluateStyleConfig:
    """Settings of `evaluate-style`."""

    truth: bool = setting(
        False, "All images show the same ground: compare results with the references themselves."
    )
    style_model: str = setting("default", 'The style model: "default" or a safetensors file.')
    patches: int = setting(
        16, "Patches of each image, spread evenly; 0 takes all there are.", low=0
    )
    patch: int = setting(128, "Patch side in pixels, a multiple of 32.", low=32, high=2048)
    hold_out: float = setting(
        0.0,
        "Take patches only from that share of the columns, on the right, which train-style with "
        "the same setting has not seen.",
        low=0.0,
        high=0.9,
    )
    bidx: tuple[int, ...] = setting((), _BIDX, metavar="N")
    nodata: float | None = setting(None, _NODATA)
    device: str = setting("auto", _DEVICE, choices=DEVICES, advanced=True)


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
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class ReportConfig:
    """Settings of `report`."""

    cell: int = setting(
        64, "Side in pixels of the cells in which what is drawn is compared.", low=16, high=1024
    )
    reach: int = setting(
        8, "How far in pixels to look on either side where two scenes meet.", low=2, high=256
    )
    width: int = setting(
        1400, "Width of the pictures in pixels, at most.", low=100, high=4096, advanced=True
    )
    overwrite: bool = setting(False, _OVERWRITE)


@documented
@dataclass(frozen=True)
class DemoConfig:
    """Settings of `demo`."""

    seed: int = setting(0, "Seed of the rendered town.", low=0)
    size: int = setting(1536, "Side of the rendered mosaic in pixels.", low=512, high=8192)
    overwrite: bool = setting(False, _OVERWRITE)

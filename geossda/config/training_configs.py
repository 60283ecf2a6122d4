"""Settings of `train-segmenter` and `train-style`."""

from dataclasses import dataclass
from typing import Literal, get_args

from geossda.config import shared_settings as shared
from geossda.config.choices import (
    TRANSLATIONS,
    AdaptMethod,
    ScalingKind,
    Schedule,
    Structure,
    StylePreset,
)
from geossda.config.setting import Config, documented, setting
from geossda.errors import SettingError


@documented
@dataclass(frozen=True)
class ExportConfig(Config):
    """Settings of `export`."""

    calibrate: tuple[str, ...] = setting(
        (),
        "Imagery to measure on what a segmenter needs to run in 8-bit integers (--precision int8).",
        metavar="RASTER|DIR",
    )
    overwrite: bool = shared.overwrite()


@documented
@dataclass(frozen=True)
class TrainSegmenterConfig(Config):
    """Settings of `train-segmenter`."""

    adapt: AdaptMethod = setting(
        "auto",
        "How labelled patches are adapted to the colours of the target: with --target, auto is "
        "ssda for labels of one folder; for labels of several it is none, or ssda where colours "
        "are not jittered or values not stretched, and has no mean teacher.",
        choices=get_args(AdaptMethod),
    )
    share: float = shared.share()
    style_model: str = setting(
        "default",
        'Style model of ssda, daug, translation and standardgan: "default" or a safetensors file.',
    )
    structure: Structure = shared.structure(advanced=True)
    mean_teacher: bool = setting(
        True,
        "With --target: consistency training on the target imagery (mean teacher); not where "
        "--adapt is auto and labels are of several folders.",
    )
    building_fraction: float = setting(
        0.2,
        "Expected building fraction of the target (0.2 is 20 % of its area), towards which the "
        "pseudo-labels of the mean teacher are drawn.",
        low=0.001,
        high=1.0,
    )
    jitter: bool = setting(True, "Augment with random colour jitter as well.")
    scaling: ScalingKind = shared.scaling(
        "percentile",
        "Scaling of digital numbers: between percentiles, bits (8 bit unchanged), or histogram "
        "equalization.",
    )
    architecture: str = shared.architecture()
    encoder: str = shared.encoder()
    encoder_weights: str = shared.encoder_weights()
    init_from: str | None = setting(
        None,
        'Initialise from this model, "default" or a safetensors file (fine-tune): its '
        "architecture, encoder and weights are used.",
        metavar="MODEL",
    )
    gsd: float = shared.training_gsd(0.3)
    steps: int = setting(4000, "Training steps.", low=1)
    batch: int = setting(8, "Labelled patches per step.", low=1)
    target_batch: int = setting(
        4, "Target patches per step, for the mean teacher.", low=1, advanced=True
    )
    patch: int = shared.patch(256)
    lr: float = setting(1e-3, "Highest learning rate.", low=0.0)
    schedule: Schedule = shared.schedule()
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", low=0.0, advanced=True)
    ema: float = shared.ema(0.99)
    low_percent: float = setting(
        2.0, "Percentile of each band that is scaled to 0.", low=0.0, high=50.0, advanced=True
    )
    high_percent: float = setting(
        98.0, "Percentile of each band that is scaled to 1.", low=50.0, high=100.0, advanced=True
    )
    floor: float = setting(
        0.4,
        "Least width of the stretch of each band, so that flat rasters stay flat: a fraction of "
        "255 for 8 bit, of the band's median for other types.",
        low=0.0,
        high=100.0,
        advanced=True,
    )
    degrade: bool = setting(
        True,
        "Degrade most patches as imagery is: coarser pixels, blur, haze, clipping, JPEG.",
    )
    negatives: bool = setting(
        False,
        "Train on rasters without a footprint too: they are labelled, and nothing is built there.",
    )
    auxiliary: float = setting(
        0.3,
        "Weight of the loss of the auxiliary outputs (boundary of buildings, distance to it); 0 "
        "trains a network of one output.",
        low=0.0,
        advanced=True,
    )
    hold_out: float = setting(
        0.0,
        "Fraction of each raster's columns, from the right, held out from training to calibrate "
        "probabilities.",
        low=0.0,
        high=0.9,
    )
    seed: int = shared.seed()
    checkpoint: int = shared.checkpoint()
    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    name: str = setting("buildings", "Name of the model, for its card.")
    data: str | None = shared.data()
    licence: str | None = shared.licence()
    attribution: str | None = shared.attribution()
    device: str = shared.device()
    overwrite: bool = shared.overwrite()

    def check_together(self) -> None:
        """Raise SettingError for percentiles that are the same.

        Raises
        ------
        SettingError
            The two percentiles are the same, or in the wrong order.
        """
        if self.low_percent >= self.high_percent:
            raise SettingError(
                f"low_percent is {self.low_percent:g} and high_percent {self.high_percent:g}: "
                "give a lower and a higher percentile"
            )


# Settings of the losses and the optimizer of SS(DA)², which other methods do not have.
_OF_SSDA = (
    "optimizer", "contrast", "temperature", "reconstruction", "adversarial", "cycle", "perceptual",
    "contrastive", "color", "structure", "photometric",
)  # fmt: skip


@documented
@dataclass(frozen=True)
class TrainStyleConfig(Config):
    """Settings of `train-style`."""

    preset: StylePreset = setting(
        "geossda",
        "Networks, losses and schedule: geossda, the paper's, daug (one learned style per "
        "folder of rasters instead of style statistics), or a method to compare with, which "
        "translates between folders: cyclegan (two of them), standardgan, stargan or starganv2.",
        choices=get_args(StylePreset),
    )
    bands: int = setting(3, "Bands that the model takes at a time.", low=1, high=64)
    init_from: str | None = setting(
        None,
        'Initialise from this style model, "default" or a safetensors file; it has to be of the '
        "same preset and number of bands.",
        metavar="MODEL",
    )
    steps: int = setting(20000, "Training steps.", low=1)
    batch: int = setting(8, "Patches per step, an even number.", low=2, multiple=2)
    patch: int = shared.patch(128, 16)
    width: int = setting(
        32,
        "Channels of the first layer of the presets that translate between folders (their papers: "
        "64).",
        low=4,
        high=256,
        advanced=True,
    )
    lr: float | None = setting(
        None,
        "Initial learning rate (preset: 0.001, paper 0.01; cyclegan and standardgan 0.0002, "
        "stargan and starganv2 0.0001).",
        low=0.0,
        advanced=True,
    )
    optimizer: Literal["preset", "adam", "sgd"] = setting(
        "preset",
        "Adam, or the paper's SGD with polynomial decay.",
        choices=("preset", "adam", "sgd"),
        advanced=True,
    )
    contrast: Literal["preset", "infonce", "batch"] = setting(
        "preset",
        "L_con: InfoNCE of each anchor against the batch, or one softmax over the batch (paper, "
        "Eq. 10 and 11).",
        choices=("preset", "infonce", "batch"),
        advanced=True,
    )
    temperature: float | None = setting(
        None, "Temperature of L_con (preset: 0.1, paper 1).", low=0.001, advanced=True
    )
    adain: Literal["all", "deepest"] = setting(
        "all",
        "Levels at which AdaIN is applied.",
        choices=("all", "deepest"),
        advanced=True,
    )
    reconstruction: float | None = setting(
        None,
        "Weight of L_rec, Eq. 3 (preset: 0, as reconstruction is exact; paper 50).",
        low=0.0,
        advanced=True,
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
        "Weight of the distance of colour distributions (preset: 0, daug 20).",
        low=0.0,
        advanced=True,
    )
    structure: float | None = setting(
        None, "Weight of the loss of edges (preset: 5, paper 0).", low=0.0, advanced=True
    )
    photometric: float | None = setting(
        None,
        "Weight of the distance from images under a known photometric change (preset: 20, paper "
        "and daug 0).",
        low=0.0,
        advanced=True,
    )
    vgg: str = setting(
        "imagenet",
        'Weights of the VGG16 of L_per: "imagenet" (from the model hub) or a safetensors file.',
    )
    critic_every: int = setting(
        1, "Generator steps per step of the discriminator.", low=1, advanced=True
    )
    ema: float = shared.ema(0.995)
    hold_out: float = setting(
        0.0,
        "Fraction of each raster's columns, from the right, held out from training.",
        low=0.0,
        high=0.9,
    )
    seed: int = shared.seed()
    checkpoint: int = shared.checkpoint()
    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    name: str = setting("style", "Name of the model, for its card.")
    data: str | None = shared.data()
    licence: str | None = shared.licence()
    attribution: str | None = shared.attribution()
    device: str = shared.device()
    overwrite: bool = shared.overwrite()

    def check_together(self) -> None:
        """Raise SettingError for a loss that a preset cannot have.

        Raises
        ------
        SettingError
            Photometric changes with ``daug``, whose styles are learned and not measured; settings
            of SS(DA)² with a method to compare with, or the reverse.
        """
        if self.preset in TRANSLATIONS:
            for name in _OF_SSDA:
                if getattr(self, name) not in (None, "preset"):
                    raise SettingError(
                        f"{name} is {getattr(self, name)} with preset {self.preset}, which has the "
                        f"losses of its paper: leave out --{name}"
                    )
            if self.adain != "all" or self.critic_every != 1:
                raise SettingError(
                    f"adain and critic_every do not belong to preset {self.preset}: leave them out"
                )
        elif self.width != 32:
            raise SettingError(
                f"width is {self.width} with preset {self.preset}, whose widths are fixed: leave "
                "it out"
            )
        if self.preset == "daug" and self.photometric:
            raise SettingError(
                f"photometric is {self.photometric:g} with preset daug, which measures no "
                "styles: give 0, or another preset"
            )

"""Settings of `benchmark`, `matrix` and `evaluate-style`."""

from dataclasses import dataclass
from typing import get_args

from geossda.config import shared_settings as shared
from geossda.config.choices import (
    ROWS,
    MatrixMethod,
    PrecisionName,
    Row,
    RuntimeName,
    ScalingKind,
    Schedule,
    Structure,
)
from geossda.config.setting import Config, documented, setting
from geossda.errors import SettingError


@documented
@dataclass(frozen=True)
class BenchmarkConfig(Config):
    """Settings of `benchmark places`: rows differ in how they adapt and in nothing else."""

    rows: tuple[Row, ...] = setting(
        ROWS,
        "Methods to compare; those with +mean-teacher also train on the target's imagery.",
        choices=ROWS,
    )
    seeds: int = setting(3, "Trainings of each method and source.", low=1)
    steps: int = setting(200, "Steps of each training.", low=1)
    batch: int = setting(8, "Labelled patches per step.", low=1)
    patch: int = shared.patch(64)
    gsd: float = shared.training_gsd(0.6)
    architecture: str = shared.architecture()
    encoder: str = shared.encoder()
    encoder_weights: str = shared.encoder_weights()
    style_model: str = setting("default", 'Style model of ssda: "default" or a safetensors file.')
    domain_model: str | None = setting(
        None,
        "Style model of daug, translation or standardgan, trained with such a preset on the same "
        "places.",
    )
    share: float = shared.share()
    schedule: Schedule = shared.schedule()
    jitter: bool = setting(
        False, "Colour jitter of labelled patches in every row (the paper has none)."
    )
    scaling: ScalingKind = shared.scaling(
        "bits",
        "Scaling of digital numbers in all rows but equalize: bits (8 bit unchanged, as in the "
        "paper), or between percentiles.",
    )
    part: int = setting(
        1, "Number of this process among those that share the trainings.", low=1, advanced=True
    )
    parts: int = setting(1, "Processes that share the trainings.", low=1, advanced=True)
    device: str = shared.device()

    def check_together(self) -> None:
        """Raise SettingError for no rows, or for a part beyond the number of parts.

        Raises
        ------
        SettingError
            There are no rows, or `part` is more than `parts`.
        """
        if not self.rows:
            raise SettingError(f"rows is empty: give one or more of {', '.join(ROWS)}")
        if self.part > self.parts:
            raise SettingError(
                f"part is {self.part}: give a whole number from 1 to parts, which is {self.parts}"
            )


@documented
@dataclass(frozen=True)
class PaperBenchmarkConfig(BenchmarkConfig):
    """Settings of `benchmark paper`: those of the places, with the paper's numbers."""

    rows: tuple[Row, ...] = setting(ROWS[:7], "Methods to compare.", choices=ROWS)
    steps: int = setting(100_000, "Steps of each training.", low=1)
    patch: int = shared.patch(256)
    encoder: str = shared.encoder("resnet50")
    schedule: Schedule = shared.schedule("polynomial")
    tests: int = setting(200, "Patches of each city to test on, chosen by --choice.", low=1)
    references: int = setting(
        200, "Other patches of each city that styles are taken from, without labels.", low=1
    )
    choice: int = setting(0, "Seed of the choice of patches.", low=0)


@documented
@dataclass(frozen=True)
class MatrixConfig(Config):
    """Settings of `matrix`."""

    method: MatrixMethod = setting("ssda", "Harmonization method.", choices=get_args(MatrixMethod))
    structure: Structure = shared.structure()
    style_model: str = setting("default", 'Style model: "default" or a safetensors file.')
    patches: int = setting(8, "Patches of each image to compute its style from.", low=1)
    patch: int = shared.patch(256)
    cell: int = setting(128, "Side of a picture in the matrix, in pixels.", low=16, high=1024)
    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    device: str = shared.run_device()
    runtime: RuntimeName = shared.runtime()
    precision: PrecisionName = shared.precision()
    overwrite: bool = shared.overwrite()


@documented
@dataclass(frozen=True)
class EvaluateStyleConfig(Config):
    """Settings of `evaluate-style`."""

    truth: bool = setting(
        False,
        "All images show the same ground: compare the results with the references themselves.",
    )
    style_model: str = setting("default", 'Style model: "default" or a safetensors file.')
    patches: int = setting(16, "Patches of each image, spread evenly; 0 takes all of them.", low=0)
    patch: int = shared.patch(128)
    hold_out: float = setting(
        0.0,
        "Take patches only from this fraction of the columns, from the right: those that "
        "train-style with the same setting has not seen.",
        low=0.0,
        high=0.9,
    )
    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    device: str = shared.run_device()
    runtime: RuntimeName = shared.runtime()
    precision: PrecisionName = shared.precision()

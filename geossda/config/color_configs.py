"""Settings of `harmonize`, `style`, `scenes`, `report` and `demo`."""

from dataclasses import dataclass
from typing import get_args

from geossda.config import shared_settings as shared
from geossda.config.choices import (
    BalanceCost,
    BalanceMethod,
    BalanceSpace,
    HarmonizeMethod,
    MatchOf,
    PrecisionName,
    RuntimeName,
    Structure,
)
from geossda.config.setting import Config, documented, setting
from geossda.errors import SettingError


@documented
@dataclass(frozen=True)
class HarmonizeConfig(Config):
    """Settings of `harmonize`."""

    method: HarmonizeMethod = setting(
        "auto",
        "Harmonization method: auto is ssda where the style model fits (translation if it "
        "has declared domains), else histogram; none keeps colours but for scenes and --balance.",
        choices=get_args(HarmonizeMethod),
    )
    structure: Structure = shared.structure()
    style_model: str = setting(
        "default", 'Style model of ssda or translation: "default", or a safetensors or ONNX file.'
    )
    domain: str | None = shared.domain()
    match: MatchOf = setting(
        "auto",
        "What ssda matches: like land of source and style, whatever their shares of the image "
        "(land), or whole images (whole). auto is whole for several sources, which have to end up "
        "alike, else land.",
        choices=get_args(MatchOf),
    )
    strength: float = setting(
        1.0,
        "How far to go from the colours of the source (0) to those of the style (1).",
        low=0.0,
        high=1.0,
    )
    scenes: str = setting(
        "auto",
        'Scenes to balance before harmonizing: "auto" detects them, '
        '"none", or a vector file of their outlines.',
        words=("auto", "none"),
        none_word=True,
    )
    balance: BalanceMethod = setting(
        "none",
        "Balance several sources by their overlaps, then harmonize them as one: gain-offset (a "
        "gain and an offset a band), qp (a gain a band, by quadratic programming), or none.",
        choices=get_args(BalanceMethod),
    )
    balance_cost: BalanceCost = setting(
        "rmse",
        "What qp minimizes in overlaps: differences of pixels (rmse), of means (mu), or of means "
        "and standard deviations (musig).",
        choices=get_args(BalanceCost),
        advanced=True,
    )
    balance_space: BalanceSpace = setting(
        "bands",
        "What is balanced: each of the bands, or the channels of decorrelated colour (three bands "
        "only; l alpha beta of Ruderman, in log space).",
        choices=get_args(BalanceSpace),
        advanced=True,
    )
    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    area: str | None = shared.area()
    bounds: tuple[float, float, float, float] | None = shared.bounds()
    bounds_crs: str | None = shared.bounds_crs()
    feather: int = setting(
        64, "Width in pixels over which overlapping sources are blended.", low=0, high=512
    )
    seamlines: str = setting(
        "none",
        'Where overlapping sources of one output are cut: "auto" finds the least visible lines and '
        'writes them to OUTPUT_seamlines.gpkg; or a vector file of such; "none" blends overlaps.',
        words=("auto", "none"),
        none_word=True,
    )
    seamline_feather: int = setting(
        8,
        "Width in pixels over which sources are blended along seamlines.",
        low=0,
        high=512,
        advanced=True,
    )
    tile: int = setting(
        1024,
        "Tile size in pixels (does not affect the result).",
        low=16,
        high=16384,
        advanced=True,
    )
    co: tuple[str, ...] = shared.creation_options()
    device: str = shared.run_device()
    runtime: RuntimeName = shared.runtime()
    precision: PrecisionName = shared.precision()
    workers: int = shared.workers()
    scheduler: str | None = shared.scheduler()
    resume: bool = shared.resume()
    timings: bool = shared.timings()
    overwrite: bool = shared.overwrite()

    def check_together(self) -> None:
        """Raise SettingError for settings without those that they belong to.

        Raises
        ------
        SettingError
            The bounds are in the wrong order, or only their CRS is given; a cost or a space of a
            balance that has none.
        """
        check_bounds(self.bounds, self.bounds_crs)
        if self.balance_cost != "rmse" and self.balance != "qp":
            raise SettingError(
                f"balance_cost is {self.balance_cost}, which is for balance qp, not "
                f"{self.balance}: give both, or neither"
            )
        if self.balance_space != "bands" and self.balance == "none":
            raise SettingError(
                f"balance_space is {self.balance_space} without a balance: give balance "
                "gain-offset or qp, or leave it out"
            )


def check_bounds(bounds: tuple[float, float, float, float] | None, crs: str | None) -> None:
    """Check the bounds of a part of a mosaic.

    Parameters
    ----------
    bounds : (float, float, float, float) or None
        Left, bottom, right, top.
    crs : str or None
        CRS of the bounds.

    Raises
    ------
    SettingError
        The bounds are in another order or empty, or the CRS is given without bounds.
    """
    if bounds is not None:
        left, bottom, right, top = bounds
        if not (left < right and bottom < top):
            raise SettingError(
                f"bounds is {bounds}: give left, bottom, right and top in this order"
            )
    elif crs is not None:
        raise SettingError(f"bounds_crs is {crs!r} without bounds: give both, or neither")


@documented
@dataclass(frozen=True)
class StyleConfig(Config):
    """Settings of `style`."""

    weights: tuple[float, ...] = setting(
        (),
        "Weight of a reference, repeated for each (default: their numbers of pixels).",
        low=0.0,
        metavar="W",
    )
    style_model: str = setting(
        "default",
        'Style model to measure for: "default", a safetensors or ONNX file, or "none".',
        none_word=True,
    )
    domain: str | None = shared.domain()
    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    area: str | None = shared.area()
    device: str = shared.run_device()
    runtime: RuntimeName = shared.runtime()
    precision: PrecisionName = shared.precision()
    overwrite: bool = shared.overwrite()

    def check_together(self) -> None:
        """Raise SettingError for weights that are all 0.

        Raises
        ------
        SettingError
            All weights are 0.
        """
        if self.weights and not sum(self.weights):
            raise SettingError("weights are all 0: give at least one above 0")


@documented
@dataclass(frozen=True)
class ScenesConfig(Config):
    """Settings of `scenes`."""

    bidx: tuple[int, ...] = shared.bidx()
    nodata: float | None = shared.nodata()
    area: str | None = shared.area()
    overwrite: bool = shared.overwrite()


@documented
@dataclass(frozen=True)
class ReportConfig(Config):
    """Settings of `report`."""

    cell: int = setting(
        64, "Side in pixels of the cells in which structure is compared.", low=16, high=1024
    )
    reach: int = setting(
        8,
        "Distance in pixels from a seamline over which the two sides are compared.",
        low=2,
        high=256,
    )
    width: int = setting(
        1400, "Largest width of the pictures, in pixels.", low=100, high=4096, advanced=True
    )
    area: str | None = shared.area()
    overwrite: bool = shared.overwrite()


@documented
@dataclass(frozen=True)
class DemoConfig(Config):
    """Settings of `demo`."""

    seed: int = setting(0, "Seed of the rendered town.", low=0)
    size: int = setting(1536, "Side of the rendered mosaic in pixels.", low=512, high=8192)
    overwrite: bool = shared.overwrite()

"""Settings of `segment`, `polygonize`, `align` and `evaluate`."""

from dataclasses import dataclass
from typing import get_args

from geossda.config import shared_settings as shared
from geossda.config.choices import (
    Connectivity,
    Regularity,
    RuntimeName,
    SegmenterPrecision,
    StretchOf,
    Symmetries,
)
from geossda.config.color_configs import check_bounds
from geossda.config.setting import Config, documented, setting
from geossda.errors import SettingError


@documented
@dataclass(frozen=True)
class SegmentConfig(Config):
    """Settings of `segment`."""

    model: str = shared.building_model()
    threshold: float | None = setting(
        None,
        "Probability from which a pixel is a building (default: the model's own).",
        low=0.0,
        high=1.0,
    )
    min_area: float = shared.min_area(8.0)
    min_confidence: float | None = shared.min_confidence(
        None, " (default: three tenths of the way from the threshold to 1, 0.65 at 0.5)"
    )
    regularize: Regularity = shared.regularize("rectilinear")
    tolerance: float = shared.tolerance()
    split: bool = shared.split(True)
    gsd: float | None = shared.prediction_gsd(
        ", or for finer imagery up to a quarter finer, if the model is surer so on some windows"
    )
    tta: Symmetries = setting(
        2,
        "Test-time augmentation: average over this many rotations and reflections of each window; "
        "the model takes as many times as long.",
        choices=get_args(Symmetries),
    )
    stretch: StretchOf = shared.stretch()
    bidx: tuple[int, ...] = shared.bidx("The model's bands among the raster's, 1-based.")
    nodata: float | None = shared.nodata()
    area: str | None = shared.area()
    bounds: tuple[float, float, float, float] | None = shared.bounds()
    bounds_crs: str | None = shared.bounds_crs()
    batch: int = shared.batch()
    device: str = shared.run_device()
    runtime: RuntimeName = shared.runtime()
    precision: SegmenterPrecision = shared.segmenter_precision()
    co: tuple[str, ...] = shared.creation_options()
    workers: int = shared.workers()
    scheduler: str | None = shared.scheduler()
    resume: bool = shared.resume()
    timings: bool = shared.timings()
    append: bool = shared.append()
    overwrite: bool = shared.overwrite()

    def check_together(self) -> None:
        """Raise SettingError for wrong bounds, for their CRS alone, or for append with overwrite.

        Raises
        ------
        SettingError
            The bounds are in the wrong order, only their CRS is given, or both `append` and
            `overwrite` are set.
        """
        check_bounds(self.bounds, self.bounds_crs)
        _check_append(self.append, self.overwrite)


@documented
@dataclass(frozen=True)
class PolygonizeConfig(Config):
    """Settings of `polygonize`."""

    threshold: float = shared.threshold()
    connectivity: Connectivity = setting(
        4,
        "Neighbours of a pixel: 4, or 8 to connect pixels that touch at a corner only.",
        choices=get_args(Connectivity),
    )
    min_area: float = shared.min_area(0.0)
    min_confidence: float = shared.min_confidence(0.0, "; masks have none")
    regularize: Regularity = shared.regularize("none")
    tolerance: float = shared.tolerance()
    split: bool = shared.split(False)
    bidx: tuple[int, ...] = shared.bidx("The band of buildings, 1-based, if there are several.")
    nodata: float | None = shared.nodata()
    block: int = setting(
        2048,
        "Block size in pixels (does not affect the result).",
        low=16,
        high=16384,
        advanced=True,
    )
    workers: int | None = setting(
        None,
        "Threads that read and trace (default: all cores).",
        low=1,
        high=256,
        advanced=True,
    )
    append: bool = shared.append()
    overwrite: bool = shared.overwrite()

    def check_together(self) -> None:
        """Raise SettingError for connectivity 8 with regular outlines, or append and overwrite.

        Raises
        ------
        SettingError
            Connectivity is 8, and outlines are regular or separated; or both `append` and
            `overwrite` are set.
        """
        _check_append(self.append, self.overwrite)
        if self.connectivity == 8 and (self.regularize != "none" or self.split):
            raise SettingError(
                "connectivity is 8, with which outlines touch themselves at corners: use "
                "regularize none without split, or connectivity 4"
            )


def _check_append(append: bool, overwrite: bool) -> None:
    if append and overwrite:
        raise SettingError(
            "append keeps what a layer holds and overwrite replaces it: give one of the two"
        )


@documented
@dataclass(frozen=True)
class AlignConfig(Config):
    """Settings of `align`."""

    search: float = setting(
        5.0, "Largest shift along either axis, in metres on the ground.", low=0.5, high=50.0
    )
    model: str = shared.building_model()
    gsd: float | None = shared.prediction_gsd()
    stretch: StretchOf = shared.stretch()
    bidx: tuple[int, ...] = shared.bidx("The model's bands among the raster's, 1-based.")
    nodata: float | None = shared.nodata()
    batch: int = shared.batch()
    device: str = shared.run_device()
    runtime: RuntimeName = shared.runtime()
    precision: SegmenterPrecision = shared.segmenter_precision()
    workers: int = shared.workers()
    scheduler: str | None = shared.scheduler()
    resume: bool = shared.resume()
    overwrite: bool = shared.overwrite()


@documented
@dataclass(frozen=True)
class EvaluateConfig(Config):
    """Settings of `evaluate`."""

    threshold: float = shared.threshold()
    iou: float = setting(
        0.5,
        "Intersection over union from which two footprints are the same building.",
        low=0.01,
        high=1.0,
    )
    overwrite: bool = shared.overwrite()

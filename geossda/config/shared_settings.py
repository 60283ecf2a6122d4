"""Settings that several configs share: each function returns one field, with one help text."""

from typing import Any, get_args

from geossda.config.choices import (
    DEVICES,
    RUN_DEVICES,
    PrecisionName,
    Regularity,
    RuntimeName,
    ScalingKind,
    Schedule,
    SegmenterPrecision,
    StretchOf,
    Structure,
)
from geossda.config.setting import setting


def building_model() -> Any:
    """Return the field of the segmenter."""
    return setting("default", 'Building model: "default", or a safetensors or ONNX file.')


def prediction_gsd(finer: str = "") -> Any:
    """Return the field of the ground sample distance to predict at."""
    return setting(
        None,
        f"Ground sample distance in metres to predict at (default: the model's own{finer}).",
        low=0.01,
    )


def stretch() -> Any:
    """Return the field of the pixels that are scaled alike."""
    return setting(
        "source",
        "Which pixels are scaled between the same two percentiles: those of each raster (source), "
        "or of all rasters (mosaic), for many small tiles of one acquisition.",
        choices=get_args(StretchOf),
    )


def batch() -> Any:
    """Return the field of windows predicted at a time."""
    return setting(2, "Windows predicted at a time.", low=1, high=256, advanced=True)


def domain() -> Any:
    """Return the field of the declared domain that references show."""
    return setting(
        None,
        "With a style model of declared domains: the one that the references show (default: the "
        "name of the folder that each lies in), or standard, the mean of all of standardgan.",
        metavar="NAME",
    )


def bidx(help: str = "Bands to use, 1-based, in order (default: all but alpha).") -> Any:
    """Return the field of band numbers."""
    return setting((), help, low=1, metavar="N")


def nodata() -> Any:
    """Return the field of an undeclared nodata value."""
    return setting(
        None, "Value of pixels without data, if the file does not declare it.", any_float=True
    )


def bounds() -> Any:
    """Return the field of the part of a mosaic to work on."""
    return setting(
        None,
        "Process only this extent: left, bottom, right, top, widened to whole pixels.",
        metavar="L B R T",
    )


def bounds_crs() -> Any:
    """Return the field of the CRS of the bounds."""
    return setting(
        None, "CRS of the bounds, such as EPSG:4326 (default: the raster's own).", advanced=True
    )


def area() -> Any:
    """Return the field of the polygons to stay within."""
    return setting(
        None,
        "Process only within the polygons of this vector file, in any CRS; outside is nodata.",
        metavar="FILE",
    )


def creation_options() -> Any:
    """Return the field of GDAL's creation options."""
    return setting(
        (),
        "Creation option of GDAL's COG driver, such as COMPRESS=ZSTD; repeatable.",
        pattern=r"\w+=.*",
        metavar="NAME=VALUE",
        advanced=True,
    )


def device() -> Any:
    """Return the field of the device that networks run on."""
    return setting("auto", "Device the model is trained on.", choices=DEVICES, advanced=True)


def run_device() -> Any:
    """Return the field of the device that a model runs on."""
    return setting(
        "auto",
        "Device the model runs on: auto is a GPU that PyTorch can use, else the CPU.",
        choices=RUN_DEVICES,
        advanced=True,
    )


def runtime() -> Any:
    """Return the field of what runs a model."""
    return setting(
        "auto",
        "What runs the model: auto is PyTorch on a GPU, OpenVINO elsewhere if it is installed.",
        choices=get_args(RuntimeName),
        advanced=True,
    )


def precision() -> Any:
    """Return the field of the precision that a model runs in."""
    return setting(
        "auto",
        "Precision the model runs in: auto is bfloat16 where the hardware has it, else float32.",
        choices=get_args(PrecisionName),
        advanced=True,
    )


def segmenter_precision() -> Any:
    """Return the field of the precision that a segmenter runs in."""
    return setting(
        "auto",
        "Precision the model runs in: auto is int8 where the processor has instructions for it "
        "(VNNI) and the model was calibrated, else bfloat16 where the hardware has it, else "
        "float32.",
        choices=get_args(SegmenterPrecision),
        advanced=True,
    )


def workers() -> Any:
    """Return the field of worker processes."""
    return setting(
        1,
        "Processes that share the work on this machine; 1 is this process alone.",
        low=1,
        high=256,
        advanced=True,
    )


def scheduler() -> Any:
    """Return the field of a Dask scheduler."""
    return setting(
        None,
        "Address of a Dask scheduler whose workers do the work, such as tcp://host:8786.",
        metavar="ADDRESS",
        advanced=True,
    )


def resume() -> Any:
    """Return the field of going on with an interrupted run."""
    return setting(
        True, "Resume an interrupted run of the same settings; otherwise start from scratch."
    )


def timings() -> Any:
    """Return the field of keeping time and memory of each stage."""
    return setting(
        False,
        "Write the seconds and the peak memory of each stage to OUTPUT.stages.json.",
        advanced=True,
    )


def append() -> Any:
    """Return the field of adding to an existing layer."""
    return setting(False, "Add to the layer of an existing GeoPackage.")


def overwrite() -> Any:
    """Return the field of replacing outputs."""
    return setting(False, "Replace existing outputs.")


def structure(*, advanced: bool = False) -> Any:
    """Return the field of what SS(DA)² may change."""
    return setting(
        "lock",
        "With ssda: lock keeps every edge and detail of the source, full uses the generator's "
        "image.",
        choices=get_args(Structure),
        advanced=advanced,
    )


def threshold() -> Any:
    """Return the field of the threshold on probabilities."""
    return setting(
        0.5, "Probability from which a pixel of a float raster is a building.", low=0.0, high=1.0
    )


def min_area(default: float) -> Any:
    """Return the field of the smallest footprint."""
    return setting(default, "Smallest footprint kept, in square metres.", low=0.0)


def min_confidence(default: float | None, remark: str) -> Any:
    """Return the field of the least mean probability of a footprint.

    Parameters
    ----------
    default : float or None
    remark : str
        End of the help text.
    """
    return setting(
        default,
        f"Footprints whose mean probability (confidence) is lower are left out{remark}.",
        low=0.0,
        high=1.0,
    )


def regularize(default: Regularity) -> Any:
    """Return the field of how outlines are regularized."""
    return setting(
        default,
        "Outlines of footprints: rectilinear (few corners, right angles where walls are nearly "
        "at right angles), simplify (fewer corners), or none (pixel edges).",
        choices=get_args(Regularity),
    )


def tolerance() -> Any:
    """Return the field of how far regularization may move walls."""
    return setting(0.5, "How far regularization may move walls, in metres.", low=0.0)


def split(default: bool) -> Any:
    """Return the field of separating touching buildings."""
    return setting(
        default,
        "Separate touching buildings (watershed on the probabilities, or on the distance to the "
        "edge of a mask).",
    )


def patch(default: int, multiple: int = 32) -> Any:
    """Return the field of the side of a patch.

    Parameters
    ----------
    default, multiple : int
        Pixels.
    """
    return setting(
        default,
        f"Patch side in pixels, a multiple of {multiple}.",
        low=32,
        high=2048,
        multiple=multiple,
    )


def share() -> Any:
    """Return the field of how many patches are restyled."""
    return setting(
        0.5, "Fraction of the patches that get the style of the target.", low=0.0, high=1.0
    )


def architecture() -> Any:
    """Return the field of a segmenter's architecture."""
    return setting("unet", "Architecture of segmentation-models-pytorch.")


def encoder(default: str = "tu-tf_efficientnet_lite0") -> Any:
    """Return the field of a segmenter's encoder."""
    return setting(default, "Encoder of segmentation-models-pytorch.")


def encoder_weights() -> Any:
    """Return the field of an encoder's first weights."""
    return setting(
        "imagenet",
        'Initial weights of the encoder: "imagenet", "none" or a safetensors file.',
        none_word=True,
    )


def schedule(default: Schedule = "cosine") -> Any:
    """Return the field of the learning-rate schedule."""
    return setting(
        default,
        "Learning rate schedule: cosine, the paper's polynomial decay (power 0.9), or constant "
        "with a linear decay over the last third (trapezoid).",
        choices=get_args(Schedule),
        advanced=True,
    )


def scaling(default: ScalingKind, help: str) -> Any:
    """Return the field of how digital numbers are scaled for a network.

    Parameters
    ----------
    default : {"percentile", "bits", "equalize"}
    help : str
        Sentences for the command line and dialogs.
    """
    return setting(default, help, choices=get_args(ScalingKind), advanced=True)


def training_gsd(default: float) -> Any:
    """Return the field of the ground sample distance to train at."""
    return setting(default, "Ground sample distance in metres to train at.", low=0.01)


def ema(default: float) -> Any:
    """Return the field of the decay of averaged weights."""
    return setting(
        default,
        "Decay of the exponential moving average of the weights, which is what is saved.",
        low=0.0,
        high=1.0,
        advanced=True,
    )


def seed() -> Any:
    """Return the field of the seed of a training."""
    return setting(0, "Seed of all random numbers.", low=0)


def checkpoint() -> Any:
    """Return the field of how often a training is saved."""
    return setting(200, "Steps between checkpoints.", low=1, advanced=True)


def data() -> Any:
    """Return the field of a card's training data."""
    return setting(None, "Training data, for the model card.")


def licence() -> Any:
    """Return the field of a card's licence."""
    return setting(None, "Licence of the weights, for the model card.")


def attribution() -> Any:
    """Return the field of a card's attribution."""
    return setting(None, "Attribution, for the model card.")

"""Compare buildings found with true ones."""

from geossda.config import EvaluateConfig
from geossda.evaluation.compare import Comparison, compare, open_area, open_layer
from geossda.progress import SILENT, Progress
from geossda.staging import PathLike


def evaluate(
    found: PathLike,
    true: PathLike,
    *,
    area: PathLike | None = None,
    config: EvaluateConfig = EvaluateConfig(),  # noqa: B008  (frozen)
    progress: Progress = SILENT,
) -> Comparison:
    """Compare two layers of buildings, each a raster or a vector file.

    Parameters
    ----------
    found : path
        Buildings found.
    true : path
        True buildings.
    area : path, optional
        Raster (its valid pixels) or polygons to stay within.
    config : EvaluateConfig
        Settings.
    progress : Progress
        Is told of stages, steps and warnings.

    Returns
    -------
    Comparison
        IoU, precision and recall of pixels, and F1 of buildings.
    """
    return compare(
        open_layer(found, config.threshold),
        open_layer(true, config.threshold),
        iou=config.iou,
        area=None if area is None else open_area(area),
        progress=progress,
    )
